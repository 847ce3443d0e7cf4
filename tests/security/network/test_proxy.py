"""What a proxy says of its client counts where the proxy is trusted, and from nobody else."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from api.auth.sessions import LoginSession
from api.web.trusted_proxies import TrustedProxies
from front_door import running_front_door
from front_doors import ADMIN_PASSWORD, FrontDoors, open_front_doors
from minipacs.audit.entry import AuditEntry
from minipacs.errors import SettingsError
from minipacs.setting_values import parse_networks
from minipacs.settings import Settings
from waiting import PATIENCE_S

PROXY = {"REMOTE_ADDR": "10.1.2.3"}
STRANGER = {"REMOTE_ADDR": "192.0.2.1"}
CLIENT = {"X-Forwarded-For": "198.51.100.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "pacs.example"}


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[FrontDoors]:
    with open_front_doors("sqlite", tmp_path, TRUSTED_PROXIES="10.1.0.0/16, ::1") as doors:
        yield doors


def seen(peer: str, **headers: str) -> tuple[str, str, str]:
    """Address, scheme and host that the application sees."""
    found: dict[str, Any] = {}

    def app(environ: dict[str, Any], _start: Any) -> list[bytes]:
        found.update(environ)
        return []

    given = {f"HTTP_X_FORWARDED_{name.upper()}": value for name, value in headers.items()}
    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", "HTTP_HOST": "inner:8080", **given}
    TrustedProxies(app, parse_networks("x", "10.1.0.0/16, ::1"))(environ, None)  # type: ignore[arg-type]
    assert not any(name.startswith(("HTTP_X_FORWARDED", "HTTP_FORWARDED")) for name in found)
    return found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["HTTP_HOST"]


OWN = ("http", "inner:8080")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("10.1.2.3", "198.51.100.9", "198.51.100.9"),
        ("10.1.2.3", "1.2.3.4, 198.51.100.9", "198.51.100.9"),  # the client wrote the first one itself
        ("10.1.2.3", "198.51.100.9, 10.1.9.9", "198.51.100.9"),  # two proxies of ours
        ("10.1.2.3", "10.1.9.9", "10.1.9.9"),
        ("10.1.2.3", "198.51.100.9:4711", "198.51.100.9"),
        ("10.1.2.3", "[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:10.1.2.3", "198.51.100.9", "198.51.100.9"),
        ("::1", "198.51.100.9", "198.51.100.9"),
        ("10.1.2.3", "nobody", "10.1.2.3"),
        ("10.1.2.3", "1.2.3.4, nobody, 10.1.9.9", "10.1.9.9"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("192.0.2.1", "198.51.100.9", "192.0.2.1"),
        ("10.2.0.1", "198.51.100.9", "10.2.0.1"),
        ("", "198.51.100.9", ""),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(peer: str, forwarded_for: str, client: str) -> None:
    assert seen(peer, **{"for": forwarded_for}) == (client, *OWN)


def test_scheme_and_host_are_those_the_nearest_proxy_says() -> None:
    assert seen("10.1.2.3", proto="https", host="pacs.example:8443")[1:] == ("https", "pacs.example:8443")
    assert seen("10.1.2.3", proto="ftp, https", host="evil.example, pacs.example")[1:] == ("https", "pacs.example")
    for host in ("evil.example/x", "user@evil.example", "a b", "", "x:y", "[::1", "a\r\nb"):
        assert seen("10.1.2.3", proto="gopher", host=host)[1:] == OWN
    assert seen("192.0.2.1", proto="https", host="evil.example")[1:] == OWN


def test_a_login_through_a_trusted_proxy_is_the_clients_own(doors: FrontDoors) -> None:
    app = doors.apps[0]
    answer = log_in_through(app, PROXY, CLIENT)
    assert "; Secure" in answer.headers["Set-Cookie"]
    assert addresses(doors) == {"198.51.100.9"}
    assert audited_addresses(doors) == {"198.51.100.9"}


def test_a_forged_header_has_no_effect(doors: FrontDoors) -> None:
    answer = log_in_through(doors.apps[0], STRANGER, CLIENT)
    assert "; Secure" not in answer.headers["Set-Cookie"]
    assert addresses(doors) == {"192.0.2.1"}
    assert audited_addresses(doors) == {"192.0.2.1"}


def test_behind_a_trusted_proxy_each_client_has_its_own_guesses_and_a_forged_one_has_not(doors: FrontDoors) -> None:
    app = doors.apps[0]
    for n in range(11):
        answer = log_in_through(app, PROXY, {"X-Forwarded-For": f"203.0.113.{n}, 198.51.100.9"}, "wrong")
    assert answer.status_code == 429
    assert log_in_through(app, PROXY, {"X-Forwarded-For": "198.51.100.10"}).status_code == 303
    for n in range(11):
        answer = log_in_through(app, STRANGER, {"X-Forwarded-For": f"203.0.113.{n}"}, "wrong")
    assert answer.status_code == 429


def test_a_proxy_that_is_no_network_is_refused_at_the_start() -> None:
    for value in ("localhost", "10.0.0.1/8", "10.0.0.0/8;", "*"):
        with pytest.raises(SettingsError, match="MINIPACS_TRUSTED_PROXIES"):
            Settings.from_env({"MINIPACS_TRUSTED_PROXIES": value})


def log_in_through(app: Flask, peer: dict[str, str], headers: dict[str, str], password: str = ADMIN_PASSWORD) -> Any:
    form = {"user": "admin", "password": password}
    return app.test_client().post("/login", data=form, headers=headers, environ_base=peer)


def addresses(doors: FrontDoors) -> set[str]:
    with doors.database.reading() as session:
        return set(session.scalars(select(LoginSession.address)))


def audited_addresses(doors: FrontDoors) -> set[str]:
    doors.apps[0].extensions["minipacs_audit"].flush()
    with doors.database.reading() as session:
        return set(session.scalars(select(AuditEntry.address).where(AuditEntry.action == "login")))


def test_the_server_itself_believes_no_forwarded_scheme(tmp_path: Path) -> None:
    """gunicorn believes `X-Forwarded-Proto` of this machine by default; nobody named it trusted."""
    with running_front_door(tmp_path) as door:
        request = urllib.request.Request(f"http://localhost:{door.port}/dicom-web/studies")
        request.add_header("Authorization", f"Bearer {door.token}")
        request.add_header("X-Forwarded-Proto", "https")
        request.add_header("Host", "pacs.example")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            assert "Strict-Transport-Security" not in answer.headers
