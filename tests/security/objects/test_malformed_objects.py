"""A broken object harms itself alone: it has a verdict, a rejection or a refusal, and the others are taken."""

import contextlib
import io
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.uploads.examine import examine_file
from api.uploads.received import RefusedFile
from dicom_objects import ROOT, as_file, image, nothing
from etl.options import Options
from etl.records import Outcome, SourceItem
from etl.transform import transform
from minipacs.archive.client import Archive
from minipacs.errors import MinipacsError, NoPicture, Unreadable
from minipacs.formats.dicom_file import read_dicom
from minipacs.formats.parsing import translate_parser_errors
from minipacs.formats.volume_file import read_volume
from security.objects.hostile_objects import (
    HOSTILE_UIDS,
    PIXELS,
    broken_nifti_headers,
    deeply_nested_sequence,
    make_objects,
    mutate,
    short_binary_value,
    write_uid,
)
from segmentation.prompting.legacy.picture import encode_png, read_picture
from segmentation.series_volume import load_volume, read_images, stack_images

NUMBER_OF_MUTANTS = 150
"""Of each walk; `python -m security.objects.mutants` sends as many as one likes to the whole product."""


@pytest.fixture
def transform_file(tmp_path: Path) -> Callable[[bytes], Outcome]:
    """Describe and render a file as the ETL does."""
    options = Options(target=tmp_path)
    return lambda file: transform(SourceItem("archive:1"), file, options, tmp_path)


@pytest.mark.parametrize("broken", [deeply_nested_sequence(), short_binary_value(), *broken_nifti_headers()])
def test_a_file_that_breaks_a_parser_is_its_own_verdict(broken: bytes) -> None:
    name = "volume.nii" if broken[128:132] != b"DICM" else "image"

    assert isinstance(examine_file(name, broken), RefusedFile)


def test_a_zip_entry_that_cannot_be_unpacked_is_refused_with_a_sentence() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(range(256)) * 40)
    broken = bytearray(stream.getvalue())
    broken[60:70] = b"\xff" * 10

    with (
        pytest.raises(Unreadable, match="cannot be unpacked"),
        translate_parser_errors("It cannot be unpacked"),
        zipfile.ZipFile(io.BytesIO(bytes(broken))) as archive,
    ):
        archive.read("a")


@pytest.mark.parametrize("broken", [deeply_nested_sequence(), short_binary_value()])
def test_the_etl_has_an_outcome_for_every_broken_object(
    broken: bytes, transform_file: Callable[[bytes], Outcome]
) -> None:
    outcome = transform_file(broken)

    assert outcome.rejection is not None or outcome.instance


@pytest.mark.parametrize("uid", HOSTILE_UIDS)
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_an_object_whose_uid_is_none_is_a_rejection_and_an_upload_of_it_is_refused(
    keyword: str, uid: str, transform_file: Callable[[bytes], Outcome]
) -> None:
    file = write_uid(as_file(image(PIXELS, **{keyword: f"{ROOT}.77"})), f"{ROOT}.77", uid)

    outcome = transform_file(file)

    assert not outcome.instance
    assert outcome.rejection is not None
    assert outcome.rejection.code in ("bad_uid", "no_uid")
    assert uid not in outcome.rejection.reason
    assert isinstance(examine_file("image", file), RefusedFile)
    with pytest.raises(Unreadable):
        read_images([BytesIO(file)])


def test_a_panic_of_a_decoder_in_rust_is_a_missing_picture(transform_file: Callable[[bytes], Outcome]) -> None:
    class PanicException(BaseException):
        """As pyo3 raises it."""

    with pytest.raises(NoPicture), translate_parser_errors("The picture cannot be rendered", kind=NoPicture):
        raise PanicException

    compressed = make_objects()["CT RLE"]
    at = compressed.rindex(b"\x00\x00\x00\x00" * 8)
    outcome = transform_file(compressed[: at + 32] + b"\xff" * 64 + compressed[at + 96 :])

    assert outcome.instance
    assert outcome.rejection is not None
    assert outcome.rejection.code == "no_picture"


def test_errors_of_the_disk_are_not_taken_for_the_fault_of_an_object() -> None:
    with pytest.raises(OSError, match="full"), translate_parser_errors("It cannot be read"):
        raise OSError(28, "the disk is full")


def test_a_parsers_words_about_a_dicom_object_do_not_enter_an_error() -> None:
    with pytest.raises(Unreadable) as caught, translate_parser_errors("The object cannot be read"):
        raise ValueError("invalid value 'Doe^Jane'")

    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(make_objects()))
def test_mutants_end_as_rows_or_rejections_verdicts_and_refusals(
    name: str, transform_file: Callable[[bytes], Outcome]
) -> None:
    file = make_objects()[name]
    for seed in range(NUMBER_OF_MUTANTS // 8):
        mutant = mutate(file, seed)

        outcome = transform_file(mutant)
        assert outcome.instance or outcome.rejection
        examine_file(name, mutant)
        call_unless_refused(read_picture, mutant)


def test_mutants_of_a_series_are_refused_with_a_sentence() -> None:
    series = [as_file(place_slice(number)) for number in range(1, 5)]
    for seed in range(NUMBER_OF_MUTANTS):
        files = [BytesIO(file) for file in series]
        files[seed % 4] = BytesIO(mutate(series[seed % 4], seed))
        call_unless_refused(lambda files: load_volume(stack_images(read_images(files), minimum=2)), files)


def place_slice(number: int) -> Any:
    """A slice of a regular series."""
    return image(
        PIXELS,
        number,
        ImagePositionPatient=["0", "0", str(number * 2)],
        ImageOrientationPatient=["1", "0", "0", "0", "1", "0"],
        RescaleSlope="1",
        RescaleIntercept="0",
    )


def test_mutants_of_volumes_and_pictures_are_refused_with_a_sentence() -> None:
    import nibabel as nib

    nifti = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)).to_bytes()
    nrrd = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 4 5 6\nencoding: raw\nendian: little\n\n" + bytes(240)
    png = encode_png(np.random.default_rng(5).integers(0, 255, (30, 40, 3)).astype(np.uint8))
    for seed in range(NUMBER_OF_MUTANTS):
        call_unless_refused(read_volume, BytesIO(change_bytes(nifti, seed)))
        call_unless_refused(read_volume, BytesIO(change_bytes(nrrd, seed)))
        call_unless_refused(read_picture, change_bytes(png, seed))


def change_bytes(file: bytes, seed: int) -> bytes:
    """The file with a few other bytes in its first 400."""
    chance = np.random.default_rng(seed)
    changed = bytearray(file)
    for at in chance.integers(0, min(len(file), 400), chance.integers(1, 6)):
        changed[at] = chance.integers(256)
    return bytes(changed)


def call_unless_refused(work: Callable[..., Any], *arguments: Any) -> None:
    """Fails for every exception that is not an error of ours."""
    with contextlib.suppress(MinipacsError):
        work(*arguments)


def test_an_answer_of_the_archive_that_is_no_utf8_is_read_all_the_same() -> None:
    import httpx

    from stack import settings_for

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b'[{"ID": "\xff\xfe", "x": "a\x01b"}]')

    archive = Archive(settings_for(Path("/nonexistent")), transport=httpx.MockTransport(answer))

    assert archive._request_json("GET", "/studies")[0]["ID"] == "��"


def test_a_dicom_file_is_read_in_one_place() -> None:
    with pytest.raises(Unreadable, match="is not a whole DICOM file"):
        read_dicom(BytesIO(deeply_nested_sequence()))
    assert nothing(1).SOPInstanceUID
