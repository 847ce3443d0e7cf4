"""The audit as a list, for administrators: as a page, as JSON, as CSV."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any, Literal

from flask import Blueprint, Response, current_app
from flask.typing import ResponseReturnValue
from sqlalchemy import Select, literal, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from api.auth.access import requires_role
from api.context import context
from api.web import paging
from api.web.csv import escape_formula, format_csv_rows
from api.web.describe_route import CSV, answers, audits, takes_query
from api.web.paging import Filter, PageParameters, apply_filters, make_filter_parameters, read_given_filters, read_page
from api.web.responses import send_json_or_page
from api.web.row_json import iso_time, make_page_type, make_row_type
from minipacs.audit.entry import AuditEntry
from minipacs.database import Database

blueprint = Blueprint("audit", __name__)
DAY_S = 86400.0


def start_of_day(day: date) -> float:
    """The first moment of a day (UTC), in seconds since 1970."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def reaches(alone: InstrumentedAttribute[Any], several: InstrumentedAttribute[str], separator: str) -> Filter:
    """Entries that reached it, alone or among others."""
    is_it = paging.equals(alone)
    around = literal(separator)
    return lambda text: or_(
        is_it(text), (around + several + around).contains(separator + text + separator, autoescape=True)
    )


FILTERS = {
    "user": paging.equals(AuditEntry.user),
    "action": paging.equals(AuditEntry.action),
    "study": reaches(AuditEntry.study_instance_uid, AuditEntry.studies, " "),
    "patient": reaches(AuditEntry.patient_key, AuditEntry.patients, "\n"),
    "address": paging.equals(AuditEntry.address),
    "from": lambda text: AuditEntry.at >= start_of_day(paging.parse_date(text)),
    "to": lambda text: AuditEntry.at < start_of_day(paging.parse_date(text)) + DAY_S,
}


class AuditParameters(PageParameters):
    """Which form: `csv` is a table of everything that matches."""

    format: Literal["", "json", "csv"] = ""
    """`csv` for a table of everything that matches, `json` for JSON in a browser too."""


AuditFilters = make_filter_parameters("AuditFilters", FILTERS, AuditParameters)
AuditRow = make_row_type("AuditEntry", AuditEntry, at=str, last_at=str | None)
EntryPage = make_page_type("AuditPage", "entries", AuditRow)


@blueprint.get("/audit")
@requires_role("admin")
@audits("audit")
@takes_query(AuditFilters)
@answers(EntryPage, CSV, page="audit.html")
def audit_entries(query: AuditParameters) -> ResponseReturnValue:
    """The audit, the newest first; `?format=csv` for a table of everything that matches."""
    current_app.extensions["minipacs_audit"].flush()
    given = {name: text for name, text in read_given_filters(query).items() if text}
    chosen = apply_filters(select(AuditEntry), FILTERS, given)
    if query.format == "csv":
        return Response(stream_csv(context().database, chosen.order_by(AuditEntry.id.desc())), mimetype=CSV)

    with context().database.reading() as session:
        answer = read_page(session, chosen, [(AuditEntry.id, True)], "entries", query)
    for row in answer["entries"]:
        row["at"], row["last_at"] = iso_time(row["at"]), iso_time(row["last_at"])
    return answer if query.format == "json" else send_json_or_page(answer, lambda: {"wanted": given})


def stream_csv(database: Database, chosen: Select[Any]) -> Iterator[str]:
    """The rows as CSV, streamed; a text that a spreadsheet would run is quoted with an apostrophe."""
    names = [column.key for column in AuditEntry.__table__.columns]
    yield format_csv_rows([names])

    with database.reading() as session:
        for row in session.scalars(chosen.execution_options(yield_per=1000)):
            values = {name: getattr(row, name) for name in names}
            values |= {"at": iso_time(row.at), "last_at": iso_time(row.last_at)}
            yield format_csv_rows([[escape_formula(values[name]) for name in names]])
