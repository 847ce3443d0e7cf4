"""The audit is sent on: by syslog over real TLS, as DICOM audit messages, and nothing is lost on the way."""

import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from lxml import etree

from minipacs.audit.audit_log import AuditLog
from minipacs.audit.dicom_message import EVENTS, MAX_OBJECTS
from minipacs.audit.entry import AuditChain, AuditEntry, NewEntry
from minipacs.audit.forwarding import SENT_AT_ONCE, AuditForwarder
from minipacs.audit.syslog import make_tls_context
from minipacs.audit.verification import explain, verify_chain
from minipacs.certificates.authority import create_authority, issue_certificate
from minipacs.database import Database
from minipacs.errors import NotDelivered, SettingsError
from minipacs.settings import Settings
from waiting import PATIENCE_S, until

SCHEMA = etree.RelaxNG(etree.parse(str(Path(__file__).with_name("audit_message.rng"))))
HEADER = re.compile(
    rb"<85>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ minipacs \d+ DICOM\+RFC3881 - \xef\xbb\xbf(.*)", re.S
)
YEAR = timedelta(days=365)


class Receiver:
    """A syslog receiver with a certificate of its own (RFC 5425); `breaks_off`: it ends in the middle."""

    def __init__(self, folder: Path, *, wants_certificate: bool = False) -> None:
        authority = create_authority("tests", YEAR)
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(authority.certificate_pem)
        for name, hosts in (("receiver", ["127.0.0.1"]), ("client", ["client"])):
            pair = issue_certificate(authority, name, hosts, YEAR)
            (folder / f"{name}.pem").write_bytes(pair.certificate_pem)
            (folder / f"{name}.key").write_bytes(pair.key_pem)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "receiver.pem", folder / "receiver.key")
        if wants_certificate:
            self._context.load_verify_locations(self.ca)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self.messages: list[bytes] = []
        self.breaks_off = self.ends_silently = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE_S)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            plain.settimeout(PATIENCE_S)
            try:
                with self._context.wrap_socket(plain, server_side=True) as connection:
                    self._read(connection)
            except OSError:
                plain.close()

    def _read(self, connection: ssl.SSLSocket) -> None:
        if self.breaks_off:
            connection.recv(10)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # the end is a reset
            return
        data = b""
        while piece := connection.recv(65536):
            data += piece
        while data:
            length, _, data = data.partition(b" ")
            self.messages.append(data[: int(length)])
            data = data[int(length) :]
        if not self.ends_silently:
            connection.unwrap()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    receiver = Receiver(tmp_path)
    yield receiver
    receiver.close()


@pytest.fixture
def settings(tmp_path: Path, receiver: Receiver) -> Settings:
    values = {"HOME": str(tmp_path / "home"), "AUDIT_SYSLOG": receiver.address, "AUDIT_SYSLOG_CA": str(receiver.ca)}
    return Settings.from_env({f"MINIPACS_{name}": value for name, value in values.items()})


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database_url)
    database.upgrade_schema()
    yield database
    database.close()


def write(database: Database, settings: Settings, *entries: dict[str, Any]) -> None:
    """Entries with these values."""
    log = AuditLog(database, settings.home, delivers=False)
    plain = {
        "user": "ada",
        "by": "session",
        "address": "10.1.2.3",
        "action": "view",
        "method": "GET",
        "path": "/studies",
    }
    for values in entries:
        log.add(NewEntry(**{"at": time.time(), "status": 200, **plain, **values}))
    log.close()


def parse(message: bytes) -> etree._Element:
    """The XML of a syslog message."""
    found = HEADER.fullmatch(message)
    assert found, message
    return etree.fromstring(found[1])


def sent_id(database: Database) -> int:
    """The newest entry that the receiver has."""
    with database.reading() as session:
        ends = session.get(AuditChain, 1)
        return ends.sent_id if ends else 0


ODD = 'A/B ü <&" \x01\ud800'
OF_EACH_KIND: list[dict[str, Any]] = [
    {
        "action": action,
        "query": query,
        "status": status,
        "user": ODD,
        "patients": (ODD, "P1"),
        "uids": ("1.2.3.4", "1.2.3.5"),
    }
    for action in (*EVENTS, "change")
    for query, status in (("PatientName=Odd*", 200), ("", 403), ("", 0))
]


def test_every_kind_of_entry_is_a_message_of_the_standard(
    database: Database, settings: Settings, receiver: Receiver
) -> None:
    cleaned = [{**one, "user": ODD.replace("\ud800", "?"), "patients": ("P1", "ü<&\x01")} for one in OF_EACH_KIND]
    write(database, settings, *cleaned)
    assert AuditForwarder(settings, database).send() == len(cleaned)
    until(lambda: len(receiver.messages) == len(cleaned))
    for message in receiver.messages:
        assert len(message) < 8192  # RFC 5425 4.3.1
        SCHEMA.assertValid(parse(message))


@pytest.mark.parametrize(
    ("entry", "event", "type_", "outcome"),
    [
        ({"action": "login", "status": 303}, "110114", "110122", "0"),
        ({"action": "failure", "method": "POST", "path": "/login", "status": 401}, "110114", "110122", "4"),
        ({"action": "logout"}, "110114", "110123", "0"),
        ({"action": "failure", "status": 403}, "110113", "110132", "4"),
        ({"action": "search"}, "110112", None, "0"),
        ({"action": "view"}, "110103", None, "0"),
        ({"action": "export"}, "110106", None, "0"),
        ({"action": "upload", "status": 503}, "110107", None, "8"),
        ({"action": "audit"}, "110101", None, "0"),
        ({"action": "start", "method": "COMMAND", "status": 0}, "110100", "110120", "0"),
        ({"action": "admin", "status": 0}, "110113", "110129", "8"),
    ],
)
def test_an_entry_is_the_event_that_the_standard_has_for_it(
    database: Database, settings: Settings, receiver: Receiver,
    entry: dict[str, Any], event: str, type_: str | None, outcome: str,
) -> None:  # fmt: skip
    write(database, settings, {**entry, "uids": ("1.2.3.4",), "patients": ("P1",)})
    AuditForwarder(settings, database).send()
    message = parse(until(lambda: receiver.messages)[0])
    assert message.find("EventIdentification/EventID").get("csd-code") == event
    kind = message.find("EventIdentification/EventTypeCode")
    assert (kind.get("csd-code") if kind is not None else None) == type_
    assert message.find("EventIdentification").get("EventOutcomeIndicator") == outcome
    requestor = message.find("ActiveParticipant[@UserIsRequestor='true']")
    assert (requestor.get("UserID"), requestor.get("NetworkAccessPointID")) == ("ada", "10.1.2.3")
    names = [one.get("ParticipantObjectID") for one in message.findall("ParticipantObjectIdentification")]
    assert names[:2] == ["P1", "1.2.3.4"]


def test_an_entry_of_many_studies_is_several_messages_that_name_them_all(
    database: Database, settings: Settings, receiver: Receiver
) -> None:
    uids = tuple(f"1.2.3.{n}" for n in range(3 * MAX_OBJECTS - 1))
    write(database, settings, {"action": "search", "uids": uids})
    AuditForwarder(settings, database).send()
    until(lambda: len(receiver.messages) == 3)
    named = [
        one.get("ParticipantObjectID")
        for m in receiver.messages
        for one in parse(m).iter("ParticipantObjectIdentification")
    ]
    assert set(uids) <= set(named)


def test_what_the_receiver_did_not_take_is_sent_when_it_is_there_again(
    database: Database, settings: Settings, receiver: Receiver
) -> None:
    paths = [f"/n/{n}" for n in range(SENT_AT_ONCE + 20)]
    write(database, settings, *({"path": path} for path in paths))
    forwarder = AuditForwarder(settings, database)
    receiver.breaks_off = True
    with pytest.raises(NotDelivered):
        forwarder.send()
    assert sent_id(database) == 0
    receiver.breaks_off = False
    assert [forwarder.send(), forwarder.send(), forwarder.send()] == [SENT_AT_ONCE, 20, 0]
    until(lambda: len(receiver.messages) == len(paths))
    received = [
        parse(m).findall("ParticipantObjectIdentification")[-1].get("ParticipantObjectID") for m in receiver.messages
    ]
    assert received == [f"GET {path}" for path in paths]
    assert sent_id(database) == len(paths)


@pytest.mark.parametrize("wrong", ["authority", "name", "nobody"])
def test_a_receiver_that_does_not_prove_who_it_is_gets_nothing(
    database: Database, settings: Settings, receiver: Receiver, tmp_path: Path, wrong: str
) -> None:
    write(database, settings, {})
    other = tmp_path / "other.pem"
    other.write_bytes(create_authority("others", YEAR).certificate_pem)
    changed = {
        "authority": {"audit_syslog_ca": str(other)},
        "name": {"audit_syslog": receiver.address.replace("127.0.0.1", "localhost")},
        "nobody": {"audit_syslog": "127.0.0.1:9"},
    }[wrong]
    with pytest.raises(NotDelivered, match="syslog receiver"):
        AuditForwarder(replace(settings, **changed), database).send()
    assert (sent_id(database), receiver.messages) == (0, [])
    AuditForwarder(settings, database).send()
    until(lambda: len(receiver.messages) == 1)


def test_a_receiver_may_want_a_certificate_of_ours(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path, wants_certificate=True)
    try:
        settings = Settings.from_env(
            {
                "MINIPACS_HOME": str(tmp_path / "home"),
                "MINIPACS_AUDIT_SYSLOG": receiver.address,
                "MINIPACS_AUDIT_SYSLOG_CA": str(receiver.ca),
                "MINIPACS_AUDIT_SYSLOG_CERTIFICATE": str(tmp_path / "client.pem"),
                "MINIPACS_AUDIT_SYSLOG_KEY": str(tmp_path / "client.key"),
            }
        )
        database = Database(settings.database_url)
        database.upgrade_schema()
        write(database, settings, {})
        with pytest.raises(NotDelivered):
            AuditForwarder(replace(settings, audit_syslog_certificate="", audit_syslog_key=""), database).send()
        assert AuditForwarder(settings, database).send() == 1
        until(lambda: len(receiver.messages) == 1)
        database.close()
    finally:
        receiver.close()


def test_an_end_without_close_notify_counts_as_received_only_where_the_setting_says_so(
    database: Database, settings: Settings, receiver: Receiver
) -> None:
    receiver.ends_silently = True
    write(database, settings, {})
    with pytest.raises(NotDelivered, match="without close_notify"):
        AuditForwarder(settings, database).send()
    assert sent_id(database) == 0
    assert AuditForwarder(replace(settings, audit_syslog_end="eof"), database).send() == 1
    assert sent_id(database) == 1


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords: list[str] = []

    def note(_context: ssl.SSLContext, _certificate: str, _key: str, password: str) -> None:
        passwords.append(password)

    certificates = {"audit_syslog_certificate": "client.pem", "audit_syslog_key": "client.key"}
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", note)
    make_tls_context(replace(settings, **certificates))
    assert passwords == [""]
    monkeypatch.undo()

    key = load_pem_private_key((tmp_path / "client.key").read_bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a password"))
    (tmp_path / "client.key").write_bytes(encrypted)
    certificates = {name: str(tmp_path / file) for name, file in certificates.items()}
    with pytest.raises(SettingsError, match="A certificate of MINIPACS_AUDIT_SYSLOG cannot be read"):
        make_tls_context(replace(settings, **certificates))


DAYS = 30


def test_old_entries_are_deleted_by_the_setting_and_the_rest_verifies(
    database: Database, settings: Settings, receiver: Receiver
) -> None:
    old = time.time() - (DAYS + 1) * 86400
    write(database, settings, *[{"at": old + n} for n in range(10)], *[{} for _ in range(5)])
    forwarder = AuditForwarder(replace(settings, audit_days=DAYS), database)
    assert AuditForwarder(settings, database).delete_old(time.time()) == 0  # for ever is the default
    assert forwarder.delete_old(time.time()) == 0  # not sent on yet
    forwarder.send()
    assert forwarder.delete_old(time.time()) == 10
    assert forwarder.delete_old(time.time()) == 0
    assert explain(verify_chain(database, settings.home)) == "6 entries verified, 11 to 16"
    with database.reading() as session:
        noted = session.get(AuditEntry, 16)
        assert noted is not None
        assert (noted.action, noted.path.partition(":")[0]) == ("audit", "10 entries up to 10 deleted")


WRONG = [("AUDIT_DAYS", "-1"), ("AUDIT_DAYS", "x"), ("AUDIT_SYSLOG", "nowhere"), ("AUDIT_SYSLOG_END", "x")]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"MINIPACS_{name} must be"):
        Settings.from_env({f"MINIPACS_{name}": value})


def test_the_thread_sends_by_itself_and_after_the_receiver_came_back(
    database: Database, settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minipacs.audit.forwarding.STEP_INTERVAL_S", 0.05)
    receiver.breaks_off = True
    stop = threading.Event()
    forwarder = AuditForwarder(settings, database)
    forwarder.start(stop)
    try:
        write(database, settings, {}, {})
        receiver.breaks_off = False
        until(lambda: sent_id(database) == 2)
    finally:
        stop.set()
        forwarder.join()
    assert len(receiver.messages) >= 2
