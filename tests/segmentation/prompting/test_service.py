"""The service without its HTTP: sessions, memory, volumes; the archive is a stand-in that counts its work."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from minipacs.database import Database
from minipacs.errors import BadRequest, NotAVolume, NotFound, NotInArchive, WrongPrompts
from minipacs.groups import membership
from segmentation.prompting import request, run_length
from segmentation.prompting.service import PromptService
from segmentation.prompting.sessions import IDLE_LIMIT_S, MAX_SESSIONS_OF_USER, Sessions
from segmentation.prompting.volume_cache import VolumeCache
from segmentation.vocabulary import terminology


def make_request_body(described: Any, index: tuple[float, float, float] = (6, 9, 14), **more: Any) -> dict[str, Any]:
    """One positive point at (slice, row, column)."""
    position = np.array(described.first) + described.axes @ np.array(index)
    return {"series": described.uid, "prompts": [{"point": [float(v) for v in position]}], **more}


# -- volumes ----------------------------------------------------------------------------------------
def test_a_series_is_fetched_once_however_many_ask(memory_archive: Any, store_series: Callable[..., Any]) -> None:
    uid = store_series().uid
    volumes = VolumeCache(memory_archive, 10**9)
    with ThreadPoolExecutor(6) as pool:
        held = list(pool.map(volumes.get, [uid] * 12))
    assert len({id(each) for each in held}) == 1
    assert memory_archive.taken == 12


def test_the_series_used_last_stay_within_the_bound(memory_archive: Any, store_series: Callable[..., Any]) -> None:
    uids = [store_series(f"1.2.{n}").uid for n in range(5)]
    one = VolumeCache(memory_archive, 10**9).get(uids[0]).memory_bytes
    volumes = VolumeCache(memory_archive, int(2.5 * one))
    for uid in uids:
        volumes.get(uid)
        assert volumes.count_bytes() <= 2.5 * one
    taken = memory_archive.taken
    volumes.get(uids[4])
    volumes.get(uids[3])
    assert memory_archive.taken == taken
    volumes.get(uids[0])
    assert memory_archive.taken == taken + 12


def test_a_series_that_has_grown_is_fetched_again(
    memory_archive: Any, store_series: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmentation.prompting.volume_cache.MAX_AGE_S", 0.0)
    uid = store_series(shape=(12, 20, 28)).uid
    volumes = VolumeCache(memory_archive, 10**9)
    assert volumes.get(uid).prompted_series.shape == (12, 20, 28)
    store_series(shape=(14, 20, 28))
    assert volumes.get(uid).prompted_series.shape == (14, 20, 28)
    del memory_archive.content[uid]
    with pytest.raises(NotInArchive):
        volumes.get(uid)


def test_a_series_that_is_no_volume_is_refused_and_takes_no_place(
    memory_archive: Any, store_series: Callable[..., Any]
) -> None:
    uid = store_series().uid
    del memory_archive.content[uid][5:7]
    volumes = VolumeCache(memory_archive, 10**9)
    with pytest.raises(NotAVolume, match="it has a gap"):
        volumes.get(uid)
    assert volumes.count_bytes() == 0


# -- sessions ---------------------------------------------------------------------------------------
def test_a_session_is_its_users_alone() -> None:
    sessions = Sessions()
    mine = sessions.open("ann", "1.2")
    assert sessions.open("ann", "1.2", mine.id) is mine
    assert sessions.open("bob", "1.2", mine.id).id != mine.id
    assert sessions.open("ann", "1.3", mine.id).id != mine.id
    with pytest.raises(NotFound):
        sessions.get("bob", mine.id)
    with pytest.raises(NotFound):
        sessions.end("bob", mine.id)
    sessions.end("ann", mine.id)
    with pytest.raises(NotFound):
        sessions.get("ann", mine.id)


def test_sessions_end_unused_and_a_user_has_only_so_many() -> None:
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    ids = []
    for n in range(MAX_SESSIONS_OF_USER + 3):
        now[0] = n
        ids.append(sessions.open("ann", "1.2").id)
    other = sessions.open("bob", "1.2")
    assert len(sessions) == MAX_SESSIONS_OF_USER + 1
    sessions.get("ann", ids[3])
    with pytest.raises(NotFound):
        sessions.get("ann", ids[2])
    now[0] += IDLE_LIMIT_S + 1
    with pytest.raises(NotFound):
        sessions.get("bob", other.id)
    assert len(sessions) == 0


def test_users_at_once_get_their_own_answers(service: PromptService, store_series: Callable[..., Any]) -> None:
    one, other = store_series("1.2.10"), store_series("1.2.11", spacing=(2.0, 1.0, 0.5))
    expected = {
        user: service.answer_prompts(user, make_request_body(described, index))["slices"]
        for user, described, index in (("ann", one, (6, 9, 14)), ("bob", other, (4, 9, 9)))
    }
    assert expected["ann"] != expected["bob"]
    before = len(service.sessions)

    def work(user: str) -> int:
        described, index = (one, (6, 9, 14)) if user == "ann" else (other, (4, 9, 9))
        session = ""
        for n in range(25):
            answer = service.answer_prompts(
                user, make_request_body(described, index, session=session, propagate=n % 2 == 1)
            )
            assert not session or answer["session"] == session
            session = answer["session"]
            uids = {s["sop_instance_uid"] for s in answer["slices"]}
            assert all(uid.startswith(described.uid + ".") for uid in uids)
            if n % 2 == 0:
                assert answer["slices"] == expected[user]
        return 25

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, ("ann", "bob"))) == [25, 25]
    assert len(service.sessions) == before + 2


def test_prompts_in_patient_coordinates_find_what_they_are_in(
    service: PromptService, store_series: Callable[..., Any], phantom: Callable[..., np.ndarray]
) -> None:
    tilted = (0.8, 0.6, 0, -0.36, 0.48, -0.8)
    described = store_series(shape=(12, 80, 120), orientation=tilted)
    truth = phantom(described)[6] == 40
    answer = service.answer_prompts("ann", make_request_body(described, (6, 40, 70)))
    (plane,) = answer["slices"]
    assert plane["sop_instance_uid"] == f"{described.uid}.7"
    mask = run_length.decode_runs(plane["runs"], (answer["rows"], answer["columns"]))
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.9
    assert mask.sum() == answer["voxels"]


def test_an_answer_without_a_voxel_cannot_be_accepted(service: PromptService, store_series: Callable[..., Any]) -> None:
    described = store_series()
    answer = service.answer_prompts("ann", make_request_body(described))
    session = service.sessions.get("ann", answer["session"])
    assert session.answer is not None
    session.answer.voxels = 0
    code = {"value": "1", "scheme": "SCT", "meaning": "x"}
    with pytest.raises(BadRequest, match="nothing to accept"):
        service.accept_answer("ann", session.id, {"label": "x", "category": code, "type": code})


# -- what is asked ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "prompts",
    [
        None,
        [],
        "x",
        [1],
        [{}],
        [{"point": [1, 2, 3], "box": [[1, 2, 3], [4, 5, 6]]}],
        [{"point": [1, 2]}],
        [{"point": [1, 2, None]}],
        [{"point": [1, 2, float("nan")]}],
        [{"point": [1, 2, True]}],
        [{"point": [1, 2, 10**400]}],
        [{"point": [1, 2, 3], "positive": "yes"}],
        [{"point": [1, 2, 3], "frame": 2}],
        [{"point": [1, 2, 3], "sop_instance_uid": "9.9"}],
        [{"point": [1, 2, 3], "sop_instance_uid": ["1.1"]}],
        [{"box": [[1, 2, 3]]}],
        [{"point": [1, 2, 3]}] * 501,
    ],
)
def test_prompts_that_cannot_be_understood_are_refused(prompts: Any) -> None:
    with pytest.raises(WrongPrompts) as refused:
        request.parse_prompts(prompts, {"1.1": 0})
    assert refused.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"label": ""},
        {"label": "x" * 65},
        {"label": "a\nb"},
        {"label": 5},
        {"category": None},
        {"type": {"value": "x" * 17, "scheme": "SCT", "meaning": "x"}},
        {"laterality": "left"},
        {"color": [1, 2]},
        {"color": [1, 2, 256]},
        {"color": [1.5, 2, 3]},
    ],
)
def test_a_name_that_no_seg_could_bear_is_refused(changes: dict[str, Any]) -> None:
    code = {"value": "1", "scheme": "SCT", "meaning": "x"}
    good = {"label": "Kidney", "category": code, "type": code}
    assert request.parse_segment(good).algorithm == "SEMIAUTOMATIC"
    with pytest.raises(BadRequest) as refused:
        request.parse_segment({**good, **changes})
    assert refused.value.hint


def test_runs_and_masks_are_the_same_thing() -> None:
    mask = np.random.default_rng(3).random((17, 23)) > 0.6
    mask[0, 0] = mask[-1, -1] = True
    encoded = run_length.encode_runs(mask)
    assert np.array_equal(run_length.decode_runs(encoded, (17, 23)), mask)
    assert sum(encoded[1::2]) == mask.sum()
    assert run_length.encode_runs(np.zeros((3, 4), bool)) == []


def test_terms_are_found_by_the_beginnings_of_their_words() -> None:
    labels = [term.label for term in terminology.search_terms("lobe low")]
    assert "Left lower lobe of lung" in labels
    assert terminology.search_terms("lung")[0].label == "Lung"
    assert terminology.search_terms("neoplasm")[0].category.value == "49755003"
    assert not terminology.search_terms("xyzzy")
    assert len(terminology.search_terms("")) <= terminology.MAX_TERMS
    for term in terminology.list_all_terms():
        assert len(term.label) <= 64
        assert all(0 <= channel <= 255 for channel in term.color)
    paired = {term.type.meaning for term in terminology.list_all_terms() if term.laterality}
    assert paired == terminology.PAIRED, terminology.PAIRED - paired


def test_a_member_prompts_and_accepts_what_its_groups_have(
    service: PromptService, store_series: Callable[..., Any], database: Database
) -> None:
    described = store_series()  # of study 1.2
    body = make_request_body(described)
    code = {"value": "39607008", "scheme": "SCT", "meaning": "Lung"}
    segment = {"label": "x", "category": code, "type": code}

    with pytest.raises(NotInArchive):
        service.answer_prompts("ann", body, "ann")
    membership.create_group(database, "lungs")
    membership.add_studies(database, "lungs", ["1.2"], "tests")
    membership.add_members(database, "lungs", ["ann"])
    session = service.answer_prompts("ann", body, "ann")["session"]
    membership.remove_members(database, "lungs", ["ann"])
    with pytest.raises(NotInArchive):
        service.accept_answer("ann", session, segment, "ann")
    service.accept_answer("ann", session, segment)
