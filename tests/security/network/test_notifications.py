"""Nobody but Orthanc's plugin can tell the job service of a study, and nobody can keep it from working."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dicom_objects import as_file, image
from minipacs.archive import local_orthanc
from minipacs.archive.client import Archive
from minipacs.child_process import ChildProcess
from minipacs.errors import ArchiveError
from minipacs.jobs.stable_study_listener import StableStudyListener
from minipacs.secrets import orthanc_password
from minipacs.settings import ROOT
from stack import settings_for
from waiting import LOOK_S, PATIENCE_S, until

KEY = "the password at Orthanc"


@pytest.fixture(scope="module")
def plugin() -> ModuleType:
    """The plugin, loaded without an Orthanc."""
    source = (ROOT / "orthanc_plugin" / "plugin.py").read_text("utf-8")
    module = ModuleType("plugin")
    code = source.replace("import orthanc\n", "").replace("register(orthanc, os.environ)", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "orthanc_plugin"))  # as Orthanc does
        exec(compile(code, "plugin.py", "exec"), module.__dict__)
    return module


@pytest.fixture
def listener() -> Iterator[StableStudyListener]:
    listener = StableStudyListener(("127.0.0.1", 0), KEY)
    yield listener
    listener.close()


def test_a_forged_notification_is_ignored(listener: StableStudyListener, plugin: ModuleType) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for forged in (b"stable forged", b"stable forged ", b"stable forged 00", b"", b" ", b"\xff" * 600):
            sender.sendto(forged, listener.address)
        plugin.notify(listener.address, "forged", "another key")
        plugin.notify(listener.address, "forged", "")
        plugin.notify(listener.address, "genuine", KEY)
    assert listener.receive(PATIENCE_S) == {"genuine"}


def test_a_signature_is_for_its_own_study_alone(listener: StableStudyListener, plugin: ModuleType) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as network:
        network.bind(("127.0.0.1", 0))
        network.settimeout(PATIENCE_S)
        plugin.notify(network.getsockname(), "one", KEY)
        overheard = network.recv(1000)
        network.sendto(overheard.replace(b"stable one", b"stable two"), listener.address)
        network.sendto(overheard, listener.address)
    assert listener.receive(PATIENCE_S) == {"one"}


class EndlessSocket:
    """A socket at which datagrams never end to come."""

    def __init__(self, datagram: bytes) -> None:
        self._datagram = datagram
        self._end = time.monotonic() + LOOK_S

    def settimeout(self, _seconds: float) -> None:
        """As a socket's."""

    def recv(self, _size: int) -> bytes:
        """The same datagram each time."""
        if time.monotonic() > self._end:
            raise AssertionError("the job service does nothing but read datagrams")
        return self._datagram


@pytest.mark.parametrize("datagram", [b"rubbish", b"stable study"])
def test_a_flood_of_notifications_does_not_stop_the_job_service(
    listener: StableStudyListener, datagram: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless: Any = EndlessSocket(datagram)
    with monkeypatch.context() as patched:
        patched.setattr(listener, "_socket", endless)
        assert listener.receive(0.2) == set()


@pytest.mark.integration
def test_the_plugin_in_a_real_orthanc_signs_what_the_job_service_accepts(tmp_path: Path) -> None:
    if local_orthanc.find_binary() is None:
        pytest.skip("needs Orthanc")
    settings = settings_for(tmp_path)
    listener = StableStudyListener(settings.stable_study_host_and_port, orthanc_password(settings))
    environment = {**settings.as_environment(), **local_orthanc.ENVIRONMENT}
    orthanc = ChildProcess(local_orthanc.prepare_start_command(settings), environment, tmp_path / "orthanc.log")
    with closing(listener), closing(Archive(settings)) as archive:
        orthanc.start()
        try:
            until(lambda: orthanc_answers(archive), what="Orthanc")
            archive.store_file(as_file(image(np.arange(35, dtype=np.uint16).reshape(5, 7), 1)))
            assert len(listener.receive(PATIENCE_S)) == 1
        finally:
            orthanc.stop(PATIENCE_S)


def orthanc_answers(archive: Archive) -> bool:
    """Whether Orthanc is there."""
    try:
        return bool(archive.read_version())
    except ArchiveError:
        return False
