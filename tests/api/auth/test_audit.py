"""Every request leaves its entry, whatever ends in between; looks that repeat are counted."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from minipacs.audit.chain import Chain
from minipacs.audit.entry import AuditEntry
from minipacs.errors import CatalogueUnavailable


def read_entries(app: Flask) -> list[AuditEntry]:
    """Rows of the audit, the oldest first."""
    with app.extensions["minipacs"].database.reading() as session:
        found = list(session.scalars(select(AuditEntry).order_by(AuditEntry.id)))
        session.expunge_all()
    return found


def test_entries_wait_while_the_database_does_not_answer(
    app: Flask, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = app.extensions["minipacs_audit"]
    log.flush()
    before = len(read_entries(app))

    def fail(*_: Any) -> None:
        raise CatalogueUnavailable("It does not answer.")

    with monkeypatch.context() as broken:
        broken.setattr(Chain, "append", fail)
        admin("/jobs/1/cancel", "POST")
        admin("/jobs/1/retry", "POST")
        with pytest.raises(CatalogueUnavailable):
            log.flush()
        assert len(read_entries(app)) == before

    log.flush()
    assert len(read_entries(app)) == before + 2


def test_repeats_of_a_look_are_one_entry_with_their_number_and_an_act_is_noted_each_time(
    app: Flask, admin: Any
) -> None:
    for _ in range(5):
        admin("/studies/1.2.3.4.1")
        admin("/jobs/1/cancel", "POST")
    app.extensions["minipacs_audit"].flush()

    entries = read_entries(app)
    first, repeats = [e for e in entries if e.action == "view"]
    assert (first.count, first.last_at) == (1, None)
    assert (repeats.count, repeats.study_instance_uid) == (4, "1.2.3.4.1")
    assert repeats.last_at is not None
    assert first.at <= repeats.at < repeats.last_at
    assert [e.count for e in entries if e.action == "job"] == [1] * 5
