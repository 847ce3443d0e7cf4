"""The audit: who did what, when, from where, to which study. Rows are added, never changed.

Requests put entries in a queue; a thread writes them in batches, so that nobody waits for it. The same
user looking at the same study again within minutes is one entry (a viewer fetches thousands of frames).
"""

import atexit
import logging
import queue
import re
import threading
import time
from typing import TypedDict

from flask import Flask, Response, current_app, g, request
from sqlalchemy import Double, select
from sqlalchemy.orm import Mapped, mapped_column

from api.auth.accounts import Principal
from api.web.describe_route import RouteDescription, current_description
from minipacs.catalogue import Study
from minipacs.database import Database
from minipacs.errors import CatalogueUnavailable
from minipacs.tables import Base

log = logging.getLogger(__name__)
REPEAT_S = 300.0
"""The same look within so many seconds is one entry."""
WRITE_S = 0.5
MAX_WAITING = 100_000
"""Entries in the queue, and looks that are remembered."""
MAX_PATH_CHARACTERS = 500
VIEW = "view"
"""The one action that may be left out, where it is repeated within minutes."""
REFUSALS = (401, 403, 429)
UID = re.compile(r"[0-9]+(?:\.[0-9]+){3,}")
STUDY = re.compile(r"/(?:studies|results|download)/([0-9]+(?:\.[0-9]+)+)|Study(?:Instance)?UIDs?=([0-9.]+)")


class AuditEntry(Base):
    """One act of one user."""

    __tablename__ = "api_audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float] = mapped_column(Double, index=True)
    user: Mapped[str] = mapped_column(index=True)
    by: Mapped[str]
    address: Mapped[str]
    action: Mapped[str] = mapped_column(index=True)
    method: Mapped[str]
    path: Mapped[str]
    status: Mapped[int]
    study_instance_uid: Mapped[str | None] = mapped_column(index=True)
    patient_key: Mapped[str | None] = mapped_column(index=True)


class AuditEntryValues(TypedDict):
    """A row of the audit, before it is written."""

    at: float
    user: str
    by: str
    address: str
    action: str
    method: str
    path: str
    status: int
    study_instance_uid: str | None
    patient_key: str | None


class AuditWriter:
    """A queue of entries, and the thread that writes them; one for each process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: queue.Queue[AuditEntryValues] = queue.Queue(MAX_WAITING)
        self._unwritten: list[AuditEntryValues] = []
        self._seen: dict[tuple[str, str], float] = {}
        self._thread: threading.Thread | None = None
        self._starting, self._writing = threading.Lock(), threading.Lock()
        self._stop = threading.Event()

    def add(self, entry: AuditEntryValues) -> None:
        """Queue an entry; a look that was queued minutes ago is no second one. Wait where the queue is full."""
        if entry["action"] == VIEW and self._is_repeated(entry):
            return

        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
                self._thread.start()
                atexit.register(self.close)
        self._queue.put(entry)

    def flush(self) -> None:
        """Write what waits. What the database does not take waits for the next time."""
        with self._writing:
            while not self._queue.empty() and len(self._unwritten) < MAX_WAITING:
                self._unwritten.append(self._queue.get())
            if self._unwritten:
                self._insert_entries(self._unwritten)
                self._unwritten = []

    def close(self) -> None:
        """Write the rest, and end the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)

    def _is_repeated(self, entry: AuditEntryValues) -> bool:
        """Whether the same user looked at the same within minutes; remember this look."""
        about = entry["study_instance_uid"] or entry["patient_key"] or entry["path"]
        key, now = (entry["user"], about), time.monotonic()
        if self._seen.get(key, 0) > now:
            return True

        if len(self._seen) > MAX_WAITING:
            self._seen.clear()
        self._seen[key] = now + REPEAT_S
        return False

    def _insert_entries(self, entries: list[AuditEntryValues]) -> None:
        """Insert the rows, each with the patient of its study."""
        uids = {entry["study_instance_uid"] for entry in entries if entry["study_instance_uid"]}
        known = select(Study.study_instance_uid, Study.patient_key).where(Study.study_instance_uid.in_(uids))

        with self._database.writing() as session:
            patients = {str(row[0]): str(row[1]) for row in session.execute(known)}
            for entry in entries:
                entry["patient_key"] = entry["patient_key"] or patients.get(entry["study_instance_uid"] or "")
            session.execute(self._database.build_insert(AuditEntry), entries)

    def _run(self) -> None:
        while not self._stop.wait(WRITE_S):
            self._flush_or_log()
        self._flush_or_log()

    def _flush_or_log(self) -> None:
        try:
            self.flush()
        except CatalogueUnavailable:
            log.exception("audit entries were not written; they wait")


def install(app: Flask) -> None:
    """Note every answer that concerns a study, a login or an act."""
    app.extensions["minipacs_audit"] = AuditWriter(app.extensions["minipacs"].database)
    app.after_request(queue_audit_entry)


def queue_audit_entry(response: Response) -> Response:
    """Queue an entry for this request: what its route audits, a look at a study or a patient, a refusal."""
    description = current_description()
    user: Principal | None = g.get("user")
    is_by_page = user is not None and user.by == "session"
    if request.method == "OPTIONS" or (description.audits_scripts_only and is_by_page):
        return response

    action = choose_audit_action(description, response.status_code)
    if action:
        name = str(g.get("audited_user", "")).replace("\x00", "") or "nobody"
        entry = make_audit_entry(user or Principal(name, "", "none"), action, response.status_code)
        current_app.extensions["minipacs_audit"].add(entry)
    return response


def choose_audit_action(description: RouteDescription, status: int) -> str:
    """The audit's word for this request; empty where it is worth no entry."""
    if status in REFUSALS:
        return "failure"
    if description.audit_action:
        return description.audit_action
    if description.is_described and request.method not in ("GET", "HEAD"):
        return "change"  # a test sees that no route relies on it

    environ = request.environ
    names_uid = UID.search(environ["PATH_INFO"]) or UID.search(environ.get("QUERY_STRING", ""))
    return VIEW if names_uid or g.get("audited_study") or (request.view_args or {}).get("patient_id") else ""


def make_audit_entry(user: Principal, action: str, status: int) -> AuditEntryValues:
    """The entry of this request. With a PatientID the path is the endpoint: the ID stands in its own column."""
    patient_id: str | None = (request.view_args or {}).get("patient_id")
    study = STUDY.search(request.full_path)
    path = request.endpoint or "" if patient_id else request.path

    return {
        "at": time.time(),
        "user": user.name,
        "by": user.by,
        "address": request.remote_addr or "",
        "action": action,
        "method": request.method,
        "path": path[:MAX_PATH_CHARACTERS].replace("\x00", ""),
        "status": status,
        "study_instance_uid": (study.group(1) or study.group(2)) if study else g.get("audited_study") or None,
        "patient_key": patient_id.replace("\x00", "") if patient_id else None,
    }
