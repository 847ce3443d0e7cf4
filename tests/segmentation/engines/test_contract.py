"""What every engine promises, asked of every engine."""

import json
from dataclasses import replace

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
}
FOREIGN = [name for name in READY if name != "slicer"]


@pytest.fixture
def ready(request):
    """Settings under which the engine is available."""
    return request.getfixturevalue(READY[request.getfixturevalue("name")])


def pytest_generate_tests(metafunc):
    """Each test runs for every engine, or for those in another program."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", FOREIGN if "mischief" in metafunc.fixturenames else list(READY))


@pytest.fixture(params=["crash", "elsewhere", "hang"])
def mischief(request, monkeypatch):
    """What its other half does."""
    monkeypatch.setenv("STAND_IN", request.param)
    return request.param


def test_every_registered_engine_is_under_this_contract():
    assert set(registry.list_engine_names()) >= set(READY)


def test_an_available_engine_is_listed_with_its_version(name, ready):
    row = next(row for row in registry.list_engines(ready) if row["name"] == name)
    assert row["available"], row["reason"]
    assert row["version"]
    assert set(row["modalities"]) <= {"CT", "MR"}


def test_an_engine_that_is_not_set_up_says_why_and_what_to_do(settings):
    rows = {row["name"]: row for row in registry.list_engines(settings)}
    for name in FOREIGN:
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


@pytest.mark.parametrize("turned", [False, True], ids=["as it is", "axes permuted and reversed"])
def test_what_is_bright_is_found_where_it_is(name, ready, body, turned):
    volume = body.permute_spatial_axes([2, 0, 1]).flip_spatial([0, 2]) if turned else body
    volume = volume.with_array(np.ascontiguousarray(volume.array))
    stages = []
    engine = registry.create_engine(name, ready)
    labelmap = run_engine(engine, volume, progress=lambda *stage: stages.append(stage))
    bright = volume.array > 200
    value = np.bincount(labelmap.array[bright]).argmax()
    assert value
    found = labelmap.array == value
    dice = 2 * (found & bright).sum() / (found.sum() + bright.sum())
    assert dice == 1 if name in FOREIGN else dice > 0.8
    assert len(labelmap.segments) >= labelmap.array.max() > 0
    assert stages


def test_prompts_an_engine_does_not_take_are_refused_in_a_sentence(name, ready, body):
    box = Box((0.0, 0.0, 0.0), (10.0, 10.0, 10.0))
    with pytest.raises(WrongPrompts, match=r"takes .*\."):
        run_engine(registry.create_engine(name, ready), body, [Point((0.0, 0.0, 0.0), positive=False), box])


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
