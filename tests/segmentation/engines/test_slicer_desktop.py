"""A full 3D Slicer as a subprocess: the extension's codes and files come along, and what is missing is said."""

import os
import shutil
from dataclasses import replace

import pytest

from minipacs.errors import EngineUnavailable
from segmentation import registry
from segmentation.engines.foreign import write_volume
from segmentation.job import parent
from segmentation.job.request import SegmentationRequest
from segmentation.vocabulary import codes


def test_names_colours_and_codes_are_the_extensions_own(slicer_program, body):
    labelmap = registry.create_engine("slicer-desktop", slicer_program).segment(body)
    femur, soft = labelmap.segments
    assert (femur.label, femur.category, femur.laterality) == ("right femur", codes.ANATOMICAL_STRUCTURE, codes.RIGHT)
    assert femur.type.value == "71341001"
    assert femur.color == (51, 102, 153)
    assert soft.type == codes.TISSUE  # without a code of its own


def test_the_model_of_open_anatomy_is_kept_beside_the_results(slicer_program, body, tmp_path):
    write_volume(body, tmp_path / "body.nii.gz")
    asked = SegmentationRequest(
        files=[tmp_path / "body.nii.gz"], digest="d", engine="slicer-desktop", out=tmp_path / "out",
        parameters={"open_anatomy": True},
    )  # fmt: skip
    manifest = parent.run_in_child(asked, slicer_program, lambda *_: None, tmp_path / "log")
    assert "open_anatomy/segmentation.gltf" in manifest["files"]
    assert (tmp_path / "out" / "open_anatomy" / "segmentation.gltf").read_text() == "{}"


def test_a_slicer_without_the_extension_says_how_to_install_it(slicer_program, body, monkeypatch):
    monkeypatch.setenv("STAND_IN", "absent")
    with pytest.raises(EngineUnavailable, match="no extension TotalSegmentator") as refusal:
        registry.create_engine("slicer-desktop", slicer_program).segment(body)
    assert "Extensions Manager" in refusal.value.hint


def test_a_server_without_a_display_needs_a_virtual_one(slicer_program, monkeypatch):
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(EngineUnavailable, match="needs a display"):
        registry.create_engine("slicer-desktop", slicer_program)


def test_a_file_that_is_no_program_and_a_quality_nobody_has_are_refused(slicer_program, tmp_path):
    with pytest.raises(EngineUnavailable, match="not a program"):
        registry.create_engine("slicer-desktop", replace(slicer_program, slicer_executable=str(tmp_path)))
    with pytest.raises(EngineUnavailable, match="quality 'best' is none of"):
        registry.create_engine("slicer-desktop", slicer_program, {"quality": "best"})


def test_a_program_that_does_not_say_its_version_is_not_slicer(slicer_program, tmp_path):
    (tmp_path / "mute").write_text("#!/bin/sh\nexit 0\n")
    os.chmod(tmp_path / "mute", 0o755)
    with pytest.raises(EngineUnavailable, match="says nothing"):
        registry.create_engine("slicer-desktop", replace(slicer_program, slicer_executable=str(tmp_path / "mute")))
