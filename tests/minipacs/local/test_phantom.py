from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.spatial import get_series_volume_positions

from minipacs.archive.c_store import send_folder
from minipacs.errors import BadRequest
from minipacs.local.phantom import SLICES, SPACING_MM, chest_hounsfield, write_chest_ct
from minipacs.settings import Settings


def test_the_demo_study_is_a_regular_volume_and_the_same_every_time(tmp_path: Path) -> None:
    first, second = write_chest_ct(tmp_path / "a", slices=4), write_chest_ct(tmp_path / "b", slices=4)
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    spacing, _ = get_series_volume_positions([pydicom.dcmread(p) for p in first])
    assert spacing == pytest.approx(SPACING_MM[0])


def test_no_decimal_string_of_the_demo_study_is_too_long(tmp_path: Path) -> None:
    for path in write_chest_ct(tmp_path, slices=4):
        for element in pydicom.dcmread(path).iterall():
            values = element.value if element.VM > 1 else [element.value]
            assert element.VR != "DS" or all(len(str(value)) <= 16 for value in values), element  # PS3.5 6.2


def test_the_demo_chest_has_tissue_in_hounsfield_units() -> None:
    hounsfield = chest_hounsfield()
    assert hounsfield.shape[0] == SLICES
    share = {name: float(np.mean(test(hounsfield))) for name, test in TISSUES.items()}
    assert all(value > 0.005 for value in share.values()), share


TISSUES = {
    "lung": lambda hu: (hu > -950) & (hu < -700),
    "fat": lambda hu: (hu > -150) & (hu < -60),
    "muscle": lambda hu: (hu > 10) & (hu < 80),
    "bone": lambda hu: hu > 250,
}


def test_a_folder_without_dicom_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(BadRequest, match="holds no DICOM file"):
        send_folder(tmp_path, Settings())
    with pytest.raises(BadRequest, match="There is no folder"):
        send_folder(tmp_path / "absent", Settings())
