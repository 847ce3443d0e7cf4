# SPDX-License-Identifier: AGPL-3.0-or-later
"""A numbered log of what Orthanc deleted: its change log has no deletions.

`GET /minipacs/deletions?epoch=E&since=N` answers `{epoch, last, is_complete, is_done, entries: [[number, level,
identifier], …]}`: the entries after number N. The log is in memory, has the newest 100,000, and begins anew with each
start of Orthanc; a start is an epoch with a name of its own. `is_complete` is false where entries after N are lost, by
another epoch or by their number: the reader must compare all that the archive has.
"""

import json
import threading
import uuid
from collections import deque
from itertools import islice

MOST_ENTRIES = 100_000
MOST_ENTRIES_OF_AN_ANSWER = 1000
BAD_REQUEST, SERVER_ERROR = 400, 500


class DeletionLog:
    """The newest deletions, numbered from 1."""

    def __init__(self, most_entries=MOST_ENTRIES):
        self.epoch = str(uuid.uuid4())
        self._last = 0
        self._entries = deque(maxlen=most_entries)
        self._lock = threading.Lock()

    def append(self, level, key):
        """Note that a resource was deleted."""
        with self._lock:
            self._last += 1
            self._entries.append((self._last, level, key))

    def read(self, epoch, since, most=MOST_ENTRIES_OF_AN_ANSWER):
        """A page of the log after entry `since` of that epoch; where it is not complete, only where the log ends."""
        with self._lock:
            first = self._last - len(self._entries) + 1
            is_complete = epoch == self.epoch and first - 1 <= since <= self._last
            start = since + 1 - first if is_complete else len(self._entries)
            entries = list(islice(self._entries, start, start + most))
            last = entries[-1][0] if entries else self._last
            is_done = last == self._last
        return {
            "epoch": self.epoch,
            "last": last,
            "is_complete": is_complete,
            "is_done": is_done,
            "entries": entries,
        }


def answer_deletions(log, output, method, arguments):
    """Answer one request."""
    if method != "GET":
        output.SendMethodNotAllowed("GET")
        return
    try:
        since = int(arguments.get("since", "0"))
    except ValueError:
        output.SendHttpStatusCode(BAD_REQUEST)
        return
    output.AnswerBuffer(json.dumps(log.read(arguments.get("epoch", ""), since)), "application/json")


def register(sdk):
    """Register the route at this Orthanc; what is to be called at each change: `append_change(type, level, key)`."""
    log = DeletionLog()
    levels = {
        sdk.ResourceType.PATIENT: "Patient",
        sdk.ResourceType.STUDY: "Study",
        sdk.ResourceType.SERIES: "Series",
        sdk.ResourceType.INSTANCE: "Instance",
    }

    def append_change(change_type, level, key):
        if change_type == sdk.ChangeType.DELETED and level in levels:
            log.append(levels[level], key)

    def callback(output, _uri, **request):
        try:
            answer_deletions(log, output, request["method"], request.get("get") or {})
        except Exception as error:  # Orthanc must not meet it
            sdk.LogWarning(f"minipacs: the log of deletions was not read ({type(error).__name__})")
            output.SendHttpStatusCode(SERVER_ERROR)

    sdk.RegisterRestCallback("/minipacs/deletions", callback)
    return append_change
