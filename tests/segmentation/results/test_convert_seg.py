"""The other form of a SEG."""

import subprocess
import sys

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread

from segmentation.job import parent
from segmentation.job.request import SegmentationRequest


def find_source_images(seg):
    return [image.ReferencedSOPInstanceUID for image in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence]


def read_labels_by_image(path):
    seg = hd.seg.segread(path)
    return seg.get_pixels_by_source_instance(
        find_source_images(seg), combine_segments=True, assert_missing_frames_are_empty=True
    )


@pytest.mark.parametrize(("own", "other"), [("BINARY", "LABELMAP"), ("LABELMAP", "BINARY")])
def test_the_other_form_holds_the_same_segments_at_the_same_place(
    series, phantom, write_images, engines, settings, tmp_path, own, other
):
    s = series(orientation=(0.8, 0.6, 0.0, -0.36, 0.48, 0.8), header={"PatientSex": "X"})
    request = SegmentationRequest(
        files=write_images(s.images(phantom(s))),
        digest="d",
        engine="threshold",
        out=tmp_path / "out",
        options={"type": own},
    )
    parent.run_in_child(request, settings, lambda *_: None, tmp_path / "log")
    line = [sys.executable, "-m", "segmentation.results.convert_seg", str(tmp_path / "out"), other]
    paths = [subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip() for _ in range(2)]
    assert paths == [str(tmp_path / "out" / f"seg-{other.lower()}.dcm")] * 2
    first, second = dcmread(tmp_path / "out" / "seg.dcm"), dcmread(paths[0])
    assert (first.SegmentationType, second.SegmentationType) == (own, other)
    for keyword in ("PatientName", "PatientSex", "StudyInstanceUID", "FrameOfReferenceUID", "StudyDescription"):
        assert first[keyword].value == second[keyword].value
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert first.ReferencedSeriesSequence[0].SeriesInstanceUID == second.ReferencedSeriesSequence[0].SeriesInstanceUID
    for one, two in zip(first.SegmentSequence, second.SegmentSequence, strict=True):
        assert one.SegmentLabel == two.SegmentLabel
        assert one.RecommendedDisplayCIELabValue == two.RecommendedDisplayCIELabValue
        assert one.SegmentedPropertyTypeCodeSequence == two.SegmentedPropertyTypeCodeSequence
    volumes = [hd.seg.segread(p).get_volume(combine_segments=True) for p in (tmp_path / "out" / "seg.dcm", paths[0])]
    again = volumes[1].match_geometry(volumes[0])
    assert np.array_equal(again.array, volumes[0].array)
    assert sorted(find_source_images(second)) == sorted(find_source_images(first))
    by_image = [read_labels_by_image(p) for p in (tmp_path / "out" / "seg.dcm", paths[0])]
    order = [find_source_images(first).index(uid) for uid in find_source_images(second)]
    assert np.array_equal(by_image[0][order], by_image[1])


def test_a_folder_without_a_seg_is_told_in_a_sentence(tmp_path):
    line = [sys.executable, "-m", "segmentation.results.convert_seg", str(tmp_path), "BINARY"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "There is no DICOM SEG" in done.stderr
