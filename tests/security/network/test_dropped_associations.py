"""Associations that Orthanc has given up, for lack of memory, hold neither their senders nor the DICOM port."""

import platform
import select
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from bombs import deflated_image
from minipacs.settings import ROOT
from stack import RunningStack, running
from waiting import PATIENCE_S

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the plugin knows the system call of x86_64")

THREADS = 4
"""Of Orthanc, for DICOM."""
DCMTK_WAITS_S = 180


@pytest.fixture
def plugin() -> ModuleType:
    """The plugin's module, which needs no Orthanc."""
    spec = spec_from_file_location("dropped_associations", ROOT / "orthanc_plugin" / "dropped_associations.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Waiter:
    """A thread that waits for the peer of a connection, as DCMTK does."""

    def __init__(self, timeout_ms: int) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self._peer = socket.create_connection(("127.0.0.1", self.port))
        self._own, _ = listener.accept()
        listener.close()
        self._thread = threading.Thread(target=self._wait, args=(timeout_ms,))
        self._thread.start()

    def ends(self, seconds: float) -> bool:
        """Whether it has waited enough within so many seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Let it end."""
        self._peer.close()
        self._thread.join()
        self._own.close()

    def _wait(self, timeout_ms: int) -> None:
        waits = select.poll()
        waits.register(self._own, select.POLLIN)
        waits.poll(timeout_ms)


@pytest.fixture
def waiters() -> Iterator[list[Waiter]]:
    """One that waits as for an association that is over, one that does not, and one at another port."""
    three = [Waiter(DCMTK_WAITS_S * 1000), Waiter(30_000), Waiter(DCMTK_WAITS_S * 1000)]
    yield three
    for one in three:
        one.close()


def test_an_association_that_is_over_is_shut_down_and_no_other_connection(
    plugin: ModuleType, waiters: list[Waiter]
) -> None:
    over, living, elsewhere = waiters
    watches = [plugin.DroppedAssociations(one.port, 0.01) for one in (over, living)]
    for watch in watches:
        watch.start()
    try:
        assert over.ends(PATIENCE_S)
        assert not living.ends(0)
        assert not elsewhere.ends(0)
    finally:
        for watch in watches:
            watch.stop()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A product whose Orthanc has no memory for the bomb."""
    with running(tmp_path_factory.mktemp("home"), engine="none", archive_memory_mb=1024) as stack:
        yield stack


def associate(stack: RunningStack, syntax: str, sop_class: str) -> Association:
    entity = AE(ae_title="SENDER")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = PATIENCE_S
    contexts = [build_context(sop_class, syntax)]
    association = entity.associate("127.0.0.1", stack.settings.dicom_port, contexts, ae_title=stack.settings.aet)
    assert association.is_established
    return association


def test_objects_without_memory_for_them_do_not_hold_the_dicom_port(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    path = tmp_path / "bomb.dcm"
    path.write_bytes(deflated_image())
    meta = read_file_meta_info(path)

    def send(_number: int) -> bool:
        association = associate(stack, meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID)
        connection = association.dul.socket.socket
        try:
            return "Status" in association.send_c_store(path)
        finally:
            association.join(PATIENCE_S)
            connection.close()  # pynetdicom forgets one that its peer has shut down

    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as senders:
        are_stored = list(senders.map(send, range(THREADS)))
    echo = associate(stack, "1.2.840.10008.1.2", "1.2.840.10008.1.1")
    assert echo.send_c_echo().Status == 0
    echo.release()

    assert not any(are_stored)
    assert time.monotonic() - began < DCMTK_WAITS_S
