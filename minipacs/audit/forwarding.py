"""Send the audit on, delete what is older than is to be kept, and deliver what ended processes left: in a thread.

The newest entry that the receiver has is written after it has it: an entry is sent at least once.
"""

import logging
import threading
import time

from sqlalchemy import delete, func, select, update

from minipacs.audit.audit_log import AuditLog
from minipacs.audit.chain import Chain
from minipacs.audit.command_act import CommandAct
from minipacs.audit.command_audit import make_command_entry
from minipacs.audit.dicom_message import make_messages
from minipacs.audit.entry import AuditChain, AuditEntry
from minipacs.audit.syslog import make_frame, send_frames
from minipacs.database import Database
from minipacs.errors import MinipacsError
from minipacs.settings import Settings

log = logging.getLogger(__name__)
STEP_INTERVAL_S = 2.0
STEPS_BETWEEN_DELIVERIES = 30
STEPS_BETWEEN_DELETIONS = 1800
LONGEST_PAUSE_S = 60.0
"""Between two attempts, while the receiver does not answer."""
SENT_AT_ONCE = 500
DELETED_AT_ONCE = 10_000
DAY_S = 86400.0
JOIN_TIMEOUT_S = 2.0


def find_oldest_unsent(database: Database) -> float | None:
    """When the oldest entry was made that the receiver has not; None where it has all."""
    sent = select(AuditChain.sent_id).where(AuditChain.id == 1).scalar_subquery()
    with database.reading() as session:
        return session.scalar(select(func.min(AuditEntry.at)).where(AuditEntry.id > func.coalesce(sent, 0)))


class AuditForwarder:
    """Sends entries on and deletes old ones. Several may run: an entry is then sent more than once, never less."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._chain = Chain(database, settings.home)
        self._thread: threading.Thread | None = None

    def send(self) -> int:
        """Send the next entries on, if set; how many.

        Raises:
            NotDelivered: the receiver did not take them; they are the next ones again.
        """
        if not self._settings.audit_syslog:
            return 0
        with self._database.reading() as session:
            ends = session.get(AuditChain, 1)
            sent = ends.sent_id if ends is not None else 0
            waiting = select(AuditEntry).where(AuditEntry.id > sent).order_by(AuditEntry.id).limit(SENT_AT_ONCE)
            entries = list(session.scalars(waiting))
            session.expunge_all()
        if not entries:
            return 0

        host, aet = self._settings.host_name, self._settings.aet
        frames = (make_frame(xml, entry.at, host) for entry in entries for xml in make_messages(entry, aet, host))
        send_frames(self._settings, frames)
        with self._database.writing() as session:
            is_behind = (AuditChain.id == 1) & (AuditChain.sent_id < entries[-1].id)
            session.execute(update(AuditChain).where(is_behind).values(sent_id=entries[-1].id))
        return len(entries)

    def delete_old(self, now: float) -> int:
        """Delete entries that are older than the setting, and were sent on where that is set; how many.

        The chain begins anew at the oldest that is kept, and that is itself an entry.
        """
        if not self._settings.audit_days:
            return 0
        with self._database.writing() as session:
            ends = self._chain.lock(session)
            before = now - self._settings.audit_days * DAY_S
            kept = session.scalar(select(func.min(AuditEntry.id)).where(AuditEntry.at >= before))
            last = (kept if kept is not None else ends.last_id) - 1  # the newest is always kept
            if self._settings.audit_syslog:
                last = min(last, ends.sent_id)
            last = min(last, ends.first_id - 1 + DELETED_AT_ONCE)
            base = session.execute(
                select(AuditEntry.id, AuditEntry.mac)
                .where(AuditEntry.id <= last)
                .order_by(AuditEntry.id.desc())
                .limit(1)
            ).first()
            if base is None:
                return 0
            number = session.scalar(select(func.count()).select_from(AuditEntry).where(AuditEntry.id <= base.id)) or 0
            session.execute(delete(AuditEntry).where(AuditEntry.id <= base.id))
            self._chain.move_base(session, base.id + 1, base.mac)
        self._note_deletion(number, base.id)
        return number

    def _note_deletion(self, number: int, last: int) -> None:
        text = f"{number} entries up to {last} deleted: older than MINIPACS_AUDIT_DAYS={self._settings.audit_days}"
        audit_log = AuditLog(self._database, self._settings.home, delivers=False)
        audit_log.add(make_command_entry(self._settings, CommandAct("audit", text)))
        audit_log.close()

    def start(self, stop: threading.Event) -> None:
        """Run in a thread of its own."""
        self._thread = threading.Thread(target=self.run, args=(stop,), name="audit-forwarder", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait shortly for the thread; what is not sent by then is sent after the next start."""
        if self._thread is not None:
            self._thread.join(JOIN_TIMEOUT_S)

    def run(self, stop: threading.Event) -> None:
        """Step until `stop`; while the receiver or the database does not answer, ever more slowly."""
        audit_log = AuditLog(self._database, self._settings.home, delivers=False)
        step, pause, last_warning = 0, STEP_INTERVAL_S, ""
        while not stop.wait(pause):
            try:
                if step % STEPS_BETWEEN_DELIVERIES == 0:
                    audit_log.deliver_abandoned()
                if step % STEPS_BETWEEN_DELETIONS == 0:
                    while self.delete_old(time.time()) and not stop.is_set():
                        pass
                while self.send() and not stop.is_set():
                    pass
                step, pause, last_warning = step + 1, STEP_INTERVAL_S, ""
            except MinipacsError as error:
                pause = min(pause * 2, LONGEST_PAUSE_S)
                if str(error) != last_warning:
                    log.warning("%s", error)
                last_warning = str(error)
            except Exception:
                pause = min(pause * 2, LONGEST_PAUSE_S)
                log.exception("the audit was not sent on")
