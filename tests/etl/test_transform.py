"""A file becomes rows: typed, named, in its own script; what is wrong with it is said, not hidden."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import shared_data
from dicom_objects import ROOT, as_file, image, nothing
from etl.options import Options
from etl.records import Outcome, SourceItem
from etl.transform import transform

PIXELS = np.arange(35, dtype=np.uint16).reshape(5, 7)


@pytest.fixture
def outcome(tmp_path: Path) -> Any:
    """What becomes of a file."""

    def of(data: bytes, **options: Any) -> Outcome:
        return transform(SourceItem("x"), data, Options(target=tmp_path, **options), tmp_path)

    return of


def test_elements_become_values_of_their_type(outcome: Any) -> None:
    found = outcome(as_file(image(PIXELS, PatientBirthDate="19440229", WindowCenter=[40, 50.5], WindowWidth=[400, 1])))
    assert found.patient["patient_birth_date"] == datetime.date(1944, 2, 29)
    assert found.study["study_time"] == datetime.time(23, 59, 58, 500000)
    assert found.instance["pixel_spacing"] == [0.5, 0.75]
    assert found.instance["window_center"] == [40.0, 50.5]
    assert (found.instance["rows"], found.instance["columns"]) == (5, 7)
    assert found.instance["remarks"] is None
    assert found.instance["transfer_syntax_uid"] == "1.2.840.10008.1.2.1"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("charset/SCSH31", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("charset/SCSGREEK", "Διονυσιος"),
        ("charset/SCSARAB", "قباني^لنزار"),
        ("charset/SCSX2", "Wang^XiaoDong=王^小东"),
    ],
)
def test_names_keep_their_script(outcome: Any, file: str, name: str) -> None:
    assert outcome(shared_data(file).read_bytes()).patient["patient_name"].rstrip("=") == name


def test_a_value_that_breaks_its_vr_is_left_out_and_remarked_upon(outcome: Any) -> None:
    dataset = image(PIXELS)
    data = as_file(dataset).replace(b"20240229", b"2024xx29")
    found = outcome(data)
    assert found.study["study_date"] is None
    assert found.instance["remarks"].startswith("StudyDate breaks the rules of its VR DA")
    assert found.renderings


def test_a_remark_never_holds_the_value_itself(outcome: Any) -> None:
    data = as_file(image(PIXELS, PatientBirthDate="19440229")).replace(b"19440229", b"Doe^John")
    remarks = outcome(data).instance["remarks"]
    assert "PatientBirthDate" in remarks
    assert "Doe" not in remarks


def test_people_without_an_id_are_told_apart_by_study(outcome: Any) -> None:
    for patient_id in (None, "", "  "):
        found = outcome(as_file(image(PIXELS, PatientID=patient_id)))
        assert found.patient["patient_key"] == f"study:{ROOT}.1"
        assert "No Patient ID" in found.instance["remarks"]


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
@pytest.mark.parametrize("empty", [None, ""])
def test_an_object_without_a_uid_is_rejected_by_the_rule(outcome: Any, keyword: str, empty: str | None) -> None:
    found = outcome(as_file(image(PIXELS, **{keyword: empty})))
    assert found.rejection.code == "no_uid"
    assert "PS3.5 7.4.1" in found.rejection.reason
    assert not found.instance


@pytest.mark.parametrize("length", [0, 3, 131, 132, 200, 400, 600])
def test_a_file_cut_off_anywhere_is_rejected_or_its_picture_is(outcome: Any, length: int) -> None:
    found = outcome(as_file(image(PIXELS))[:length])
    assert found.rejection.reason.endswith(".")
    assert not found.renderings


def test_an_image_without_pixel_data_keeps_its_row_and_says_so(outcome: Any) -> None:
    found = outcome(as_file(image(PIXELS, PixelData=None)))
    assert found.rejection.code == "no_pixels"
    assert found.instance["rows"] == 5


def test_pixels_that_end_too_early_keep_their_row(outcome: Any) -> None:
    found = outcome(as_file(image(PIXELS))[:-20])
    assert found.rejection.code in ("no_picture", "truncated")


@pytest.mark.parametrize(
    ("window", "pictures"),
    [
        ("first", [("header", 1)]),
        ("2", [("header", 2)]),
        ("bone", [("header", 2)]),
        ("all", [("header", 1), ("header", 2)]),
        ("range", [("computed", None)]),
        ("40/400/SIGMOID", [("given", None)]),
        ("9", [("header", 1)]),
    ],
)
def test_the_window_that_was_asked_for_is_used_and_recorded(
    outcome: Any, window: str, pictures: list[tuple[str, int | None]]
) -> None:
    data = as_file(
        image(PIXELS, WindowCenter=[10, 20], WindowWidth=[5, 6], WindowCenterWidthExplanation=["LUNG", "BONE"])
    )
    renderings = outcome(data, window=window).renderings
    assert [(r["window_source"], r["window_number"]) for r in renderings] == pictures
    assert len({r["rendering_id"] for r in renderings}) == len(pictures)


def test_a_width_that_breaks_the_rule_gives_way_to_the_range(outcome: Any) -> None:
    found = outcome(as_file(image(PIXELS, WindowCenter=10, WindowWidth=0)))
    assert found.renderings[0]["window_source"] == "computed"
    assert "must be ≥ 1 for LINEAR, not 0" in found.instance["remarks"]


def test_sixteen_bits_give_back_modality_values(outcome: Any, tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.array([[-1024, 0, 3071], [5, 6, -7]], np.int16)
    (row,) = outcome(as_file(image(pixels, RescaleSlope=2, RescaleIntercept=-3)), bit_depth=16).renderings
    png = np.asarray(Image.open(tmp_path / row["rendering_id"])).astype(float)
    np.testing.assert_array_equal(png * row["rescale_slope"] + row["rescale_intercept"], pixels * 2.0 - 3)


def test_enhanced_objects_say_their_window_in_the_functional_groups(outcome: Any) -> None:
    found = outcome(shared_data("enhanced/CT0012.explicit_little_endian.dcm").read_bytes())
    assert [r["frame_number"] for r in found.renderings] == [1, 2]
    assert {r["window_source"] for r in found.renderings} == {"header"}


def test_a_seg_has_its_segments_with_their_volume(outcome: Any) -> None:
    found = outcome(shared_data("seg_liver3/liver.dcm").read_bytes())
    (segment,) = found.segments
    assert segment["segment_label"].casefold() == "liver"
    assert segment["type_meaning"] == "Liver"
    assert segment["category_code"]
    assert 1 < segment["volume_ml"] < 500
    assert not found.renderings


def test_objects_without_pixels_are_no_rejection(outcome: Any) -> None:
    found = outcome(as_file(nothing(Modality="SR")))
    assert not found.rejection
    assert found.instance["sop_instance_uid"] == f"{ROOT}.1.1.1"
