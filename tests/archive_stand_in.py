"""An archive that holds what a test says, over HTTP: one object a study, looked up by UIDs."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ArchiveStandIn:
    """What it holds, and what it was asked."""

    def __init__(self) -> None:
        self.resources: list[tuple[str, str, str]] = []
        """(level, UID, Study Instance UID); the place in the list is Orthanc's identifier."""
        self.asked: list[tuple[str, str]] = []
        """Path and body of each request."""
        self.study_of_stow = ""
        """The study that it holds once something is stored by STOW-RS; none where this is empty."""
        self.url = ""

    def add_series(self, series: str, study: str) -> None:
        """Hold a series of a study, and the study."""
        self.resources += [("Series", series, study), ("Study", study, study)]

    def answer(self, path: str, body: bytes) -> Any:
        """JSON, as Orthanc answers."""
        text = body.decode("latin-1")
        self.asked.append((path, text))
        if path == "/tools/lookup":
            found = enumerate(self.resources)
            return [{"ID": str(i), "Type": level} for i, (level, uid, _) in found if uid == text]
        if path == "/tools/bulk-content":
            studies = {self.resources[int(i)][2] for i in json.loads(text)["Resources"]}
            return [{"ID": study, "MainDicomTags": {"StudyInstanceUID": study}} for study in studies]
        if path == "/tools/find":
            return []
        if self.study_of_stow:
            self.resources.append(("Study", self.study_of_stow, self.study_of_stow))
        return {}


@contextmanager
def running_archive_stand_in() -> Iterator[ArchiveStandIn]:
    """An archive on a free port of loopback."""
    archive = ArchiveStandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = json.dumps(archive.answer(self.path, body)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    archive.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield archive
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
