"""What every engine promises, asked of every engine."""

import json
from dataclasses import replace
from importlib.metadata import entry_points

import numpy as np
import pytest

from minipacs.errors import EngineFailed, EngineUnavailable, WrongPrompts
from segmentation import registry
from segmentation.engines.foreign import write_volume
from segmentation.job import parent
from segmentation.job.pipeline import run_engine
from segmentation.job.request import SegmentationRequest
from segmentation.prompts import Box, Point

READY = {
    "slicer": "settings",
    "slicer-desktop": "slicer_program",
    "totalsegmentator": "totalsegmentator_python",
    "vista3d": "vista3d_server",
    "geodesic": "settings",
    "sam": "sam_python",
}
"""Every engine of ours, and the fixture whose settings make it available."""
EMBEDDED = ("slicer", "geodesic")
PROMPT_ENGINES = ("geodesic", "sam")
"""They segment nothing without prompts: a box around what is bright is theirs."""
FOREIGN = ("slicer-desktop", "totalsegmentator", "vista3d")
"""They give a whole labelmap back from another program. What SAM's process gives back is a mask for each box, whose
size our side decides; its crashes are in `sam/test_engine.py`."""
MODALITIES = {"CT", "MR", "PT", "NM", "XA", "US", "OT"}


@pytest.fixture
def ready(request):
    """Settings under which the engine is available."""
    return request.getfixturevalue(READY[request.getfixturevalue("name")])


def pytest_generate_tests(metafunc):
    """Each test runs for every engine, or for those in another program."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", FOREIGN if "mischief" in metafunc.fixturenames else READY)


@pytest.fixture(params=["crash", "elsewhere", "hang"])
def mischief(request, monkeypatch):
    """What its other half does."""
    monkeypatch.setenv("STAND_IN", request.param)
    return request.param


def list_built_in(group):
    """Names that our own distribution registers under an entry point group."""
    return {point.name for point in entry_points(group=group) if point.dist.name == "minipacs"}


def test_every_engine_of_ours_is_under_this_contract():
    assert list_built_in(registry.GROUP) == set(READY)
    assert list_built_in(registry.PROMPTERS) == set(PROMPT_ENGINES)
    assert set(registry.list_engine_names()) >= set(READY)


def test_an_available_engine_is_listed_with_its_version(name, ready):
    row = next(row for row in registry.list_engines(ready) if row["name"] == name)
    assert row["available"], row["reason"]
    assert row["version"]
    assert {"CT"} <= set(row["modalities"]) <= MODALITIES


def test_an_engine_that_is_not_set_up_says_why_and_what_to_do(settings):
    rows = {row["name"]: row for row in registry.list_engines(settings)}
    for name in READY.keys() - set(EMBEDDED):
        assert not rows[name]["available"]
        assert rows[name]["reason"].endswith(".")
        assert "MINIPACS_" in rows[name]["hint"]
    with pytest.raises(EngineUnavailable):
        registry.create_engine("vista3d", settings)


def test_the_identity_is_known_without_running_and_is_json(name, ready):
    one, other = registry.create_engine(name, ready), registry.create_engine(name, ready)
    assert json.loads(json.dumps(dict(one.parameters))) == dict(other.parameters)
    assert one.name == name
    assert one.version == other.version


def make_box_around(mask, volume):
    """The box prompt that encloses what is true, in patient coordinates."""
    indices = np.argwhere(mask)
    corners = volume.map_indices_to_reference(np.stack([indices.min(0), indices.max(0)]))
    return Box(*(tuple(float(mm) for mm in corner) for corner in corners))


@pytest.mark.parametrize("turned", [False, True], ids=["as it is", "axes permuted and reversed"])
def test_what_is_bright_is_found_where_it_is(name, ready, body, turned):
    volume = body.permute_spatial_axes([2, 0, 1]).flip_spatial([0, 2]) if turned else body
    volume = volume.with_array(np.ascontiguousarray(volume.array))
    stages = []
    engine = registry.create_engine(name, ready)
    bright = volume.array > 200
    prompts = [make_box_around(bright, volume)] if engine.needs_prompts else []
    labelmap = run_engine(engine, volume, prompts, progress=lambda *stage: stages.append(stage))
    value = np.bincount(labelmap.array[bright]).argmax()
    assert value
    found = labelmap.array == value
    dice = 2 * (found & bright).sum() / (found.sum() + bright.sum())
    assert dice == 1 if name in FOREIGN else dice > 0.8
    assert len(labelmap.segments) >= labelmap.array.max() > 0
    assert stages or name in PROMPT_ENGINES  # they answer at once


def test_prompts_an_engine_cannot_use_are_refused_in_a_sentence(name, ready, body):
    elsewhere = Box((0.0, 0.0, 0.0), (10.0, 10.0, 10.0))
    with pytest.raises(WrongPrompts, match=r"takes .*\.|outside of the series\."):
        run_engine(registry.create_engine(name, ready), body, [Point((0.0, 0.0, 0.0), positive=False), elsewhere])


def test_an_engine_that_needs_prompts_says_so_and_segments_nothing_without(name, ready, body):
    engine = registry.create_engine(name, ready)
    assert engine.needs_prompts == (name in PROMPT_ENGINES)
    if engine.needs_prompts:
        assert engine.takes_prompts
        with pytest.raises(WrongPrompts, match="no positive point and no box"):
            run_engine(engine, body)


def test_a_parameter_nobody_knows_is_named(name, ready):
    with pytest.raises(EngineUnavailable, match="does not take colour"):
        registry.create_engine(name, ready, {"colour": "red"})


def test_trouble_in_the_other_half_is_one_sentence_and_leaves_nothing(name, ready, mischief, body, tmp_path, request):
    if name == "vista3d":
        request.getfixturevalue("nim").mischief = {"crash": "cut"}.get(mischief, mischief)
    write_volume(body, tmp_path / "body.nii.gz")
    limited = replace(ready, engine_limit_s=5 if mischief == "hang" else 60)
    asked = SegmentationRequest(files=[tmp_path / "body.nii.gz"], digest="d", engine=name, out=tmp_path / "out")
    with pytest.raises(EngineFailed) as failure:
        parent.run_in_child(asked, limited, lambda *_: None, tmp_path / "log")
    sentence = {"elsewhere": "another geometry", "hang": "longer than 5 s"}.get(mischief, "")
    assert sentence in failure.value.message
    assert not (tmp_path / "out").exists()
