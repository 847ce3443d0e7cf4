"""What DICOMweb hands out stands in the audit in whatever form it is asked for, and in no other user's browser."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from api.auth import accounts
from front_doors import ADMIN_PASSWORD, OUR_PAGE, FrontDoors, log_in, open_front_doors
from minipacs import signed_files
from minipacs.audit.entry import AuditEntry
from tests.security.audit.test_audit import new_entries

STUDY = "1.2.3.4.2"
FRAMES = f"/dicom-web/studies/{STUDY}/series/1.2/instances/1.2.3/frames/1"
AS_JSON = f'[{{"0020000D":{{"vr":"UI","Value":["{STUDY}"]}}}}]'.encode()
AS_XML = f'<NativeDicomModel><DicomAttribute tag="0020000D"><Value number="1">{STUDY}</Value></DicomAttribute>'.encode()
STORED = f"<NativeDicomModel><Value>http://x/dicom-web/studies/{STUDY}/series/1</Value></NativeDicomModel>".encode()


class Archive(BaseHTTPRequestHandler):
    """Answers searches in the form that is asked for, frames, and stores in XML."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if "/frames/" in self.path:
            self.send("multipart/related; boundary=b", b"--b\r\n\r\npixels\r\n--b--")
        elif "xml" in self.headers.get("Accept", ""):
            self.send("multipart/related; type=application/dicom+xml", AS_XML)
        else:
            self.send("application/dicom+json", AS_JSON)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send("application/dicom+xml", STORED)

    def send(self, content_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[FrontDoors]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        with open_front_doors("sqlite", tmp_path, ORTHANC_URL=f"http://127.0.0.1:{server.server_port}") as doors:
            yield doors
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def make_token(doors: FrontDoors) -> dict[str, str]:
    return {"Authorization": f"Bearer {accounts.create_token(doors.database, 'tests', 'admin')}"}


def find_entries(app: Flask, path: str) -> list[AuditEntry]:
    return [entry for entry in new_entries(app, 0) if entry.path.startswith(path)]


@pytest.mark.parametrize("accept", ["application/dicom+xml", 'multipart/related; type="application/dicom+xml"', "*/*"])
def test_a_search_names_its_studies_in_the_audit_whatever_form_is_asked_for(doors: FrontDoors, accept: str) -> None:
    app = doors.apps[0]
    answer = app.test_client().get(
        "/dicom-web/instances?PatientName=X*", headers={**make_token(doors), "Accept": accept}
    )
    assert (answer.status_code, answer.mimetype) == (200, "application/dicom+json")
    (entry,) = find_entries(app, "/dicom-web/instances")
    assert STUDY in f"{entry.study_instance_uid} {entry.studies}"


def test_a_store_that_is_answered_in_xml_names_its_study_in_the_audit(doors: FrontDoors) -> None:
    app = doors.apps[0]
    headers = {**make_token(doors), "Accept": "application/dicom+xml", "Content-Type": "application/dicom"}
    answer = app.test_client().post("/dicom-web/studies", data=b"x", headers=headers)
    assert (answer.status_code, answer.data) == (200, STORED)
    entries = find_entries(app, "/dicom-web/studies")
    assert any(STUDY in f"{entry.study_instance_uid} {entry.studies}" for entry in entries)


def test_a_file_fetched_by_a_signed_link_stands_in_the_audit_as_a_download_of_its_study(doors: FrontDoors) -> None:
    app = doors.apps[0]
    with (
        signed_files.offering_study(STUDY),
        signed_files.offer_file(doors.settings, "image.nii.gz", 600) as offer,
    ):
        offer.file.write_bytes(b"voxels")
        with app.test_client().get(offer.link) as answer:
            assert answer.data == b"voxels"
    entries = find_entries(app, "/exchange/")
    assert [(entry.action, entry.study_instance_uid) for entry in entries] == [("download", STUDY)]


@pytest.mark.parametrize("query", ["", "?x=1"], ids=["quick client", "relayed"])
def test_a_browser_shows_the_frames_of_one_user_to_no_other(doors: FrontDoors, query: str) -> None:
    browser = doors.apps[0].test_client()
    assert log_in(browser, "admin", ADMIN_PASSWORD).status_code == 303
    frame = browser.get(FRAMES + query)
    assert (frame.status_code, frame.cache_control.private) == (200, True)
    assert {"authorization", "cookie"} <= frame.vary.as_set()


def test_a_logout_empties_the_cache_of_the_browser(doors: FrontDoors) -> None:
    browser = doors.apps[0].test_client()
    log_in(browser, "admin", ADMIN_PASSWORD)
    answer = browser.post("/logout", headers=OUR_PAGE)
    assert (answer.status_code, answer.headers["Clear-Site-Data"]) == (303, '"cache"')
