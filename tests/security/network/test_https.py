"""HTTPS by two settings: what is served, what is refused, and what else follows the address."""

import os
import ssl
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from front_door import LARGE, LARGE_FILE, FrontDoor, running_front_door
from minipacs.certificates.authority import create_authority, issue_certificate
from minipacs.certificates.files import write_key_and_certificate
from minipacs.certificates.https import make_client_context
from minipacs.doctor.machine_checks import check_front_door
from minipacs.local.up import say_addresses
from minipacs.settings import Settings
from slow_clients import Attack, attacking, attacks, connect, longest_answer_s, read_status, tls_attacks
from stack import settings_for
from waiting import LOOK_S, PATIENCE_S, until

CONNECTIONS = 200
HOSTS = ["localhost", "127.0.0.1"]
YEAR = timedelta(days=365)


@dataclass
class Files:
    """A certificate, its key, and the certificate of its authority."""

    certificate: Path
    key: Path
    authority: Path


def make_files(folder: Path, valid_for: timedelta = YEAR) -> Files:
    """A certificate of an authority of its own."""
    files = Files(folder / "server.crt", folder / "server.key", folder / "authority.crt")
    authority = create_authority("tests", YEAR)
    write_key_and_certificate(authority, files.authority, folder / "authority.key")
    write_key_and_certificate(issue_certificate(authority, "server", HOSTS, valid_for), files.certificate, files.key)
    return files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def front_door(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Iterator[FrontDoor]:
    """A front door by https, whose clients trust the authority and check the name."""
    context = ssl.create_default_context(cafile=str(files.authority))
    names = {"https_certificate": files.certificate, "https_key": files.key}
    with running_front_door(tmp_path_factory.mktemp("home"), context, **names) as door:
        yield door


def fetch(door: FrontDoor, path: str, data: bytes | None = None, **headers: str) -> tuple[str, bytes]:
    """What the server answers, headers and body."""
    request = urllib.request.Request(f"https://localhost:{door.port}{path}", data, headers)
    request.add_header("Authorization", f"Bearer {door.token}")
    with urllib.request.urlopen(request, timeout=PATIENCE_S, context=door.context) as answer:
        return str(answer.headers), answer.read()


def test_pages_and_files_are_served_by_https(front_door: FrontDoor) -> None:
    front_door.ask("/studies")
    _, body = fetch(front_door, LARGE_FILE)
    assert body == bytes(LARGE)


def test_a_browser_is_told_to_use_nothing_else(front_door: FrontDoor) -> None:
    headers, _ = fetch(front_door, "/healthz", Host="pacs.example")
    assert "Strict-Transport-Security: max-age=31536000" in headers
    headers, _ = fetch(front_door, "/healthz")
    assert "Strict-Transport-Security" not in headers, "localhost belongs to other programs, too"


def test_links_and_the_session_cookie_follow_the_address(front_door: FrontDoor) -> None:
    form = b"files=1.2/3.4/slicer/model.glb&seconds=60"
    _, body = fetch(front_door, "/shares", form, Host="pacs.example")
    assert b'"url":"https://' in body

    login = (
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
    )
    form = f"user=admin&password={front_door.settings.admin_password.replace(' ', '+')}".encode()
    with connect(front_door.port, front_door.context) as connection:
        connection.sendall(login % (len(form), form))
        answer = b""
        while got := connection.recv(65536):
            answer += got
    cookies = [line for line in answer.split(b"\r\n") if line.startswith(b"Set-Cookie: ")]
    assert len(cookies) == 2  # the session's, and the one by which the browser is known
    assert all(b"; Secure" in cookie for cookie in cookies)


def test_commands_of_this_machine_use_https_and_know_the_certificate(
    front_door: FrontDoor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_front_door(front_door.settings).state == "ok"

    other = make_files(tmp_path)
    values = {
        **front_door.settings.as_environment(),
        "MINIPACS_HTTPS_CERTIFICATE": str(other.certificate),
        "MINIPACS_HTTPS_KEY": str(other.key),
    }
    assert check_front_door(Settings.from_env(values)).state == "failed", "another server has the port"

    say_addresses(front_door.settings)
    assert f"https://localhost:{front_door.port}/" in capsys.readouterr().out


def shake_hands(client: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """A handshake in memory with a server that has this certificate; raises `ssl.SSLError` where it is not trusted."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for end in (*ends, *ends):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    assert ends[0].version() == "TLSv1.3"


def test_an_authority_that_follows_the_certificate_in_its_file_is_not_trusted(tmp_path: Path) -> None:
    authority = create_authority("tests", YEAR)
    ours, others = ((tmp_path / f"{name}.crt", tmp_path / f"{name}.key") for name in ("ours", "others"))
    for files in (ours, others):
        write_key_and_certificate(issue_certificate(authority, "server", HOSTS, YEAR), *files)
        files[0].write_bytes(files[0].read_bytes() + authority.certificate_pem)

    client = make_client_context(Settings(https_certificate=str(ours[0])))
    shake_hands(client, *ours)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, *others)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_present_versions_of_tls_are_spoken(front_door: FrontDoor, files: Files, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(files.authority))
    context.minimum_version = context.maximum_version = version
    with connect(front_door.port, context) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        cipher = connection.cipher()
        assert cipher is not None
        assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]


def test_older_versions_and_weak_ciphers_are_refused(front_door: FrontDoor, files: Files) -> None:
    old = ssl.create_default_context(cafile=str(files.authority))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is old
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    weak = ssl.create_default_context(cafile=str(files.authority))
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("AES128-SHA:AES256-SHA:AES128-GCM-SHA256")
    for context in (old, weak):
        with pytest.raises(ssl.SSLError):
            connect(front_door.port, context).close()


def test_plain_http_gets_a_clear_end(front_door: FrontDoor) -> None:
    with connect(front_door.port) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while got := connection.recv(4096):
            answer += got
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"https://" in answer


@pytest.mark.parametrize("attack", [*tls_attacks(), *attacks("/upload", LARGE_FILE)], ids=lambda attack: attack.name)
def test_a_slow_client_does_not_stop_others(front_door: FrontDoor, attack: Attack) -> None:
    """A slow handshake holds no thread either."""
    kinds = {one.name: one for one in [*tls_attacks(), *attacks("/upload", LARGE_FILE, front_door.login)]}
    with attacking(kinds[attack.name], front_door.port, CONNECTIONS, front_door.context) as standing:
        until(lambda: standing.opened >= CONNECTIONS, what="all connections of the attack")
        assert longest_answer_s(lambda: front_door.ask("/studies"), 1.0) < LOOK_S


def test_a_request_that_comes_with_the_one_before_is_answered(front_door: FrontDoor) -> None:
    """What TLS has decrypted already does not make the socket readable again."""
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with_body = (
        b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n"
        + b" " * 9000
    )
    last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with connect(front_door.port, front_door.context) as connection:
        connection.sendall(with_body + one * 400 + last)  # more than is received at once
        answers = b""
        while got := connection.recv(65536):
            answers += got
    assert answers.count(b"HTTP/1.1 200 OK") == 401
    assert read_status(front_door.port, last, front_door.context) == 200


def broken_settings(fault: str, folder: Path) -> dict[str, str]:
    """Settings with one fault."""
    files = make_files(folder / "one")
    match fault:
        case "missing":
            files.certificate.unlink()
        case "no certificate":
            files.certificate.write_text("rubbish")
        case "no key":
            files.key.write_text("rubbish")
        case "mismatched":
            files.key = make_files(folder / "two").key
        case "ended":
            files = make_files(folder / "three", timedelta(seconds=-1))
    values = {"MINIPACS_HTTPS_CERTIFICATE": str(files.certificate), "MINIPACS_HTTPS_KEY": str(files.key)}
    if fault == "one alone":
        del values["MINIPACS_HTTPS_KEY"]
    return values


SENTENCES = {
    "missing": "cannot be read",
    "no certificate": "holds no certificate",
    "no key": "holds no private key",
    "mismatched": "is not that of",
    "ended": "ended on",
    "one alone": "must be set, too",
}


@pytest.mark.parametrize("fault", SENTENCES)
def test_a_file_that_cannot_serve_is_one_sentence_at_the_start(fault: str, tmp_path: Path) -> None:
    home = settings_for(tmp_path / "home").as_environment()
    environment = {**os.environ, **home, **broken_settings(fault, tmp_path)}
    command = [sys.executable, "-m", "minipacs.cli", "api"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 1
    assert SENTENCES[fault] in done.stderr
    assert "Traceback" not in done.stderr
