"""An NRRD header of any kind that ITK can read leads to the same voxels at the same places."""

import bz2
import gzip
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from minipacs.errors import Unreadable
from minipacs.formats.nrrd import read_nrrd
from minipacs.formats.volume_file import read_volume


def vector(values: np.ndarray) -> str:
    """As a header writes it."""
    return "(" + ",".join(repr(float(v)) for v in values) + ")"


def file_of(voxels: np.ndarray, affine: np.ndarray, *lines: str, **fields: str | None) -> bytes:
    """An NRRD file; a field that is None is left out, `lines` come last."""
    directions = " ".join(vector(affine[:3, k]) for k in range(3))
    header: dict[str, str | None] = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, voxels.shape)),
        "space directions": directions,
        "endian": "little",
        "encoding": "raw",
        "space origin": vector(affine[:3, 3]),
        **{name.replace("_", " "): value for name, value in fields.items()},
    }
    said = [f"{name}: {value}" for name, value in header.items() if value is not None]
    return "\n".join(["NRRD0004", *said, *lines, "", ""]).encode()


PACK = {
    "raw": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "ascii": lambda data: " ".join(map(str, np.frombuffer(data, "<i2"))).encode(),
}


@pytest.mark.parametrize("encoding", sorted(PACK))
def test_every_encoding_gives_the_voxels(encoding: str, voxels: np.ndarray, lps: np.ndarray) -> None:
    data = PACK[encoding](voxels.tobytes(order="F"))
    found = read_nrrd(BytesIO(file_of(voxels, lps, encoding=encoding) + data))
    np.testing.assert_array_equal(found.array, voxels)
    np.testing.assert_allclose(found.affine, lps)


@pytest.mark.parametrize(
    ("fields", "before"),
    [
        ({"space": "left-posterior-superior"}, b""),
        ({"space": "LPS"}, b""),
        ({"space": "right-anterior-superior"}, b""),
        ({"space": "RAS"}, b""),
        ({"space": "left-anterior-superior"}, b""),
        ({"space": "LAS"}, b""),
        ({"byte skip": "16"}, bytes(16)),
        ({"byte skip": "-1"}, bytes(20)),
        ({"line skip": "2"}, b"one line\nand another\n"),
        ({"space": None, "space directions": None, "space origin": None, "spacings": "1.25 0.75 3"}, b""),
        ({"kinds": "domain domain domain", "space units": '"mm" "mm" "mm"'}, b""),
    ],
)
def test_it_agrees_with_itk(
    fields: dict[str, str | None], before: bytes, voxels: np.ndarray, lps: np.ndarray, tmp_path: Path
) -> None:
    content = file_of(voxels, lps, **fields) + before + voxels.tobytes(order="F")
    (tmp_path / "v.nrrd").write_bytes(content)
    image = SimpleITK.ReadImage(str(tmp_path / "v.nrrd"))
    found = read_nrrd(BytesIO(content))
    np.testing.assert_array_equal(found.array, SimpleITK.GetArrayFromImage(image).T)
    np.testing.assert_array_equal(found.array, voxels)
    np.testing.assert_allclose(
        found.affine[:3, :3], np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing(), atol=1e-9
    )
    np.testing.assert_allclose(found.affine[:3, 3], image.GetOrigin(), atol=1e-9)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_every_type_and_byte_order(dtype: str, voxels: np.ndarray, lps: np.ndarray) -> None:
    names = {"i": "int", "u": "uint"}
    name = {"f4": "float", "f8": "double"}.get(dtype) or names[dtype[0]] + str(8 * int(dtype[1]))
    values = (voxels % 100).astype(f">{dtype}")
    found = read_nrrd(BytesIO(file_of(voxels, lps, type=name, endian="big") + values.tobytes(order="F")))
    np.testing.assert_array_equal(found.array, values)


def test_crlf_ends_lines_too(voxels: np.ndarray, lps: np.ndarray) -> None:
    content = file_of(voxels, lps).replace(b"\n", b"\r\n") + voxels.tobytes(order="F")
    np.testing.assert_array_equal(read_volume(BytesIO(content)).array, voxels)


def test_vectors_may_hold_blanks(voxels: np.ndarray, lps: np.ndarray) -> None:
    content = file_of(voxels, lps).replace(b",", b", ").replace(b"(", b"( ") + voxels.tobytes(order="F")
    found = read_volume(BytesIO(content))
    np.testing.assert_array_equal(found.array, voxels)
    np.testing.assert_allclose(found.affine, lps)


@pytest.mark.parametrize("axis", [0, 1, 3])
def test_an_axis_that_is_none_of_space_and_holds_one_entry_is_left_out(
    axis: int, voxels: np.ndarray, lps: np.ndarray
) -> None:
    directions = [vector(lps[:3, k]) for k in range(3)]
    directions.insert(axis, "none")
    listed = np.expand_dims(voxels, axis)
    header = file_of(listed, lps, dimension="4", space_directions=" ".join(directions))
    found = read_volume(BytesIO(header + listed.tobytes(order="F")))
    np.testing.assert_array_equal(found.array, voxels)
    np.testing.assert_allclose(found.affine, lps)


def test_voxels_in_another_file_are_followed_only_from_a_path(
    voxels: np.ndarray, lps: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "v.raw").write_bytes(voxels.tobytes(order="F"))
    header = file_of(voxels, lps, "data file: v.raw")
    (tmp_path / "v.nhdr").write_bytes(header)
    with (tmp_path / "v.nhdr").open("rb") as stream:
        np.testing.assert_array_equal(read_volume(stream, tmp_path / "v.nhdr").array, voxels)
    for line in ("data file: v.raw", f"data file: {tmp_path / 'v.raw'}", "datafile: v.raw"):
        with pytest.raises(Unreadable, match="another file"):
            read_volume(BytesIO(file_of(voxels, lps, line)))


@pytest.mark.parametrize(
    "fields",
    [
        {"encoding": "hex"},
        {"encoding": "gzip"},
        {"type": "block"},
        {"endian": None},
        {"sizes": "5 4"},
        {"sizes": "50 40 30"},
        {"sizes": "99999 99999 99999"},
        {"sizes": None},
        {"space origin": "(0,0)"},
        {"space directions": "(1,0,0) (0,1,0) none"},
        {"space directions": "(1,0,0) (0,1,0) (0,0,0)"},
        {"byte skip": "-2"},
    ],
)
def test_what_is_broken_is_refused_in_one_sentence(
    fields: dict[str, str | None], voxels: np.ndarray, lps: np.ndarray
) -> None:
    with pytest.raises(Unreadable) as refusal:
        read_volume(BytesIO(file_of(voxels, lps, **fields) + voxels.tobytes(order="F")))
    assert refusal.value.message.endswith(".")


def test_a_name_alone_does_not_make_it_nrrd() -> None:
    with pytest.raises(Unreadable):
        read_volume(BytesIO(b"NRRD"))
