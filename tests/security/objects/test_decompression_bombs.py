"""A small file that claims, or unpacks to, gigabytes is refused in a sentence, and takes next to no memory."""

import ast
import json
import subprocess
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, FileDataset

from bombs import CODECS, FILE_BOMBS, IMAGE_BOMBS, PICTURE_BOMBS, SMALL, compressed_image, jpeg_frame, small_frame
from dicom_objects import as_file, image
from minipacs.errors import ExceedsMemory, Unreadable
from minipacs.formats.codestream import read_codestream_sizes
from minipacs.formats.decode_pixels import decode_all_pixels, iterate_frames
from minipacs.formats.dicom_file import read_dicom
from minipacs.formats.nrrd import read_nrrd
from minipacs.memory import size_limits
from minipacs.memory.size_limits import SizeLimits, apply_size_limits
from minipacs.settings import Settings
from waiting import PATIENCE_S

MB = 2**20
ROOT = Path(__file__).resolve().parents[3]
MAX_MB = 300
"""What an attempt may take beside the file: a limit of 256 MB is reached, and no more."""
HARMLESS = {"JPEG baseline, 2 billion frames"}
"""Its one frame has a picture; nothing is made for those that are not there."""
READERS = {"dcmread", "pixel_array", "iter_pixels"}
"""pydicom's readers, which trust what a file claims."""
BOUNDED_MODULES = {"minipacs/formats/dicom_file.py", "minipacs/formats/decode_pixels.py"}


def read(file: bytes) -> FileDataset:
    """The object of a file."""
    return read_dicom(BytesIO(file))


@dataclass(frozen=True)
class Attempt:
    """A line of `try_bombs.py`."""

    kind: str
    where: str
    outcome: str
    reason: str
    mb: int


@pytest.fixture(scope="module")
def attempts() -> list[Attempt]:
    """Every bomb, tried everywhere in a process of its own."""
    command = [sys.executable, str(ROOT / "tests" / "security" / "objects" / "try_bombs.py")]
    environment = {"PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=4 * PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return [Attempt(**json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture(autouse=True)
def small_machine() -> Any:
    """The limits of a machine of 4 GB."""
    apply_size_limits(Settings(object_mb=256, frame_mb=96, volume_mb=256))
    yield
    apply_size_limits(Settings())


@pytest.mark.timeout(600)
def test_no_bomb_takes_more_memory_than_the_limit(attempts: list[Attempt]) -> None:
    assert {each.kind for each in attempts} == {*IMAGE_BOMBS, *FILE_BOMBS, *PICTURE_BOMBS}
    assert not [each for each in attempts if each.mb > MAX_MB]


@pytest.mark.parametrize("kind", sorted({*IMAGE_BOMBS} - HARMLESS))
def test_an_image_bomb_gets_no_picture_and_no_segmentation(kind: str, attempts: list[Attempt]) -> None:
    found = {each.where: each for each in attempts if each.kind == kind}
    for where in ("ETL", "segmentation"):
        assert found[where].outcome == "refused"
        assert "a frame may take 96 MB" in found[where].reason or "an object may take 256 MB" in found[where].reason


@pytest.mark.parametrize("kind", sorted(FILE_BOMBS))
def test_an_uploaded_bomb_is_refused_with_its_reason(kind: str, attempts: list[Attempt]) -> None:
    (found,) = [each for each in attempts if each.kind == kind]
    assert found.outcome == "refused"
    assert found.reason


@pytest.mark.parametrize("kind", sorted(PICTURE_BOMBS))
def test_a_picture_bomb_is_refused_by_its_size(kind: str, attempts: list[Attempt]) -> None:
    (found,) = [each for each in attempts if each.kind == kind]
    assert "DecompressionBombError" in found.reason or "pixels" in found.reason


@pytest.mark.parametrize("codec", sorted(set(CODECS) - {"RLE"}))
def test_a_frame_that_claims_another_size_than_its_object_is_not_decoded(codec: str) -> None:
    larger = read(compressed_image(codec, header_side=SMALL, codec_side=2 * SMALL))
    with pytest.raises(ExceedsMemory, match=r"128 × 128 × 1 values claims another size than its object, 64 × 64"):
        next(iterate_frames(larger))
    with pytest.raises(ExceedsMemory, match="claims another size"):
        decode_all_pixels(larger)


def test_a_second_frame_header_behind_the_coded_data_is_seen() -> None:
    first, second = jpeg_frame(SMALL), jpeg_frame(60_000)
    sizes = read_codestream_sizes(first[:-2] + second[2:], "1.2.840.10008.1.2.4.50") or []
    assert [size.rows for size in sizes] == [SMALL, 60_000]


def test_the_size_of_a_jpeg_is_found_behind_fill_bytes_and_not_in_its_thumbnail() -> None:
    thumbnail = jpeg_frame(32)
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = jpeg_frame(SMALL)
    sizes = read_codestream_sizes(whole[:2] + segment + b"\xff\xff" + whole[2:], "1.2.840.10008.1.2.4.50") or []
    assert [size.rows for size in sizes] == [SMALL]


def test_a_jp2_box_without_length_does_not_stop_the_reader_for_ever() -> None:
    frame = b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(64)
    dataset = read(compressed_image("JPEG 2000", header_side=SMALL, codec_side=SMALL))
    dataset.PixelData = dataset.PixelData[:16] + frame + dataset.PixelData[16 + len(frame) :]
    with pytest.raises(Unreadable, match="does not say how large it is"):
        next(iterate_frames(dataset))


def test_whole_frames_are_decoded_one_by_one_whatever_all_of_them_take() -> None:
    pixels = np.stack([small_frame()] * 5)
    apply_size_limits(Settings(object_mb=1, frame_mb=1, volume_mb=1))
    dataset = image(pixels)
    dataset.compress("1.2.840.10008.1.2.5")
    assert [frame.tolist() for frame in iterate_frames(dataset)] == pixels.tolist()


def test_a_plain_object_larger_than_an_object_may_be_is_refused() -> None:
    apply_size_limits(Settings(object_mb=1))
    large: Dataset = image(np.zeros((1024, 1025), np.uint8))
    with pytest.raises(ExceedsMemory, match=r"takes 2 MB of memory; an object may take 1 MB.*MINIPACS_OBJECT_MB"):
        read(as_file(large))


class CountedStream(BytesIO):
    """Counts what is read of it."""

    bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self.bytes_read += len(content)
        return content


@pytest.mark.parametrize(("side", "error"), [(2, Unreadable), (100, ExceedsMemory)])
def test_text_of_an_nrrd_is_read_no_further_than_its_voxels_can_take(
    side: int, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """100³ doubles are 8 MB, which a volume may take here; its text could be four times as many numbers."""
    monkeypatch.setattr(size_limits, "_applied", [SizeLimits(object_bytes=MB, frame_bytes=MB, volume_bytes=10 * MB)])
    header = f"NRRD0004\ntype: double\ndimension: 3\nsizes: {side} {side} {side}\nendian: little\nencoding: ascii\n\n"
    stream = CountedStream(header.encode() + b"1 " * (4 * MB))
    with pytest.raises(error):
        read_nrrd(stream)
    assert stream.bytes_read < 3 * MB


def test_nothing_of_the_product_reads_foreign_dicom_past_the_bounds() -> None:
    """pydicom is called in two modules, which look at claims first; convert_seg reads a header of our own."""
    own_files = {"segmentation/results/convert_seg.py"}
    for path in (path for box in ("minipacs", "etl", "segmentation", "api") for path in (ROOT / box).rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name in BOUNDED_MODULES | own_files:
            continue
        tree = ast.parse(path.read_text("utf-8"))
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        assert not READERS & (used | imported), name
