"""The front door hands prompts over with the user's name, and says what is wrong where it can tell."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest
from flask import Flask

from minipacs.secrets import get_or_create_secret

SEEN: list[dict[str, Any]] = []
PROMPT = {"series": "1.2", "prompts": [{"point": [1.0, 2.0, 3.0]}]}
BONE = {"value": "272673000", "scheme": "SCT", "meaning": "Bone"}
TERM = {"label": "Bone", "category": BONE, "type": BONE}


class StandIn(BaseHTTPRequestHandler):
    """Answers as the prompt service does, and remembers what it was asked."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        SEEN.append({"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body})
        answer = json.dumps({"session": "abcdefgh", "study": "1.2.3"}).encode()
        self.send_response(201 if self.path.endswith("/accept") else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-Minipacs-Study", "1.2.3.4.1")
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815  http.server's names

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def service(app: Flask) -> Iterator[list[dict[str, Any]]]:
    """A stand-in for the prompt service; what it was asked."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state = app.extensions["minipacs"]
    state.settings = replace(state.settings, prompts=f"127.0.0.1:{server.server_port}")
    SEEN.clear()
    yield SEEN
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_prompt_goes_to_the_service_with_the_users_name_and_our_secret(
    app: Flask, caller: Callable[[str], Any], service: list[dict[str, Any]]
) -> None:
    answer = caller("annotator")("/prompts", "POST", json=PROMPT)
    assert (answer.status_code, answer.get_json()["session"]) == (200, "abcdefgh")
    (seen,) = service
    assert unquote(seen["headers"]["X-Minipacs-User"]) == "token:a annotator"
    key = get_or_create_secret(app.extensions["minipacs"].settings.home, "prompts_key")
    assert seen["headers"]["Authorization"] == f"Bearer {key}"
    assert json.loads(seen["body"]) == PROMPT


def test_acceptance_is_audited_with_its_study(
    caller: Callable[[str], Any], admin: Any, service: list[dict[str, Any]]
) -> None:
    annotator = caller("annotator")
    assert annotator("/prompts/abcdefgh/accept", "POST", json=TERM).status_code == 201
    assert annotator("/prompts/abcdefgh", "DELETE").status_code == 200
    assert [each["method"] for each in service] == ["POST", "DELETE"]
    (entry,) = admin("/audit?action=segment&format=json").get_json()["entries"]
    assert (entry["study_instance_uid"], entry["user"]) == ("1.2.3.4.1", "token:a annotator")


@pytest.mark.parametrize(
    ("path", "method"),
    [("/prompts", "POST"), ("/prompts/x/accept", "POST"), ("/prompts/x", "DELETE"), ("/segment_input_image/", "POST")],
)
def test_a_viewer_may_not_prompt(viewer: Any, service: list[dict[str, Any]], path: str, method: str) -> None:
    assert viewer(path, method, json={}).status_code == 403
    assert viewer("/prompts/engines").status_code == 200
    assert len(service) == 1


def test_without_the_service_the_answer_says_what_to_start(caller: Callable[[str], Any]) -> None:
    answer = caller("annotator")("/prompts", "POST", json=PROMPT)
    assert answer.status_code == 503
    assert "minipacs prompts" in answer.get_json()["error"]["hint"]


def test_a_body_beyond_the_limit_is_refused(caller: Callable[[str], Any], service: list[dict[str, Any]]) -> None:
    assert caller("annotator")("/prompts", "POST", data=b"x" * (4 * 2**20 + 1)).status_code == 413
    assert not service


def test_the_older_clients_picture_is_handed_over_whole(
    caller: Callable[[str], Any], service: list[dict[str, Any]]
) -> None:
    annotator = caller("annotator")
    for data in ({}, {"file": (io.BytesIO(b"x"), "a.png")}, {"sam_input": "{}"}):
        assert annotator("/segment_input_image/", "POST", data=data).status_code == 400
    assert not service
    data = {"file": (io.BytesIO(b"\x89PNG"), "a.png"), "sam_input": '{"rectangles": []}'}
    assert annotator("/segment_input_image/", "POST", data=data).status_code == 200
    assert json.loads(service[0]["body"]) == {"file": "iVBORw==", "asked": '{"rectangles": []}'}
    annotator("/get_dicom_image/..%2f..%2fprompts")
    assert "prompts" not in service[-1]["path"]
