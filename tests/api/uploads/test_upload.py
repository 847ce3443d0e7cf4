"""Upload: everything is looked at before anything is stored; a volume becomes a series with its geometry."""

import gzip
import io
import zipfile
from dataclasses import dataclass, field
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from flask import Flask

from api.uploads import volume_to_dicom
from minipacs.local.phantom import write_chest_ct

ROTATION = np.linalg.qr(np.array([[0.9, 0.1, 0.2], [-0.1, 0.95, 0.3], [0.05, -0.3, 0.9]]))[0]
AFFINE = np.eye(4)
AFFINE[:3, :3] = ROTATION * [0.7, 0.9, 2.5]
AFFINE[:3, 3] = (12, -3, 7)
"""Oblique, anisotropic, RAS mm."""


@dataclass
class FakeArchive:
    """Takes files and remembers them."""

    files: list[bytes] = field(default_factory=list)

    def store_file(self, file: bytes) -> str:
        self.files.append(file)
        return "id"

    def close(self) -> None:
        """Nothing to give back."""


@pytest.fixture
def archive(app: Flask) -> FakeArchive:
    """In place of Orthanc."""
    fake = FakeArchive()
    app.extensions["minipacs"]._archive = fake
    return fake


@pytest.fixture
def ct(tmp_path: Any) -> list[bytes]:
    """Two CT slices as files."""
    return [path.read_bytes() for path in write_chest_ct(tmp_path / "ct", slices=2)]


def zip_of(files: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def send(operator: Any, **files: bytes) -> Any:
    named = [(io.BytesIO(content), name.replace("__", ".")) for name, content in files.items()]
    return operator("/upload", "POST", data={"file[]": named}, content_type="multipart/form-data")


def test_dicom_with_and_without_extension_goes_to_the_archive(operator: Any, archive: Any, ct: list[bytes]) -> None:
    answer = send(operator, a__dcm=ct[0], noextension=ct[1])
    assert answer.status_code == 200
    assert answer.get_json()["stored"] == 2
    assert archive.files == ct
    assert answer.get_json()["studies"] == [str(pydicom.dcmread(io.BytesIO(ct[0])).StudyInstanceUID)]


def test_a_zip_of_folders_is_opened(operator: Any, archive: Any, ct: list[bytes]) -> None:
    packed = zip_of({"DICOM/1/A": ct[0], "DICOM/1/B": ct[1], "readme.txt": b"hello", "inner.zip": zip_of({"x": b"y"})})
    answer = send(operator, study__zip=packed).get_json()
    assert (answer["stored"], answer["refused"]) == (2, 2)
    assert {f["name"] for f in answer["files"] if f["verdict"] == "refused"} == {
        "study.zip/readme.txt",
        "study.zip/inner.zip",
    }


@pytest.mark.filterwarnings("ignore:End of file reached")
@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 400, b"\x00" * 128 + b"DICM" + b"\xff" * 50])
def test_what_is_not_dicom_is_refused_with_its_reason(operator: Any, archive: Any, content: bytes) -> None:
    answer = send(operator, file__dcm=content)
    assert answer.status_code == 422
    assert answer.get_json()["files"][0]["reason"]
    assert not archive.files


def test_a_file_that_was_cut_off_is_refused(operator: Any, archive: Any, ct: list[bytes]) -> None:
    answer = send(operator, file__dcm=ct[0][:-1000]).get_json()
    assert "cut off" in answer["files"][0]["reason"] or "broken" in answer["files"][0]["reason"]
    assert not archive.files


def test_a_bomb_is_413_and_stores_nothing(operator: Any, archive: Any, ct: list[bytes]) -> None:
    answer = send(operator, bomb__zip=zip_of({"a.dcm": ct[0], "bomb": bytes(200 * 2**20)}))
    assert answer.status_code == 413
    assert "200 times" in answer.get_json()["error"]["message"]
    assert not archive.files


def test_a_broken_zip_stores_nothing(operator: Any, archive: Any, ct: list[bytes]) -> None:
    whole = bytearray(zip_of({"a.dcm": ct[0], "b.dcm": ct[1]}, zipfile.ZIP_STORED))
    whole[len(ct[0]) + 5000] ^= 255
    answer = send(operator, study__zip=bytes(whole))
    assert answer.status_code == 422
    assert not archive.files


def test_an_upload_without_a_file_says_so(operator: Any) -> None:
    answer = operator("/upload", "POST")
    assert answer.status_code == 400
    assert "no file" in answer.get_json()["error"]["message"]


def test_only_operators_upload(viewer: Any, archive: Any, ct: list[bytes]) -> None:
    assert send(viewer, a__dcm=ct[0]).status_code == 403
    assert not archive.files


def volume() -> np.ndarray[Any, Any]:
    """HU of shape (columns 5, rows 4, slices 3)."""
    return (np.arange(60).reshape(5, 4, 3) * 37 - 1000).astype(np.int16)


def nifti(packed: bool = True) -> bytes:
    file: bytes = nib.Nifti1Image(volume(), AFFINE).to_bytes()
    return gzip.compress(file) if packed else file


def nrrd() -> bytes:
    lps = np.diag([-1, -1, 1, 1]) @ AFFINE
    directions = " ".join("(" + ",".join(map(repr, map(float, lps[:3, i]))) + ")" for i in range(3))
    origin = "(" + ",".join(map(repr, map(float, lps[:3, 3]))) + ")"
    head = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 5 4 3\n"
        f"space directions: {directions}\nendian: little\nencoding: gzip\nspace origin: {origin}\n\n"
    )
    return head.encode() + gzip.compress(volume().tobytes(order="F"))


@pytest.mark.parametrize(("name", "file"), [("v__nii__gz", nifti()), ("v__nii", nifti(False)), ("v__nrrd", nrrd())])
def test_a_volume_becomes_a_series_with_its_geometry_and_values(
    operator: Any, archive: Any, name: str, file: bytes
) -> None:
    answer = send(operator, **{name: file}).get_json()
    assert answer["stored"] == 1, answer
    assert "CT" in answer["files"][0]["reason"]
    images = [pydicom.dcmread(io.BytesIO(f)) for f in archive.files]
    assert len(images) == 3
    send(operator, **{name: file})
    assert archive.files[3:] == archive.files[:3]
    to_lps = np.diag([-1, -1, 1, 1]) @ AFFINE
    for image in images:
        row, column = np.array(image.ImageOrientationPatient[:3]), np.array(image.ImageOrientationPatient[3:])
        start = np.array(image.ImagePositionPatient, float)
        between_rows, between_columns = image.PixelSpacing
        for r, c in ((0, 0), (3, 4), (1, 2)):
            place = start + row * c * between_columns + column * r * between_rows
            i, j, k = np.rint(np.linalg.solve(to_lps, [*place, 1])[:3]).astype(int)
            assert np.allclose(to_lps[:3] @ [i, j, k, 1], place, atol=1e-4)
            shown = image.pixel_array[r, c] * float(image.RescaleSlope) + float(image.RescaleIntercept)
            assert shown == volume()[i, j, k]


def test_a_sheared_volume_is_refused(operator: Any, archive: Any) -> None:
    sheared = AFFINE.copy()
    sheared[0, 2] += 0.5
    answer = send(operator, v__nii=nib.Nifti1Image(volume(), sheared).to_bytes()).get_json()
    assert "right angles" in answer["files"][0]["reason"]
    assert not archive.files


def test_a_volume_of_fractions_keeps_16_bits(operator: Any, archive: Any) -> None:
    array = np.random.default_rng(1).normal(0, 1e-3, (5, 4, 3)).astype(np.float32)
    files = list(volume_to_dicom.encode_slices("x", b"seed", array, np.diag([1.0, 2.0, 3.0, 1.0]), "MR"))
    for k, file in enumerate(files):
        image = pydicom.dcmread(io.BytesIO(file))
        got = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
        assert np.abs(got.T - array[:, :, k]).max() <= np.ptp(array) / 65000


def test_a_volume_has_the_modality_that_was_asked(operator: Any, archive: Any) -> None:
    def sent(modality: str) -> Any:
        data = {"file": (io.BytesIO(nifti()), "v.nii.gz"), "modality": modality}
        return operator("/upload", "POST", data=data, content_type="multipart/form-data")

    assert "MR as asked" in sent("mr").get_json()["files"][0]["reason"]
    assert {pydicom.dcmread(io.BytesIO(f)).Modality for f in archive.files} == {"MR"}
    assert sent("PET").status_code == 400
    assert len(archive.files) == 3
