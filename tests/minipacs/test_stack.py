"""What stands in the way of a start is said in one sentence, before anything is started."""

import socket
import threading
from pathlib import Path

import pytest
from stack import settings_for

from minipacs import orthanc
from minipacs.errors import SettingsError
from minipacs.stack import Stack


def start(home: Path, **changes: object) -> None:
    with Stack(settings_for(home, **changes), threading.Event(), lambda _sentence: None):
        pytest.fail("it must not start")


def test_an_occupied_port_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"Port {port} is in use .*MINIPACS_DICOM_PORT"):
            start(tmp_path, dicom_port=port)


def test_a_full_disk_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"MB free, below MINIPACS_RESERVE_MB=\d+.*Free some disk space"):
        start(tmp_path, reserve_mb=10**9)


def test_a_home_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match="cannot be made"):
        start(tmp_path / "file" / "home")


def test_a_missing_orthanc_names_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orthanc, "BINARIES", ("no-such-program",))
    with pytest.raises(SettingsError, match="apt-get install orthanc orthanc-dicomweb orthanc-python"):
        start(tmp_path)


def test_the_configuration_keeps_its_password_to_its_owner(tmp_path: Path) -> None:
    folder = orthanc.write_configuration(settings_for(tmp_path))
    assert (folder / "machine.json").stat().st_mode & 0o077 == 0
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0
