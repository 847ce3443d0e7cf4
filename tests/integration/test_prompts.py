"""Clicks and boxes through real parts: front door, prompt service, Orthanc; the SEG that is stored."""

import io
import json
import os
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest

from minipacs.archive.content import MANUFACTURER
from minipacs.local.phantom import SPACING_MM, write_chest_ct
from stack import RunningStack
from waiting import PATIENCE_S, until

pytestmark = pytest.mark.integration
BONE = {
    "label": "Spine",
    "category": {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"},
    "type": {"value": "421060004", "scheme": "SCT", "meaning": "Vertebral column"},
    "color": [10, 200, 30],
}


def ask(stack: RunningStack, path: str, body: Any = None, method: str = "", user: str = "tests") -> tuple[int, Any]:
    request = stack.request(path, user, **{"Content-Type": "application/json"})
    request.data = None if body is None else json.dumps(body).encode()
    request.method = method or ("GET" if body is None else "POST")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def study(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> list[pydicom.Dataset]:
    """A chest CT of 24 slices in the archive; its images from the feet to the head."""
    return put(stack, tmp_path_factory.mktemp("prompted"), "PROMPTED", 24)


def put(stack: RunningStack, folder: Path, patient_id: str, slices: int) -> list[pydicom.Dataset]:
    """A made chest CT in the archive; its images from the feet to the head."""
    paths = write_chest_ct(folder, patient_id=patient_id, slices=slices)
    for path in paths:
        stack.archive.store_file(path.read_bytes())
    return sorted((pydicom.dcmread(path) for path in paths), key=lambda image: float(image.ImagePositionPatient[2]))


def spine(image: pydicom.Dataset) -> list[float]:
    """Patient coordinates of the middle of the vertebra: `demo.py` puts it 72 mm behind the centre."""
    first = np.array(image.ImagePositionPatient, float)
    middle = np.array([(image.Columns / 2) * SPACING_MM[2], (image.Rows / 2) * SPACING_MM[1] + 72, 0])
    return [float(v) for v in first + middle]


def asked(image: pydicom.Dataset, **more: Any) -> dict[str, Any]:
    x, y, z = spine(image)
    uid = str(image.SOPInstanceUID)
    return {
        "series": str(image.SeriesInstanceUID),
        "prompts": [
            {"point": [x, y, z], "positive": True, "sop_instance_uid": uid, "frame": 1},
            {"box": [[x - 28, y - 26, z], [x + 28, y + 26, z]], "sop_instance_uid": uid, "frame": 1},
        ],
        **more,
    }


def mask_of(answer: dict[str, Any]) -> dict[str, np.ndarray]:
    found = {}
    for each in answer["slices"]:
        flat = np.zeros(answer["rows"] * answer["columns"], bool)
        for start, length in zip(each["runs"][::2], each["runs"][1::2], strict=True):
            flat[start : start + length] = True
        found[each["sop_instance_uid"]] = flat.reshape(answer["rows"], answer["columns"])
    return found


def test_two_prompts_become_a_seg_whose_mask_is_the_answer(stack: RunningStack, study: list[pydicom.Dataset]) -> None:
    image = study[12]
    status, answer = ask(stack, "/prompts", asked(image, propagate=True, window=[40, 400]))
    assert status == 200, answer
    masks = mask_of(answer)
    assert len(masks) > 10
    assert answer["voxels"] == sum(int(mask.sum()) for mask in masks.values())
    true = np.abs(image.pixel_array.astype(int) * image.RescaleSlope + image.RescaleIntercept - 220) < 100
    assert masks[str(image.SOPInstanceUID)][true].mean() > 0.3
    row, column = (int(np.mean(i)) for i in np.nonzero(masks[str(image.SOPInstanceUID)]))
    assert abs(row - (image.Rows / 2 + 60)) < 6
    assert abs(column - image.Columns / 2) < 6

    status, stored = ask(stack, f"/prompts/{answer['session']}/accept", BONE)
    assert status == 201, stored
    assert stored["study_instance_uid"] == str(image.StudyInstanceUID)
    (instance,) = stack.archive.find_ids("Instance", stored["sop_instance_uid"])
    seg = highdicom.seg.Segmentation.from_dataset(stack.archive.read_dataset(instance))
    assert seg.SeriesInstanceUID == stored["series_instance_uid"]
    assert seg.Manufacturer == MANUFACTURER
    assert seg.ContentCreatorName == "token:tests"
    assert seg.PatientID == "PROMPTED"
    (described,) = seg.SegmentSequence
    assert described.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert described.SegmentLabel == "Spine"
    uids = [str(i.SOPInstanceUID) for i in study]
    read = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)[..., 0]
    for uid, plane in zip(uids, read, strict=True):
        assert np.array_equal(plane > 0, masks.get(uid, np.zeros_like(plane) > 0))

    def catalogued() -> bool:
        series = stack.get_json(f"/dicom-web/studies/{stored['study_instance_uid']}/series")
        return stored["series_instance_uid"] in [each["0020000E"]["Value"][0] for each in series]

    until(catalogued, what="the prompted SEG in the catalogue")


def test_a_result_keeps_prompts_and_user_and_starts_no_work(stack: RunningStack, study: list[pydicom.Dataset]) -> None:
    image = study[9]
    _, answer = ask(stack, "/prompts", asked(image))
    status, stored = ask(stack, f"/prompts/{answer['session']}/accept", BONE)
    assert (status, ask(stack, f"/prompts/{answer['session']}/accept", BONE)) == (201, (201, stored))
    (made,) = [
        result
        for result in stack.get_json(f"/studies/{image.StudyInstanceUID}/results")
        if result.get("seg_sop_instance_uid") == stored["sop_instance_uid"]
    ]
    assert made["prompted"]["user"] == "token:tests"
    assert made["prompted"]["prompts"] == asked(image)["prompts"]
    assert {"seg.dcm", "labels.nii.gz", "preview.png"} <= set(made["files"])
    audited = stack.get_json(f"/audit?action=segment&study={image.StudyInstanceUID}&format=json")["entries"]
    assert audited[0]["user"] == "token:tests"
    jobs = stack.wait_jobs(str(image.StudyInstanceUID), "segment", "catalogue")
    keys = [job.key.rpartition("/slicer/")[0] for job in jobs if job.kind == "segment"]
    assert len(set(keys)) == len(keys), "what we store is no new content to be segmented"


def test_fewer_prompts_are_an_undo_and_a_session_can_be_discarded(
    stack: RunningStack, study: list[pydicom.Dataset]
) -> None:
    both = asked(study[12])
    _, first = ask(stack, "/prompts", {**both, "prompts": both["prompts"][1:]})
    _, more = ask(stack, "/prompts", {**both, "session": first["session"]})
    _, again = ask(stack, "/prompts", {**both, "prompts": both["prompts"][1:], "session": first["session"]})
    assert first["session"] == more["session"] == again["session"]
    assert again["slices"] == first["slices"]
    assert ask(stack, f"/prompts/{first['session']}", method="DELETE")[0] == 200
    status, answer = ask(stack, f"/prompts/{first['session']}/accept", BONE)
    assert (status, answer["error"]["code"]) == (404, "not_found")


def test_wrong_prompts_are_refused_with_a_sentence(stack: RunningStack, study: list[pydicom.Dataset]) -> None:
    good = asked(study[12])
    x, y, z = spine(study[12])
    for wrong, status, code in (
        ({**good, "prompts": []}, 400, "wrong_prompts"),
        ({**good, "prompts": [{"point": [x, y]}]}, 400, "wrong_prompts"),
        ({**good, "prompts": [{"point": [x, y, z], "positive": False}]}, 400, "wrong_prompts"),
        ({**good, "prompts": [{"point": [x, y + 4000, z]}]}, 400, "wrong_prompts"),
        ({**good, "prompts": [{"point": [x, y, z + 50], "sop_instance_uid": good["prompts"][0]["sop_instance_uid"]}]},
         400, "wrong_prompts"),
        ({**good, "series": "1.2.3"}, 404, "not_in_archive"),
        ({**good, "engine": "slicer"}, 400, "bad_request"),
        ({**good, "window": [40, 0]}, 400, "bad_request"),
    ):  # fmt: skip
        assert (found := ask(stack, "/prompts", wrong))[0] == status, (wrong, found)
        assert found[1]["error"]["code"] == code
        assert found[1]["error"]["hint"]


def test_the_list_of_terms_knows_kidneys(stack: RunningStack) -> None:
    terms = stack.get_json("/prompts/terminology?q=kidney")["terms"]
    assert [t["label"] for t in terms[:1]] == ["Kidney"]
    (right,) = [t for t in terms if t["label"] == "Right kidney"]
    assert right["type"]["value"] == "64033007"
    assert right["laterality"] == {"value": "24028007", "scheme": "SCT", "meaning": "Right"}
    engines = stack.get_json("/prompts/engines")["engines"]
    assert engines[0] == {"name": "geodesic", "available": True, "reason": "", "hint": ""}


def test_the_older_client_gets_a_picture_and_a_dicom_object(stack: RunningStack, study: list[pydicom.Dataset]) -> None:
    image = study[12]
    stream = io.BytesIO()
    image.save_as(stream)
    rectangle = {"startX": image.Columns / 2 - 26, "startY": image.Rows / 2 + 36, "width": 52, "height": 50}
    asked = json.dumps({"model": "geodesic", "rectangles": [rectangle], "positive_points": [], "negative_points": []})
    status, answer = send_picture(stack, stream.getvalue(), asked)
    assert status == 200, answer
    for kind, begins in (("get_segmented_image", b"\x89PNG"), ("get_dicom_image", b"")):
        with urllib.request.urlopen(stack.request(f"/{kind}/{answer['timestamp']}"), timeout=PATIENCE_S) as given:
            content = given.read()
        assert content.startswith(begins)
    seg = pydicom.dcmread(io.BytesIO(content))
    assert seg.SOPClassUID.name == "Segmentation Storage"
    assert seg.PatientID == "PROMPTED"
    assert stack.get_json("/health_check/") == {"status": "ok"}
    assert ask(stack, "/get_dicom_image/20260101000000-nobody-knows-this")[0] == 404
    assert send_picture(stack, b"no picture", asked)[1]["error"]["code"] == "unreadable"
    assert send_picture(stack, stream.getvalue(), "{")[0] == 400


def send_picture(stack: RunningStack, content: bytes, asked: str) -> tuple[int, Any]:
    """As the older client does: multipart with a file and the prompts."""
    head = 'Content-Disposition: form-data; name="{}"'
    body = b"".join(
        f"--b\r\n{head.format(name)}{more}\r\n\r\n".encode() + value + b"\r\n"
        for name, more, value in (("file", '; filename="x"', content), ("sam_input", "", asked.encode()))
    )
    request = stack.request("/segment_input_image/", **{"Content-Type": "multipart/form-data; boundary=b"})
    request.data = body + b"--b--\r\n"
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


ROUNDS = 8
"""So often at least each user asks the same: enough that memory which grows would be seen, on any machine."""


def test_two_users_at_once_disturb_nobody_and_no_memory_grows(
    stack: RunningStack, study: list[pydicom.Dataset], tmp_path: Path
) -> None:
    """MINIPACS_PROMPTS_SECONDS=60 is the long form; docs/prompts.md has its figures."""
    seconds = float(os.environ.get("MINIPACS_PROMPTS_SECONDS", "0"))
    (process,) = [p for p in stack.processes("minipacs.cli") if p.cmdline()[-1] == "prompts"]
    other = put(stack, tmp_path, "PROMPTED TOO", 16)
    questions = {
        "ann": [asked(study[12]), asked(study[12], propagate=True), asked(study[3])],
        "bob": [asked(study[12], propagate=True), asked(other[6]), asked(other[9], window=[40, 400])],
    }
    expected = {
        user: [ask(stack, "/prompts", body, user=user)[1]["slices"] for body in of_user]
        for user, of_user in questions.items()
    }
    memory: list[int] = []

    def work(user: str) -> int:
        sessions: dict[str, str] = {}
        count, until = 0, time.monotonic() + seconds
        while time.monotonic() < until or count < ROUNDS * len(questions[user]):
            turn = count % len(questions[user])
            body = questions[user][turn]
            session = sessions.get(body["series"], "")
            status, answer = ask(stack, "/prompts", {**body, "session": session}, user=user)
            assert status == 200, answer
            assert answer["slices"] == expected[user][turn]
            assert session in ("", answer["session"])
            sessions[body["series"]], count = answer["session"], count + 1
            memory.append(process.memory_info().rss)
        for session in sessions.values():
            assert ask(stack, f"/prompts/{session}/accept", BONE)[0] == 404  # a third user
            assert ask(stack, f"/prompts/{session}", method="DELETE", user=user)[0] == 200
        return count

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(work, questions))
    third = len(memory) // 3
    growth = np.median(memory[-third:]) - np.median(memory[third : 2 * third])
    print(f"{counts} answers in {seconds:g} s, {max(memory) / 2**20:.0f} MiB at most, {growth / 2**20:+.1f} MiB")
    assert growth < 20 * 2**20
