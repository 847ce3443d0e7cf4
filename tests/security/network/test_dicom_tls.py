"""With certificates in the settings the archive takes and sends DICOM over TLS alone, and only from and to its own."""

import json
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from dicom_objects import as_file, image
from minipacs import cli
from minipacs.archive import local_orthanc
from minipacs.archive.c_store import send_folder
from minipacs.archive.client import Archive
from minipacs.child_process import ChildProcess
from minipacs.doctor.machine_checks import check_dicom_port
from minipacs.errors import ArchiveError, MinipacsError, SettingsError
from minipacs.secrets import orthanc_password
from minipacs.setting_values import parse_peers
from minipacs.settings import Settings
from ports import free_ports
from stack import settings_for
from waiting import LOOK_S, PATIENCE_S, until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of the archive and of a modality, `ours/dicom`, and the same of somebody else, `theirs/dicom`."""
    folder = tmp_path_factory.mktemp("certificates")
    for whose in ("ours", "theirs"):
        for name in ([], ["--name", "ct-1"]):
            assert cli.main(["certificates", "dicom", "--folder", str(folder / whose), *name]) == 0
    return folder


@pytest.fixture(scope="module")
def settings(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    peer, unused = free_ports(2)
    peers = f"CT1=CT1@127.0.0.1:{peer},DEMO=MINIPACS_DEMO@127.0.0.1:{unused}"
    return settings_for(
        tmp_path_factory.mktemp("home"),
        peers=peers,
        **of_archive(certificates / "ours" / "dicom"),
    )


@pytest.fixture(scope="module")
def archive(settings: Settings) -> Iterator[Archive]:
    """A real Orthanc under these settings."""
    if local_orthanc.find_binary() is None:
        pytest.skip("needs Orthanc")
    environment = {**settings.as_environment(), **local_orthanc.ENVIRONMENT}
    command = local_orthanc.prepare_start_command(settings)
    orthanc = ChildProcess(command, environment, settings.home / "orthanc.log")
    orthanc.start()
    try:
        with closing(Archive(settings)) as archive:
            until(lambda: answers(archive), what="Orthanc")
            until(lambda: check_dicom_port(settings).state == "ok", what="C-ECHO over TLS")
            yield archive
    finally:
        orthanc.stop(PATIENCE_S)


def of_archive(folder: Path) -> dict[str, Path]:
    """The settings of the archive's certificate in this folder."""
    return {
        "dicom_certificate": folder / "archive.crt",
        "dicom_key": folder / "archive.key",
        "dicom_trusted_certificates": folder / "authority.crt",
    }


def answers(archive: Archive) -> bool:
    try:
        return bool(archive.read_version())
    except ArchiveError:
        return False


def store(settings: Settings, folder: Path, *tls: str | Path) -> int:
    """Send a new image by DCMTK's storescu, as the modality CT1; its exit status."""
    file = folder / "image.dcm"
    file.write_bytes(as_file(image(np.arange(35, dtype=np.uint16).reshape(5, 7), 1)))
    command = ["storescu", *map(str, tls), "-aet", "CT1", "-aec", settings.aet, "-to", f"{LOOK_S:.0f}"]
    done = subprocess.run([*command, "127.0.0.1", str(settings.dicom_port), file], capture_output=True, check=False)
    return done.returncode


@contextmanager
def receiving(folder: Path, port: int, certificates: Path) -> Iterator[None]:
    """DCMTK's storescp over TLS, with the certificate of a modality."""
    command = ["storescp", "+tls", certificates / "ct-1.key", certificates / "ct-1.crt", "+cf"]
    options = [certificates / "authority.crt", "-od", folder, "-aet", "CT1", str(port)]
    with (folder / "storescp.log").open("wb") as log:
        process = subprocess.Popen([str(part) for part in (*command, *options)], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_a_modality_with_a_certificate_of_our_authority_stores(
    archive: Archive, settings: Settings, certificates: Path, tmp_path: Path
) -> None:
    ours = certificates / "ours" / "dicom"
    before = archive.count_instances()
    status = store(settings, tmp_path, "+tls", ours / "ct-1.key", ours / "ct-1.crt", "+cf", ours / "authority.crt")
    assert (status, archive.count_instances()) == (0, before + 1)


def test_a_wrong_certificate_and_none_and_no_tls_are_refused(
    archive: Archive, settings: Settings, certificates: Path, tmp_path: Path
) -> None:
    ours, theirs = certificates / "ours" / "dicom", certificates / "theirs" / "dicom"
    before = archive.count_instances()
    trusting = ("+cf", ours / "authority.crt")
    assert store(settings, tmp_path, "+tls", theirs / "ct-1.key", theirs / "ct-1.crt", *trusting) != 0
    assert store(settings, tmp_path, "+tla", *trusting) != 0
    assert store(settings, tmp_path) != 0
    assert archive.count_instances() == before


def test_our_own_sender_and_the_doctor_use_tls(archive: Archive, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "image.dcm").write_bytes(as_file(image(np.arange(35, dtype=np.uint16).reshape(5, 7), 2)))
    assert send_folder(tmp_path, settings).stored == 1
    assert "over TLS" in check_dicom_port(settings).seen


@pytest.mark.parametrize(("whose", "is_sent"), [("ours", True), ("theirs", False)])
def test_the_archive_sends_to_who_has_a_certificate_of_our_authority(
    archive: Archive, settings: Settings, certificates: Path, whose: str, is_sent: bool, tmp_path: Path
) -> None:
    port = int(parse_peers(settings.peers)["CT1"][2])
    credentials = f"{settings.orthanc_user}:{orthanc_password(settings)}".encode()
    request = urllib.request.Request(
        f"{settings.orthanc_url}/modalities/CT1/echo",
        data=json.dumps({"Timeout": 5}).encode(),
        headers={"Authorization": f"Basic {b64encode(credentials).decode()}"},
    )

    def echo() -> bool:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S):
                return True
        except urllib.error.HTTPError:
            return False

    def handshakes() -> bool:
        return echo() or "TLS" in (tmp_path / "storescp.log").read_text()

    with receiving(tmp_path, port, certificates / whose / "dicom"):
        until(handshakes, what="a connection of the archive")
        assert echo() is is_sent


def test_certificates_that_cannot_be_used_are_said_before_orthanc_starts(certificates: Path, tmp_path: Path) -> None:
    mixed = {**of_archive(certificates / "ours" / "dicom"), "dicom_key": certificates / "theirs" / "dicom" / "ct-1.key"}
    with pytest.raises(SettingsError, match="is not that of"):
        local_orthanc.build_machine_configuration(settings_for(tmp_path, **mixed), tmp_path)
    with pytest.raises(MinipacsError, match="MINIPACS_DICOM_KEY"):
        settings_for(tmp_path, dicom_certificate=mixed["dicom_certificate"])
