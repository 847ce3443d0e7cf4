"""Receivers are notified of ended jobs: once each, signed, again after a failure, without names."""

import hmac
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from email.message import Message
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from minipacs import migrations
from minipacs.database import Database
from minipacs.errors import NotDelivered, SettingsError
from minipacs.jobs.record import Job
from minipacs.notifications import delivery, outbox
from minipacs.notifications.outbox import Notification, Notifier
from minipacs.settings import Settings
from postgres import new_database
from stack import settings_for
from waiting import until


@dataclass
class Receiver:
    """A web server that records each request, and answers as the test says."""

    url: str = ""
    status: int = 200
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def web_server() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.heard.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(receiver.status)
            self.send_header("Location", receiver.url + "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        yield receiver
        server.shutdown()
        thread.join()


@contextmanager
def mail_server() -> Iterator[tuple[str, list[Message]]]:
    """As much of RFC 5321 as a client needs; the mails it took."""
    mails: list[Message] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 test\r\n")
            while line := self.rfile.readline():
                verb = line[:4].upper()
                if verb == b"DATA":
                    self.wfile.write(b"354 go\r\n")
                    mails.append(message_from_bytes(b"".join(iter(self.rfile.readline, b".\r\n"))))
                self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
                if verb == b"QUIT":
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"smtp://127.0.0.1:{server.server_address[1]}", mails
        server.shutdown()
        thread.join()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with new_database(request.param, tmp_path) as database:
        yield database


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path, webhook_secret="key", notify_on="done,failed")


def end_job(database: Database, key: str, state: str = "failed", ago_s: float = 0.0, **values: Any) -> int:
    with database.writing() as session:
        fixed = {"kind": "segment", "study_instance_uid": "1.2.3", "args": {}, "needs": "cpu", "priority": 0}
        job = Job(
            **{**fixed, "key": key, "state": state, "attempt_limit": 3, "created": 0.0, "detail": "Doe^Jane", **values}
        )
        session.add(job)
        session.flush()
        now = session.scalar(select(database.now())) or 0.0
        job.finished = now - ago_s
        return job.id


def make_due(database: Database) -> None:
    """As if the back-off were over."""
    with database.writing() as session:
        session.execute(update(Notification).where(Notification.not_before.is_not(None)).values(not_before=0.0))


def test_the_webhook_is_notified_once_and_can_verify_the_sender(database: Database, settings: Settings) -> None:
    with web_server() as receiver:
        notifier = Notifier(replace(settings, webhook_url=receiver.url), database)
        end_job(database, "older")
        assert notifier.fill_outbox() == 0, "jobs that ended before notifications were switched on are not reported"
        job = end_job(database, "k", error="The disk is full.", hint="Free some.")
        assert (notifier.fill_outbox(), notifier.fill_outbox()) == (1, 0)
        assert (notifier.deliver_due(), notifier.deliver_due()) == (1, 0)
        ((headers, body),) = receiver.heard
    event = json.loads(body)
    assert (event["event"], event["job"]["id"], event["job"]["error"]) == ("job.failed", job, "The disk is full.")
    assert event["job"]["study_instance_uid"] == "1.2.3"
    moment, given = (part.partition("=")[2] for part in headers["x-minipacs-signature"].split(","))
    assert hmac.new(b"key", f"{moment}.".encode() + body, sha256).hexdigest() == given
    assert b"Doe" not in body, "the developer's detail may hold anything"


def test_trouble_is_tried_again_with_the_same_delivery(database: Database, settings: Settings) -> None:
    with web_server() as receiver:
        notifier = Notifier(replace(settings, webhook_url=receiver.url), database)
        notifier.fill_outbox()
        end_job(database, "k")
        notifier.fill_outbox()
        receiver.status = 503
        assert notifier.deliver_due() == 0
        assert notifier.deliver_due() == 0
        assert len(receiver.heard) == 1, "not before the back-off is over"
        receiver.status = 200
        make_due(database)
        assert notifier.deliver_due() == 1
        first, second = (headers["x-minipacs-delivery"] for headers, _ in receiver.heard)
        assert first == second


def test_a_receiver_that_stays_away_is_given_up(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "MAX_TRIES", 2)
    notifier = Notifier(replace(settings, webhook_url="http://127.0.0.1:9/"), database)
    notifier.fill_outbox()
    end_job(database, "k")
    notifier.fill_outbox()
    for _ in range(3):
        notifier.deliver_due()
        make_due(database)
    with database.reading() as session:
        (row,) = session.scalars(select(Notification))
        assert (row.tries, row.not_before) == (2, None)
        assert "does not answer" in row.error
    assert "MINIPACS_WEBHOOK_URL" in caplog.text


def test_the_address_of_a_webhook_may_hold_a_token_and_stands_in_no_row(database: Database, settings: Settings) -> None:
    with web_server() as receiver:
        notifier = Notifier(replace(settings, webhook_url=f"{receiver.url}/a-token"), database)
        notifier.fill_outbox()
        end_job(database, "k")
        notifier.fill_outbox()
        with database.writing() as session:  # as it stood in the rows of earlier versions
            session.execute(update(Notification).values(receiver=f"webhook:{receiver.url}/a-token"))
            session.execute(text("UPDATE alembic_version SET version_num = '0013'"))
        database.upgrade_schema("0014")
        with database.reading() as session:
            (row,) = session.scalars(select(Notification))
            assert row.receiver == outbox.name_webhook(f"{receiver.url}/a-token")
            assert "token" not in row.receiver
        assert notifier.deliver_due() == 1
        assert len(receiver.heard) == 1
    with database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": migrations.head()})


def test_a_redirect_is_not_followed(settings: Settings) -> None:
    with web_server() as receiver:
        receiver.status = 307
        with pytest.raises(NotDelivered, match="answered 307"):
            delivery.post_webhook(settings, receiver.url, 1, {})
        assert len(receiver.heard) == 1


def test_a_job_done_again_is_notified_again(database: Database, settings: Settings) -> None:
    notifier = Notifier(replace(settings, webhook_url="http://127.0.0.1:9/"), database)
    notifier.fill_outbox()
    job = end_job(database, "k")
    assert notifier.fill_outbox() == 1
    with database.writing() as session:
        session.execute(update(Job).where(Job.id == job).values(state="done", finished=database.now()))
    assert notifier.fill_outbox() == 1


def test_a_commit_that_came_late_is_not_missed(database: Database, settings: Settings) -> None:
    notifier = Notifier(replace(settings, webhook_url="http://127.0.0.1:9/"), database)
    notifier.fill_outbox()
    with database.writing() as session:
        session.execute(update(outbox.Watermark).values(first=0.0))
    end_job(database, "k")
    assert notifier.fill_outbox() == 1
    end_job(database, "earlier", ago_s=60)
    assert notifier.fill_outbox() == 1


def test_only_the_states_of_the_setting_are_notified(database: Database, settings: Settings) -> None:
    notifier = Notifier(replace(settings, notify_on="failed", webhook_url="http://127.0.0.1:9/"), database)
    notifier.fill_outbox()
    end_job(database, "k", state="done")
    assert notifier.fill_outbox() == 0


def test_two_notifiers_tell_once(database: Database, settings: Settings) -> None:
    with web_server() as receiver:
        two = [Notifier(replace(settings, webhook_url=receiver.url), database) for _ in range(2)]
        two[0].fill_outbox()
        for number in range(10):
            end_job(database, f"k{number}")
        two[0].fill_outbox()
        threads = [threading.Thread(target=notifier.deliver_due) for notifier in two]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(receiver.heard) == 10


def test_a_mail_says_what_failed_and_what_to_do(database: Database, settings: Settings) -> None:
    with mail_server() as (url, mails):
        notifier = Notifier(replace(settings, mail_to="a@example.org, b@example.org", smtp_url=url), database)
        notifier.fill_outbox()
        job = end_job(database, "k", error="The disk is full.", hint="Free some.")
        assert notifier.fill_outbox() == 2
        assert notifier.deliver_due() == 2
    assert {mail["To"] for mail in mails} == {"a@example.org", "b@example.org"}
    assert mails[0]["Subject"] == "minipacs: segment failed"
    text = str(mails[0].get_payload())
    for words in ("study 1.2.3", "The disk is full.", "Free some.", f"/jobs/{job}"):
        assert words in text
    assert "Doe" not in text


def test_a_password_is_not_sent_without_encryption(settings: Settings) -> None:
    with mail_server() as (url, mails):
        secret = replace(settings, smtp_url=url.replace("//", "//me:secret@"))
        with pytest.raises(NotDelivered, match="STARTTLS"):
            delivery.send_mail(secret, "a@example.org", 1, {"job": Example(), "ended": 0.0, "url": ""})
    assert mails == []


class Example(dict[str, str]):
    """The text of a job, whatever attribute is read."""

    def __missing__(self, name: str) -> str:
        return name


def test_the_thread_tells_while_it_runs_and_ends_when_asked(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "POLL_INTERVAL_S", 0.02)
    stop = threading.Event()
    with web_server() as receiver:
        notifier = Notifier(replace(settings, webhook_url=receiver.url), database)
        notifier.fill_outbox()
        notifier.start(stop)
        end_job(database, "k")
        until(lambda: receiver.heard)
        stop.set()
        notifier.join()


@pytest.mark.parametrize("wrong", [{"notify_on": "sometimes"}, {"webhook_url": "file:///etc/passwd"}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, str], settings: Settings, tmp_path: Path) -> None:
    database = Database(settings.database_url)
    with pytest.raises(SettingsError):
        Notifier(replace(settings, **wrong), database)  # type: ignore[arg-type]
    database.close()
