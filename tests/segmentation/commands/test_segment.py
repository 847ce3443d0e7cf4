"""The pipeline from the command line."""

import argparse
import json
from zipfile import ZipFile

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread

from minipacs.errors import BadRequest
from segmentation.commands import engines as engines_command
from segmentation.commands import segment

FILES = {
    "labels.nii.gz",
    "labels.json",
    "seg.dcm",
    "sr.dcm",
    "segmentation.seg.nrrd",
    "model.glb",
    "preview.png",
    "manifest.json",
}


def parse_arguments(module, *words):
    parser = argparse.ArgumentParser()
    module.configure(parser)
    return parser.parse_args([str(word) for word in words])


def test_a_folder_becomes_a_folder_of_results_a_series(
    series, phantom, write_images, settings, engines, tmp_path, capsys
):
    one, other = series(), series(uid="1.2.826.0.1.3680043.8.498.1.5")
    write_images([*one.images(phantom(one)), *other.images(phantom(other))[:4]])
    (tmp_path / "dicom" / "readme.txt").write_text("not DICOM")
    assert segment.run(parse_arguments(segment, tmp_path / "dicom", "--out", tmp_path / "out"), settings) == 0
    assert {f.name for f in (tmp_path / "out" / one.uid).iterdir()} == FILES
    printed = capsys.readouterr().out
    assert "Bone" in printed
    assert f"{other.uid}: The series cannot be segmented: it has 4 images" in printed


def test_a_nifti_and_a_nrrd_file_give_the_same_labels(series, phantom, settings, engines, tmp_path):
    values = phantom(series())
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing((1.25, 0.75, 3.0))
    image.SetDirection((0.8, -0.36, 0.48, 0.6, 0.48, -0.64, 0.0, 0.8, 0.6))
    for name in ("one.nii.gz", "two.nrrd"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
        assert segment.run(parse_arguments(segment, tmp_path / name, "--out", tmp_path / "out"), settings) == 0
        folder = tmp_path / "out" / name
        assert {f.name for f in folder.iterdir()} == FILES - {"seg.dcm", "sr.dcm"}
        labels = SimpleITK.ReadImage(str(folder / "labels.nii.gz"))
        assert np.allclose(labels.GetDirection(), image.GetDirection(), atol=1e-5)
        expected = np.where(values > 300, 1, np.where(values > -200, 2, 0))
        assert np.array_equal(SimpleITK.GetArrayFromImage(labels), expected)


def test_the_form_of_the_seg_can_be_chosen(series, phantom, write_images, settings, engines, tmp_path):
    s = series()
    write_images(s.images(phantom(s)))
    segment.run(parse_arguments(segment, tmp_path / "dicom", "--out", tmp_path / "out", "--type", "BINARY"), settings)
    assert dcmread(tmp_path / "out" / s.uid / "seg.dcm").SegmentationType == "BINARY"


def test_slicers_whole_scene_is_written_on_request(settings, engines, series, phantom, write_images, tmp_path):
    s = series()
    write_images(s.images(phantom(s)))
    segment.run(parse_arguments(segment, tmp_path / "dicom", "--out", tmp_path / "out", "--mrb"), settings)
    names = ZipFile(tmp_path / "out" / s.uid / "scene.mrb").namelist()
    assert any(name.endswith(".seg.nrrd") for name in names)
    assert any(name.endswith(".mrml") for name in names)


def test_what_is_no_source_is_told(settings, engines, tmp_path):
    with pytest.raises(BadRequest, match="neither a file, a folder nor a UID"):
        segment.run(parse_arguments(segment, "nowhere"), settings)
    with pytest.raises(BadRequest, match="holds no DICOM images"):
        segment.run(parse_arguments(segment, tmp_path), settings)


def test_the_engines_are_listed_with_their_reasons(settings, engines, capsys):
    assert engines_command.run(parse_arguments(engines_command), settings) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("* threshold") and "available   1.2" in line for line in lines)
    assert any("absent" in line and "Its weights are not here. Put them there." in line for line in lines)
    engines_command.run(parse_arguments(engines_command, "--json"), settings)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"absent", "threshold"} <= {row["name"] for row in rows}
