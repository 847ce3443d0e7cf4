"""`minipacs certificates` makes what TLS needs, replaces nothing by itself, and the doctor says when it ends."""

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from minipacs import cli
from minipacs.certificates.authority import create_authority, issue_certificate
from minipacs.certificates.files import read_key_and_certificate, write_key_and_certificate
from minipacs.doctor.certificate_check import check_certificates
from minipacs.errors import SettingsError
from minipacs.settings import Settings

MakeCertificates = Callable[..., int]


@pytest.fixture
def make(tmp_path: Path) -> MakeCertificates:
    """The command, in a folder of the test's own."""
    return lambda *arguments: cli.main(["certificates", *arguments, "--folder", str(tmp_path)])


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> str:
    """A TLS connection from `client` to a `server` that is called `host`: empty, or why it failed."""
    here, there = socket.socketpair()

    def serve() -> None:
        with there:
            try:
                server.wrap_socket(there, server_side=True).close()
            except (OSError, ValueError):
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with here:
            client.wrap_socket(here, server_hostname=host).close()
        return ""
    except ssl.SSLError as error:
        return str(error)
    finally:
        thread.join()


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def test_a_browser_that_trusts_the_authority_accepts_the_front_door_by_name_and_address(
    make: MakeCertificates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make("https", "--host", "pacs.example", "192.0.2.7") == 0
    folder = tmp_path / "https"
    server, browser = server_context(folder / "server.crt"), ssl.create_default_context(cafile=folder / "authority.crt")
    browser.verify_flags |= ssl.VERIFY_X509_STRICT
    for host in ("pacs.example", "192.0.2.7"):
        assert handshake(server, browser, host) == ""
    assert "mismatch" in handshake(server, browser, "other.example")
    assert handshake(server, ssl.create_default_context(), "pacs.example")

    said = capsys.readouterr().out
    assert f"MINIPACS_HTTPS_CERTIFICATE={folder / 'server.crt'}\nMINIPACS_HTTPS_KEY={folder / 'server.key'}\n" in said
    assert "server.crt: until 20" in said


def test_who_trusts_the_front_doors_authority_trusts_it_for_no_other_host(
    make: MakeCertificates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make("https", "--host", "pacs.example") == 0
    folder = tmp_path / "https"
    stolen = read_key_and_certificate(folder / "authority.crt", folder / "authority.key")
    browser = ssl.create_default_context(cafile=folder / "authority.crt")
    for host in ("bank.example", "192.0.2.7", "::1"):
        forged = issue_certificate(stolen, host, [host], timedelta(days=1))
        write_key_and_certificate(forged, tmp_path / "forged.crt", tmp_path / "forged.key")
        assert "subtree" in handshake(server_context(tmp_path / "forged.crt"), browser, host), host

    assert make("https", "--name", "other", "--host", "bank.example") == 1
    assert "not trusted for bank.example" in capsys.readouterr().err


def test_nothing_is_replaced_without_being_told_and_the_authority_never(make: MakeCertificates, tmp_path: Path) -> None:
    assert make("dicom", "cluster") == 0
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    before = {file: file.read_bytes() for file in files}
    assert len(files) == 8

    assert make("dicom", "cluster") == 1
    assert {file: file.read_bytes() for file in files} == before

    assert make("dicom", "cluster", "--replace") == 0
    kept = {file.name for file in files if file.read_bytes() == before[file]}
    assert kept == {"authority.crt", "authority.key"}


def test_a_modality_gets_a_certificate_of_the_same_authority(
    make: MakeCertificates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make("dicom") == 0
    capsys.readouterr()
    assert make("dicom", "--name", "ct-1", "--host", "192.0.2.9") == 0
    assert "MINIPACS" not in capsys.readouterr().out, "they are no settings of ours"
    issuers = {
        read_key_and_certificate(file, file.with_suffix(".key")).certificate.issuer
        for file in (tmp_path / "dicom").glob("*.crt")
    }
    assert len(issuers) == 1


def test_each_purpose_has_an_authority_of_its_own(make: MakeCertificates, tmp_path: Path) -> None:
    assert make() == 0
    authorities = {file.read_bytes() for file in tmp_path.rglob("authority.key")}
    assert len(authorities) == 3


def test_keys_are_their_owners_alone(make: MakeCertificates, tmp_path: Path) -> None:
    assert make() == 0
    keys = list(tmp_path.rglob("*.key"))
    assert {file.stat().st_mode & 0o777 for file in keys} == {0o600}
    assert {file.parent.stat().st_mode & 0o777 for file in keys} == {0o700}


@pytest.mark.parametrize("arguments", [["ftp"], ["--name", "../x"], ["--name", "authority"], ["--days", "0"]])
def test_wrong_arguments_are_said(
    make: MakeCertificates, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(*arguments) == 1
    assert "minipacs certificates: " in capsys.readouterr().err


def test_files_that_do_not_belong_together_are_said(make: MakeCertificates, tmp_path: Path) -> None:
    assert make("https", "dicom") == 0
    with pytest.raises(SettingsError, match="is not that of"):
        read_key_and_certificate(tmp_path / "https" / "server.crt", tmp_path / "dicom" / "archive.key")
    with pytest.raises(SettingsError, match="no certificate"):
        read_key_and_certificate(tmp_path / "https" / "server.key", tmp_path / "https" / "server.key")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_key_and_certificate(tmp_path / "https" / "none.crt", tmp_path / "https" / "server.key")


@pytest.mark.parametrize(("days", "state"), [(-1, "failed"), (29, "warning"), (31, "ok")])
def test_the_doctor_warns_thirty_days_before_a_certificate_ends(days: int, state: str, tmp_path: Path) -> None:
    authority = create_authority("test", timedelta(days=days, hours=1))
    write_key_and_certificate(authority, tmp_path / "a.crt", tmp_path / "a.key")
    finding = check_certificates(replace(Settings.from_env({}), scheduler_certificate=str(tmp_path / "a.crt")))
    assert (finding.state, "MINIPACS_SCHEDULER_CERTIFICATE" in finding.seen) == (state, True)
    assert check_certificates(Settings.from_env({})).state == "ok"
