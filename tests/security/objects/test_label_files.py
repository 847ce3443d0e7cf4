"""Label files of other programs and servers: no more is received or unpacked than a volume may take."""

import gzip
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.results.label_filter import keep_labels
from bombs import MB, SMALL, nifti_gzip, nifti_gzip_beyond_its_header, nifti_header, zip_of, zip_of_many_files
from minipacs.errors import EngineFailed, ExceedsMemory, Unreadable
from minipacs.memory import size_limits
from minipacs.memory.size_limits import apply_size_limits
from minipacs.settings import Settings
from segmentation.engines import foreign, vista3d
from stack import settings_for

MOST_MB = 48
"""Far less than any of these unpacks to."""


@pytest.fixture(autouse=True)
def small_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume may take 2 MB."""
    monkeypatch.setattr(size_limits, "_applied", list(size_limits._applied))
    apply_size_limits(Settings(volume_mb=2))


@contextmanager
def little_memory() -> Iterator[None]:
    """Fail where the block takes more than it may."""
    tracemalloc.start()
    try:
        yield
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_MB * MB


@pytest.mark.parametrize("make", [nifti_gzip, nifti_gzip_beyond_its_header])
def test_a_label_map_that_unpacks_to_gigabytes_is_not_filtered(make: Callable[[], bytes]) -> None:
    packed = make()
    with little_memory(), pytest.raises(ExceedsMemory):
        keep_labels(packed, (1,))


def test_of_a_label_map_no_more_is_unpacked_than_its_voxels() -> None:
    voxels = np.arange(SMALL**3, dtype=np.uint8)
    packed = gzip.compress(nifti_header(SMALL) + voxels.tobytes() + bytes(300 * MB), 1)
    with little_memory():
        kept = gzip.decompress(keep_labels(packed, (3,)))
    assert kept == nifti_header(SMALL) + np.where(voxels == 3, 3, 0).astype(np.uint8).tobytes()


def test_a_label_map_that_is_cut_off_is_refused() -> None:
    with pytest.raises(Unreadable, match="ends before its last voxel"):
        keep_labels(gzip.compress(nifti_header(SMALL) + bytes(100)), (1,))


def zip_of_labels(compression: int, claimed: int | None) -> bytes:
    """A ZIP of a label file of 300 MB."""
    return zip_of(bytes(300 * MB), compression, claimed=claimed).replace(b"a.dcm", b"a.nii")


@pytest.mark.parametrize(
    "make",
    [
        partial(zip_of_labels, zipfile.ZIP_DEFLATED, None),
        partial(zip_of_labels, zipfile.ZIP_DEFLATED, MB),
        partial(zip_of_labels, zipfile.ZIP_LZMA, MB),
        partial(zip_of_labels, zipfile.ZIP_BZIP2, MB),
        zip_of_many_files,
        lambda: b"PK\3\4 and no more",
    ],
)
def test_a_zip_of_labels_that_unpacks_to_more_than_it_may_is_refused(make: Callable[[], bytes], tmp_path: Path) -> None:
    packed = make()
    with little_memory(), pytest.raises(EngineFailed, match="sent a ZIP"):
        vista3d._unpack_label_file(packed, tmp_path)


@pytest.mark.parametrize("status", [200, 422])
def test_no_more_is_received_of_an_answer_than_a_label_file_may_have(status: int, tmp_path: Path) -> None:
    class Endless(BaseHTTPRequestHandler):
        """Sends until nobody listens."""

        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(MB))
            except OSError:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever).start()
        settings = replace(settings_for(tmp_path), vista3d_url=f"http://127.0.0.1:{server.server_port}")
        try:
            with little_memory(), pytest.raises(EngineFailed, match="sent more than"):
                vista3d._request_inference(settings, {}, 60)
        finally:
            server.shutdown()


def test_a_label_file_leads_to_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(8))
    lines = ("NRRD0004", "type: uchar", "dimension: 3", "sizes: 2 2 2", "encoding: raw", "data file: secret", "", "")
    labels = tmp_path / "labels.nrrd"
    labels.write_text("\n".join(lines))
    with pytest.raises(EngineFailed, match="another file"):
        foreign._read_label_volume("A server", labels)
