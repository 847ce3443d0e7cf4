"""TotalSegmentator in its own Python: its table's codes, its weights looked at first, and nothing fetched."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minipacs.errors import EngineUnavailable
from segmentation import registry
from segmentation.vocabulary import codes

TINY = Path(__file__).with_name("stand_ins") / "tiny_network.py"


def test_names_and_codes_come_from_its_own_table(totalsegmentator_python, body):
    labelmap = registry.create_engine("totalsegmentator", totalsegmentator_python).segment(body)
    kidney, unknown = labelmap.segments
    assert (kidney.label, kidney.type.meaning, kidney.laterality) == ("kidney right", "Kidney", codes.RIGHT)
    assert (kidney.category, kidney.color) == (codes.ANATOMICAL_STRUCTURE, (12, 34, 56))
    assert (unknown.label, unknown.type) == ("spaceship", codes.TISSUE)


def test_weights_that_are_missing_are_named_before_anything_runs(totalsegmentator_python):
    with pytest.raises(EngineUnavailable, match="weights D291, D292 are not"):
        registry.create_engine("totalsegmentator", totalsegmentator_python, {"speed": "normal"})


def test_a_model_wanted_on_the_way_is_not_fetched(totalsegmentator_python, body, monkeypatch):
    monkeypatch.setenv("STAND_IN", "fetch")
    with pytest.raises(EngineUnavailable, match="weights D298 are not"):
        registry.create_engine("totalsegmentator", totalsegmentator_python).segment(body)


def test_its_usage_statistics_are_switched_off_before_its_first_run(totalsegmentator_python, body):
    registry.create_engine("totalsegmentator", totalsegmentator_python).segment(body)
    config = json.loads((totalsegmentator_python.home / "totalsegmentator" / "config.json").read_text())
    assert config["send_usage_stats"] is False


def test_other_weights_are_another_identity(totalsegmentator_python):
    before = registry.create_engine("totalsegmentator", totalsegmentator_python).parameters
    Path(totalsegmentator_python.totalsegmentator_weights, "D297", "fold").write_text("trained again")
    assert registry.create_engine("totalsegmentator", totalsegmentator_python).parameters != before


def test_a_task_for_mr_takes_mr(totalsegmentator_python):
    Path(totalsegmentator_python.totalsegmentator_weights, "D853").mkdir()
    assert registry.create_engine("totalsegmentator", totalsegmentator_python, {"task": "body_mr"}).modalities == {"MR"}


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"task": "soul"}, "no task soul"),
        ({"task": "lung_vessels", "speed": "fast"}, "no speed fast"),
        ({"speed": "slow"}, "speed 'slow' is none of"),
    ],
)
def test_a_wrong_rule_is_answered_with_what_there_is(totalsegmentator_python, parameters, sentence):
    with pytest.raises(EngineUnavailable, match=sentence):
        registry.create_engine("totalsegmentator", totalsegmentator_python, parameters)


def test_a_python_without_the_package_says_how_to_install_it(totalsegmentator_python, tmp_path):
    (tmp_path / "bare").write_text("#!/bin/sh\nexit 1\n")
    os.chmod(tmp_path / "bare", 0o755)
    with pytest.raises(EngineUnavailable) as refusal:
        registry.create_engine(
            "totalsegmentator", replace(totalsegmentator_python, totalsegmentator_python=str(tmp_path / "bare"))
        )
    assert "pip install TotalSegmentator" in refusal.value.hint


def test_the_real_package_segments_with_a_tiny_network(settings, body, tmp_path):
    """The real `totalsegmentator()`, offline, with a 63 kB network whose one rule is: bright is sacrum."""
    python = os.environ.get("MINIPACS_TEST_TOTALSEGMENTATOR", "")
    if not python:
        pytest.skip("MINIPACS_TEST_TOTALSEGMENTATOR names no Python with TotalSegmentator")
    weights = tmp_path / "weights"
    subprocess.run([python, str(TINY), str(weights)], check=True, capture_output=True)
    real = replace(settings, totalsegmentator_python=python, totalsegmentator_weights=str(weights))
    labelmap = registry.create_engine("totalsegmentator", real).segment(body)
    bright = body.array > 200
    (segment,) = labelmap.segments
    assert segment.type.meaning == "Sacrum"
    found = labelmap.array == 1
    assert 2 * np.count_nonzero(found & bright) / (found.sum() + bright.sum()) > 0.7  # it resamples to 3 mm


def test_work_on_a_gpu_goes_to_workers_that_have_one(totalsegmentator_python):
    from minipacs.archive.content import InstanceContent, SeriesContent, StudyContent
    from segmentation.job import work

    series = SeriesContent("1", "1.2.3", "CT", "Maker", "Thorax", (InstanceContent("1.2.3.1", "1"),))
    study = StudyContent("1", "1.2", (series,))
    settings = replace(totalsegmentator_python, engine="totalsegmentator")
    assert [order.needs for order in work.orders(study, settings)] == ["cpu"]
    settings.home.mkdir(exist_ok=True)
    rule = '[[rule]]\nmodality = "CT"\nengine = "totalsegmentator"\nparameters = { device = "gpu" }\n'
    (settings.home / "segmentation.toml").write_text(rule)
    assert [order.needs for order in work.orders(study, settings)] == ["gpu"]
