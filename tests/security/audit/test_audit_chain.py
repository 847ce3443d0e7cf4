"""The chain: whatever is changed in the database afterwards is found, and the first entry is named."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from minipacs import cli
from minipacs.audit.audit_log import AuditLog
from minipacs.audit.chain import (
    HASHED,
    Chain,
    audit_key,
    head_file,
    list_evidence,
    make_key_fingerprint,
    seal_ends,
)
from minipacs.audit.entry import AuditChain, NewEntry
from minipacs.audit.verification import explain, verify_chain
from minipacs.database import Database
from minipacs.doctor.work_checks import check_audit
from minipacs.settings import Settings
from postgres import new_url

ENTRIES = 30


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    values = {"MINIPACS_HOME": str(tmp_path / "home"), "MINIPACS_DATABASE_URL": new_url(request.param, tmp_path)}
    return Settings.from_env(values)


@pytest.fixture
def database(settings: Settings) -> Any:
    database = Database(settings.database_url)
    database.upgrade_schema()
    write(database, settings, ENTRIES)
    yield database
    database.close()


def write(database: Database, settings: Settings, number: int) -> None:
    """So many entries of different users."""
    log = AuditLog(database, settings.home, delivers=False)
    for n in range(number):
        log.add(
            NewEntry(
                at=time.time(), user=f"user {n}", by="token", address="127.0.0.1", action="download", method="GET",
                path=f"/results/{n}", status=200, uids=(f"1.2.3.4.{n}",),
            )
        )  # fmt: skip
    log.close()


def change(database: Database, *statements: str) -> None:
    """What somebody with the database alone can do."""
    with database.writing() as session:
        for statement in statements:
            session.execute(text(statement))


def run_command(monkeypatch: pytest.MonkeyPatch, settings: Settings, *arguments: str) -> int:
    """Run a command with these settings; it takes the secret ones out of the environment, so the next is given them."""
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    return cli.main(list(arguments))


def test_what_was_written_verifies_and_doctor_says_so(database: Database, settings: Settings) -> None:
    found = verify_chain(database, settings.home)
    assert explain(found) == f"{ENTRIES} entries verified, 1 to {ENTRIES}"
    write(database, settings, 3)
    finding = check_audit(settings)
    assert (finding.state, finding.seen) == ("ok", "3 entries verified, 1 to 33")  # from where it ended


COPY = ", ".join(f'"{name}"' for name in HASHED)


@pytest.mark.parametrize(
    ("statements", "sentence"),
    [
        (["UPDATE api_audit SET path = '/other' WHERE id = 12"], "entry 12: it was altered, inserted or moved"),
        (["UPDATE api_audit SET \"user\" = 'eve' WHERE id = 30"], "entry 30: it was altered, inserted or moved"),
        (["UPDATE api_audit SET at = at + 1 WHERE id = 3"], "entry 3: it was altered, inserted or moved"),
        (["DELETE FROM api_audit WHERE id = 12"], "entry 12: entries after 11 were removed"),
        (["DELETE FROM api_audit WHERE id IN (1, 2)"], "entry 1: entries after 0 were removed"),
        (
            [
                "UPDATE api_audit SET id = 1000 WHERE id = 12",
                "UPDATE api_audit SET id = 12 WHERE id = 13",
                "UPDATE api_audit SET id = 13 WHERE id = 1000",
            ],
            "entry 12: it was altered, inserted or moved",
        ),
        (
            [
                "UPDATE api_audit SET id = id + 1000 WHERE id >= 12",
                "UPDATE api_audit SET id = id - 999 WHERE id >= 1000",
                f"INSERT INTO api_audit (id, mac, {COPY}) SELECT 12, mac, {COPY} FROM api_audit WHERE id = 11",
            ],
            "entry 12: it was altered, inserted or moved",
        ),
        (
            [f"INSERT INTO api_audit (id, mac, {COPY}) SELECT 31, mac, {COPY} FROM api_audit WHERE id = 30"],
            "entry 31: it was inserted after the end",
        ),
        (["DELETE FROM api_audit WHERE id > 25"], "entry 26: entries 26 to 30 were cut off"),
        (
            [
                "DELETE FROM api_audit WHERE id > 25",
                'UPDATE api_audit_chain SET last_id = 25, "last" = (SELECT mac FROM api_audit WHERE id = 25)',
            ],
            "broken: the record of its two ends was changed",
        ),
        (["DELETE FROM api_audit", "DELETE FROM api_audit_chain"], "broken: the chain is gone"),
    ],
)
def test_what_was_done_to_entries_is_found_and_named(
    database: Database, settings: Settings, statements: list[str], sentence: str
) -> None:
    change(database, *statements)
    assert sentence in explain(verify_chain(database, settings.home))


def test_an_older_state_of_the_whole_audit_put_back_is_found(database: Database, settings: Settings) -> None:
    with database.reading() as session:
        ends = session.execute(text('SELECT last_id, "last", seal FROM api_audit_chain')).one()
    write(database, settings, 5)
    with database.writing() as session:
        session.execute(text("DELETE FROM api_audit WHERE id > 30"))
        session.execute(
            text('UPDATE api_audit_chain SET last_id = :a, "last" = :b, seal = :c'), dict(zip("abc", ends, strict=True))
        )
    assert "entries 31 to 35 were cut off, with the record of the ends" in explain(
        verify_chain(database, settings.home)
    )

    write(database, settings, 8)  # it goes on, and does not hide it
    assert len(list_evidence(settings.home)) == 1
    assert "it did not fit when something was appended" in explain(verify_chain(database, settings.home))
    list_evidence(settings.home)[0].unlink()
    assert verify_chain(database, settings.home).broken is None


def test_entries_beyond_a_changed_end_stop_no_new_ones(database: Database, settings: Settings) -> None:
    change(database, "UPDATE api_audit_chain SET last_id = 20")
    write(database, settings, 2)
    assert verify_chain(database, settings.home).broken is not None
    with database.reading() as session:
        assert session.scalar(text("SELECT max(id) FROM api_audit")) == ENTRIES + 2


def test_the_doctor_finds_an_entry_that_was_removed_before_the_verified_point(
    database: Database, settings: Settings
) -> None:
    assert verify_chain(database, settings.home).broken is None
    change(database, "DELETE FROM api_audit WHERE id = 7")
    assert check_audit(settings).seen == "broken at entry 7: entries after 6 were removed"


def test_the_command_names_the_entry_and_fails(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, settings, "audit", "verify") == 0
    assert capsys.readouterr().out == "audit: 30 entries verified, 1 to 30.\n"
    change(database, "UPDATE api_audit SET status = 404 WHERE id = 9")
    assert run_command(monkeypatch, settings, "audit", "verify") == 1
    assert "broken at entry 9" in capsys.readouterr().err


def test_a_lost_or_another_key_is_no_proof(database: Database, settings: Settings) -> None:
    (settings.home / "secrets.json").write_text("{}")
    assert "its key is not in HOME/secrets.json" in explain(verify_chain(database, settings.home))
    (settings.home / "secrets.json").write_text('{"audit_key": "another"}')
    assert "its key was changed or lost" in explain(verify_chain(database, settings.home))


def test_another_key_is_told_from_an_altered_entry_also_after_new_ones(database: Database, settings: Settings) -> None:
    secrets = settings.home / "secrets.json"
    right = secrets.read_text()
    secrets.write_text('{"audit_key": "another"}')
    write(database, settings, 2)
    write(database, settings, 2)
    finding = check_audit(settings)
    assert "its key was changed or lost" in finding.seen
    assert "secrets.json of a backup" in finding.remedy
    assert ["its key is another" in file.read_text() for file in list_evidence(settings.home)] == [True]
    secrets.write_text(right)
    assert "key" not in explain(verify_chain(database, settings.home))  # what the other key made is not proven


def test_a_fingerprint_written_by_one_with_the_database_alone_is_no_excuse(
    database: Database, settings: Settings
) -> None:
    change(
        database,
        "UPDATE api_audit SET path = '/other' WHERE id = 12",
        "UPDATE api_audit_chain SET key_fingerprint = '0123456789abcdef'",
    )
    assert "the record of its two ends was changed" in explain(verify_chain(database, settings.home))
    write(database, settings, 2)
    assert "entry 12: it was altered" in explain(verify_chain(database, settings.home))


def test_a_chain_of_before_there_were_fingerprints_gets_one(tmp_path: Path) -> None:
    settings = Settings.from_env({"MINIPACS_HOME": str(tmp_path)})
    database = Database(settings.database_url)
    database.upgrade_schema()
    write(database, settings, 3)
    with database.writing() as session:
        ends = session.scalars(select(AuditChain)).one()
        ends.key_fingerprint = ""
        ends.seal = seal_ends(audit_key(settings.home), ends)
    assert explain(verify_chain(database, settings.home)) == "3 entries verified, 1 to 3"
    write(database, settings, 1)
    assert explain(verify_chain(database, settings.home)) == "4 entries verified, 1 to 4"
    assert not list_evidence(settings.home)
    with database.reading() as session:
        found = session.scalar(text("SELECT key_fingerprint FROM api_audit_chain"))
    assert found == make_key_fingerprint(audit_key(settings.home))
    assert found not in (settings.home / "secrets.json").read_text()
    database.close()


def test_many_writers_make_one_chain(database: Database, settings: Settings) -> None:
    def run() -> None:
        own = Database(settings.database_url)
        for _ in range(10):
            write(own, settings, 7)
        own.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert explain(verify_chain(database, settings.home)) == "310 entries verified, 1 to 310"


def test_a_head_that_was_written_late_does_not_go_back(database: Database, settings: Settings) -> None:
    newest = head_file(settings.home).read_text()
    Chain(database, settings.home).keep_head(7, "the hash of entry 7")
    assert head_file(settings.home).read_text() == newest


def test_entries_of_before_there_was_a_chain_are_taken_into_it(tmp_path: Path) -> None:
    settings = Settings.from_env({"MINIPACS_HOME": str(tmp_path)})
    database = Database(settings.database_url)
    database.upgrade_schema("0005")
    columns = 'id, at, "user", "by", address, action, method, path, status'
    rows = [f"({n}, {1.7e9 + n / 7}, 'ada', 'basic', '', 'view', 'GET', '/{n}', 200)" for n in (1, 2, 5, 6)]
    change(database, f"INSERT INTO api_audit ({columns}) VALUES {', '.join(rows)}")
    database.upgrade_schema()
    write(database, settings, 2)
    assert explain(verify_chain(database, settings.home)) == "6 entries verified, 1 to 8"
    change(database, "UPDATE api_audit SET path = '/other' WHERE id = 2")
    assert "entry 2: it was altered" in explain(verify_chain(database, settings.home))
    database.close()


ACTS: list[tuple[list[str], str, int]] = [
    (["token", "create", "script"], "admin", 0),
    (["token", "revoke", "script"], "admin", 0),
    (["token", "revoke", "nobody's"], "admin", 1),
    (["jobs", "cancel", "7"], "job", 1),
    (["jobs", "list"], "search", 0),
    (["certificates", "https", "--host", "localhost"], "admin", 0),
    (["certificates", "https", "--host", "localhost"], "admin", 1),
    (["certificates", "https", "--host", "localhost", "--replace"], "admin", 0),
]


def test_acts_at_the_command_line_are_noted_with_their_outcome(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    for command, _, code in ACTS:
        assert run_command(monkeypatch, settings, *command) == code
    token = capsys.readouterr().out.splitlines()[0]
    query = 'SELECT "user", "by", method, action, path, status FROM api_audit WHERE id > 30 ORDER BY id'
    with database.reading() as session:
        noted = [tuple(row) for row in session.execute(text(query))]
    assert noted == [("ada", "command", "COMMAND", action, " ".join(command), code) for command, action, code in ACTS]
    assert token not in str(noted)
    assert verify_chain(database, settings.home).broken is None


def test_a_command_does_nothing_that_cannot_be_noted(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail: Callable[..., int] = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))  # noqa: E731
    monkeypatch.setattr("minipacs.audit.spool.os.write", fail)
    assert run_command(monkeypatch, settings, "token", "create", "unseen") == 1
    monkeypatch.undo()
    assert "The audit cannot be written" in capsys.readouterr().err
    with database.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM api_token")) == 0
