"""The audit loses nothing: what the database does not take is written later."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from api.auth.audit import AuditEntry
from minipacs.errors import CatalogueUnavailable


def count_entries(app: Flask) -> int:
    """Rows of the audit."""
    with app.extensions["minipacs"].database.reading() as session:
        return session.scalar(select(func.count()).select_from(AuditEntry)) or 0


def test_entries_wait_while_the_database_does_not_answer(
    app: Flask, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = app.extensions["minipacs_audit"]
    writer.flush()
    before = count_entries(app)

    def fail(*_: Any) -> None:
        raise CatalogueUnavailable("It does not answer.")

    with monkeypatch.context() as broken:
        broken.setattr(writer, "_insert_entries", fail)
        admin("/jobs/1/cancel", "POST")
        admin("/jobs/1/retry", "POST")
        with pytest.raises(CatalogueUnavailable):
            writer.flush()
        assert count_entries(app) == before

    writer.flush()
    assert count_entries(app) == before + 2


def test_a_look_is_noted_once_within_minutes_and_an_act_each_time(app: Flask, admin: Any) -> None:
    writer = app.extensions["minipacs_audit"]
    for _ in range(3):
        admin("/studies/1.2.3.4.1")
        admin("/jobs/1/cancel", "POST")
    writer.flush()
    with app.extensions["minipacs"].database.reading() as session:
        actions = list(session.scalars(select(AuditEntry.action)))
    assert (actions.count("view"), actions.count("job")) == (1, 3)
