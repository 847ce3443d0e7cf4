"""The audit as a list, for administrators: as a page, as JSON, as CSV."""

from collections.abc import Iterator
from typing import Any, Literal

from flask import Blueprint, Response, current_app
from flask.typing import ResponseReturnValue
from sqlalchemy import Select, select

from api.auth.access import requires_role
from api.auth.audit import AuditEntry
from api.context import context
from api.web import paging
from api.web.csv import escape_formula, format_csv_rows
from api.web.describe_route import CSV, answers, takes_query
from api.web.paging import PageParameters, apply_filters, make_filter_parameters, read_given_filters, read_page
from api.web.responses import send_json_or_page
from api.web.row_json import iso_time, make_page_type, make_row_type
from minipacs.database import Database

blueprint = Blueprint("audit", __name__)
FILTERS = {
    "user": paging.equals(AuditEntry.user),
    "action": paging.equals(AuditEntry.action),
    "study": paging.equals(AuditEntry.study_instance_uid),
    "patient": paging.equals(AuditEntry.patient_key),
}


class AuditParameters(PageParameters):
    """Which form: `csv` is a table of everything that matches."""

    format: Literal["", "json", "csv"] = ""
    """`csv` for a table of everything that matches, `json` for JSON in a browser too."""


AuditFilters = make_filter_parameters("AuditFilters", FILTERS, AuditParameters)
EntryRow = make_row_type("AuditEntry", AuditEntry, at=str)
EntryPage = make_page_type("AuditPage", "entries", EntryRow)


@blueprint.get("/audit")
@requires_role("admin")
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
        row["at"] = iso_time(row["at"])
    return answer if query.format == "json" else send_json_or_page(answer, lambda: {"wanted": given})


def stream_csv(database: Database, chosen: Select[Any]) -> Iterator[str]:
    """The rows as CSV, streamed; a text that a spreadsheet would run is quoted with an apostrophe."""
    names = [column.key for column in AuditEntry.__table__.columns]
    yield format_csv_rows([names])

    with database.reading() as session:
        for row in session.scalars(chosen.execution_options(yield_per=1000)):
            values = {**{name: getattr(row, name) for name in names}, "at": iso_time(row.at)}
            yield format_csv_rows([[escape_formula(values[name]) for name in names]])
