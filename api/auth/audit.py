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
from typing import Any

from flask import Flask, Response, current_app, g, request
from sqlalchemy import Double, select
from sqlalchemy.orm import Mapped, mapped_column

from api.auth.accounts import Principal
from api.web.describe_route import current_description
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
UID = re.compile(r"[0-9]+(?:\.[0-9]+){3,}")
STUDY = re.compile(r"/(?:studies|results|download)/([0-9]+(?:\.[0-9]+)+)|Study(?:Instance)?UIDs?=([0-9.]+)")


class Entry(Base):
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


class Writer:
    """The queue and its thread; one per process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue(MAX_WAITING)
        self._seen: dict[tuple[str, ...], float] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def add(self, entry: dict[str, Any]) -> None:
        """Queue an entry, unless the same was queued minutes ago. Nothing is let go when the queue is full: we wait."""
        if entry["action"] == "view":
            about = entry["study_instance_uid"] or entry["patient_key"] or entry["path"]
            key, now = (entry["user"], about), time.monotonic()
            if self._seen.get(key, 0) > now:
                return
            if len(self._seen) > MAX_WAITING:
                self._seen.clear()
            self._seen[key] = now + REPEAT_S
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
                self._thread.start()
                atexit.register(self.close)
        self._queue.put(entry)

    def flush(self) -> None:
        """Write what waits."""
        waiting = []
        while not self._queue.empty():
            waiting.append(self._queue.get())
        if not waiting:
            return
        with self._database.writing() as session:
            uids = {e["study_instance_uid"] for e in waiting if e["study_instance_uid"]}
            known = select(Study.study_instance_uid, Study.patient_key).where(Study.study_instance_uid.in_(uids))
            of = {str(row[0]): str(row[1]) for row in session.execute(known)}
            for entry in waiting:
                entry["patient_key"] = entry.get("patient_key") or of.get(entry["study_instance_uid"])
            session.execute(self._database.insert(Entry), waiting)

    def close(self) -> None:
        """Write the rest."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.wait(WRITE_S):
            self._try()
        self._try()

    def _try(self) -> None:
        try:
            self.flush()
        except CatalogueUnavailable:
            log.exception("audit entries were not written")


def install(app: Flask) -> None:
    """Note every answer that concerns a study, a login or an act."""
    app.extensions["minipacs_audit"] = Writer(app.extensions["minipacs"].database)
    app.after_request(note)


def note(response: Response) -> Response:
    """Queue an entry for this request, where it is worth one."""
    endpoint = request.endpoint or ""
    description = current_description()
    changes_something = request.method not in ("GET", "HEAD", "OPTIONS")
    action = description.audit_action or ("change" if changes_something and description.is_described else "")

    user = g.get("user")
    if request.method == "OPTIONS" or (description.audits_scripts_only and user is not None and user.by == "session"):
        return response

    uid = UID.search(request.environ["PATH_INFO"]) or UID.search(request.environ.get("QUERY_STRING", ""))
    patient = (request.view_args or {}).get("patient_id")
    refused = response.status_code in (401, 403, 429)
    if not (action or uid or g.get("audited_study") or patient or refused):
        return response
    if refused:
        action = "failure"

    study = STUDY.search(request.full_path)
    name = str(g.get("audited_user", "")).replace("\x00", "") or "nobody"
    current_app.extensions["minipacs_audit"].add(
        entry(
            user or Principal(name, "", "none"), request.remote_addr or "",
            action or "view", request.method, endpoint if patient else request.path, response.status_code,
            (study.group(1) or study.group(2)) if study else g.get("audited_study") or None, patient,
        )
    )  # fmt: skip
    return response


def entry(
    who: Principal, address: str, action: str, method: str, path: str, status: int, study: str | None,
    patient: str | None,
) -> dict[str, Any]:  # fmt: skip
    """A row to be. With a PatientID the path is the endpoint: the ID stands in its own column."""
    return {
        "at": time.time(),
        "user": who.name,
        "by": who.by,
        "address": address,
        "action": action,
        "method": method,
        "path": path[:500].replace("\x00", ""),
        "status": status,
        "study_instance_uid": study,
        "patient_key": patient.replace("\x00", "") if patient else None,
    }
