"""Our pictures equal those of DCMTK's dcm2pnm, bit by bit, where it implements the same rule.

Where it does not, the reason is the test: what DCMTK does instead is computed and found in its picture.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from data import shared_data
from etl.options import Options
from etl.rendering.frames import decode_frames
from etl.rendering.render import render_frames
from minipacs.formats import grey_header
from minipacs.formats.grey import linear

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, on old files


def render_with_dcmtk(file: Path, tmp_path: Path, *arguments: str) -> np.ndarray[Any, Any]:
    """The picture DCMTK makes."""
    tool = shutil.which("dcmj2pnm")
    if tool is None:
        pytest.skip("DCMTK is not installed")
    png = tmp_path / "dcmtk.png"
    subprocess.run([tool, *arguments, "-O", "+on", str(file), str(png)], check=True, capture_output=True)
    return np.asarray(Image.open(png)).astype(int)


def render_with_product(file: Path, window: str) -> np.ndarray[Any, Any]:
    """The picture we make."""
    dataset = pydicom.dcmread(file)
    frame = next(render_frames(dataset, Options(target=Path(), window=window)))
    return frame.pictures[0].pixels.astype(int)


SAME = [
    ("voi/GH133.dcm", "1", ["+Wi", "1"]),  # SIGMOID, JPEG lossless
    ("voi/GH133.dcm", "2", ["+Wi", "2"]),
    ("voi/GH133.dcm", "lut", ["+Wl", "1"]),  # VOI LUT of 12 bits
    ("voi/GH133.dcm", "lut:2", ["+Wl", "2"]),
    ("voi/vlut_04.dcm", "lut", ["+Wl", "1"]),
    ("voi/mlut_18.dcm", "range", ["+Wm"]),  # Modality LUT Sequence, signed
    ("mono1_dx_cr/dx_image.dcm", "first", ["+Wi", "1"]),  # MONOCHROME1 and Presentation LUT Shape INVERSE
    ("mono1_dx_cr/cxr.dcm", "range", ["+Wm"]),  # MONOCHROME1
    ("derived/no_window.dcm", "first", ["+Wm"]),
    ("derived/window_width_1.dcm", "first", ["+Wi", "1"]),
    ("derived/three_windows.dcm", "1", ["+Wi", "1"]),
    ("derived/three_windows.dcm", "3", ["+Wi", "3"]),
    ("derived/three_windows.dcm", "40.5/33.25", ["+Ww", "40.5", "33.25"]),
    ("derived/voi_sigmoid.dcm", "first", ["+Wi", "1"]),
    ("ct_chest_lungdx_A0001/1-32.dcm", "first", ["+Wi", "1"]),
    ("geometry_traps/sliceincrement_001/IM-0001-0007-0001.dcm", "range", ["+Wm"]),  # signed
    ("petctmr_sts_001/CT/000030.dcm", "40/400", ["+Ww", "40", "400"]),
    ("nm_pt/NM-MONO2-16-13x-heart", "first", ["+Wi", "1"]),
    ("charset/SCSARAB", "first", ["+Wm"]),
    ("seg_liver3/ct/01.dcm", "first", ["+Wi", "1"]),
    ("us/no-pixel-spacing.dcm", "first", []),  # PALETTE COLOR, RLE
    ("sc/TestPattern_Palette_16.dcm", "first", []),
    ("sc/TestPattern_RGB.dcm", "first", []),
    ("us/IM00001.implicit_little_endian.dcm", "first", []),
]


@pytest.mark.parametrize(("file", "window", "arguments"), SAME, ids=lambda value: str(value))
def test_the_picture_is_dcmtk_s_bit_by_bit(file: str, window: str, arguments: list[str], tmp_path: Path) -> None:
    path = shared_data(file)
    np.testing.assert_array_equal(render_with_product(path, window), render_with_dcmtk(path, tmp_path, *arguments))


@pytest.mark.parametrize("syntax", ["1.2.2", "1.2.1.99", "1.2.5", "1.2.4.57", "1.2.4.70", "1.2.1", "1.2"])
def test_a_lossless_transfer_syntax_changes_no_pixel(syntax: str, tmp_path: Path) -> None:
    path = next(iter(shared_data("transfer_syntaxes_ct").glob(f"*_1.2.840.10008.{syntax}.dcm")))
    np.testing.assert_array_equal(render_with_product(path, "first"), render_with_dcmtk(path, tmp_path, "+Wi", "1"))


def test_dcmtk_cuts_fractional_modality_values_we_keep_them(tmp_path: Path) -> None:
    """Slope 7.839…: DCMTK's values after the modality LUT are integers; C.11.1.1.2 says nothing of that."""
    path = shared_data("voi/3.dcm")
    dataset = pydicom.dcmread(path)
    cut = np.trunc(dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept))
    picture = render_with_dcmtk(path, tmp_path, "+Wi", "1")
    np.testing.assert_array_equal(np.floor(linear(cut, 378.0, 465.0) + 1e-6), picture)
    assert np.abs(render_with_product(path, "first") - picture).max() == 1


def test_dcmtk_loses_a_level_where_the_result_is_whole(tmp_path: Path) -> None:
    """Exactly 85 and 170 come out of its float arithmetic a little lower, and are cut to 84 and 169."""
    path = shared_data("mono1_dx_cr/cxr.dcm")
    picture, mine = render_with_dcmtk(path, tmp_path, "+Wi", "1"), render_with_product(path, "first")
    different = mine != picture
    exact = 255 - linear(pydicom.dcmread(path).pixel_array.astype(float), 550.0, 1024.0)
    np.testing.assert_array_equal(exact[different], np.round(exact[different]))
    assert set(mine[different] - picture[different]) == {1}


def test_dcmtk_3_6_7_takes_linear_exact_for_linear(tmp_path: Path) -> None:
    path = shared_data("derived/voi_linear_exact.dcm")
    dataset = pydicom.dcmread(path)
    window = grey_header.read_windows_and_luts(dataset, 0)[0][0]
    assert window.function == "LINEAR_EXACT"
    x = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    picture = render_with_dcmtk(path, tmp_path, "+Wi", "1")
    np.testing.assert_array_equal(np.floor(linear(x, window.center, window.width) + 1e-6), picture)


def test_ybr_differs_by_no_more_than_the_rounding_of_its_matrix(tmp_path: Path) -> None:
    path = shared_data("us/YBR_422.dcm")
    picture = next(iter(decode_frames(pydicom.dcmread(path)))).astype(int)
    assert np.abs(picture - render_with_dcmtk(path, tmp_path)).max() <= 1
