"""No body is read for who may not send it, nor one that is too long; and a refusal comes at once."""

import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from werkzeug.test import EnvironBuilder

from api import create_app
from api.auth import accounts
from api.uploads.upload_file import Request, UploadPart
from api.web.describe_route import READING, read_description
from front_door import FrontDoor, running_front_door
from minipacs.settings import Settings
from slow_clients import connect
from stack import settings_for
from waiting import until

HUGE = 8_000_000_000
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
FRAMINGS = {
    "with its length": f"Content-Length: {HUGE}\r\n",
    "asking first": f"Content-Length: {HUGE}\r\nExpect: 100-continue\r\n",
    "chunked": "Transfer-Encoding: chunked\r\n",
    "chunked, asking first": "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
}


@pytest.fixture(scope="module")
def front_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    with running_front_door(tmp_path_factory.mktemp("home"), upload_mb=1000) as door:
        yield door


@pytest.fixture(scope="module")
def viewer(front_door: FrontDoor) -> str:
    """The token of somebody who may look only."""
    state = create_app(front_door.settings).extensions["minipacs"]
    token = accounts.create_token(state.database, "viewer", "viewer")
    state.close()
    return token


def send(door: FrontDoor, head: str, body: bytes = b"", *, ends: bool = True) -> str:
    """Send a head, and of its body this much; all that is answered until the server closes (or the first of it)."""
    with connect(door.port) as connection:
        connection.sendall(head.encode() + b"\r\n" + body)
        answer = b""
        while got := connection.recv(65536):
            answer += got
            if not ends:
                break
    return answer.decode("latin-1")


def status(answer: str) -> int:
    """Of the first line of an answer; 0 where there is none."""
    return int(answer[9:12]) if answer else 0


def changing_routes(settings: Settings) -> list[tuple[str, str, bool, str]]:
    """Method, address, whether it is public, and the role, of every route that may have a body."""
    app = create_app(settings)
    app.extensions["minipacs"].close()
    found = []
    for rule in app.url_map.iter_rules():
        description = read_description(app.view_functions[rule.endpoint])
        path = re.sub(r"<[^>]*>", "1.2.3", rule.rule)
        for method in sorted((rule.methods or set()) - set(READING)):
            found.append((method, path, description.is_public, description.role_for(method)))
    return found


@pytest.mark.parametrize("framing", FRAMINGS)
def test_nothing_is_read_of_who_may_not_send(front_door: FrontDoor, viewer: str, framing: str) -> None:
    """Every route, without a login and with too low a role: the refusal comes first, and the connection ends."""
    for method, path, is_public, role in changing_routes(front_door.settings):
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\n{FRAMINGS[framing]}"
        if not is_public:
            answer = send(front_door, head)
            assert status(answer) == 401, (method, path)
            assert "Connection: close" in answer, (method, path)
        if not is_public and role not in ("viewer", ""):
            answer = send(front_door, f"{head}Authorization: Bearer {viewer}\r\n")
            assert status(answer) == 403, (method, path)


@pytest.mark.parametrize("media", ["application/json", FORM, MULTIPART])
@pytest.mark.parametrize("framing", ["with its length", "asking first"])
def test_a_body_that_says_it_is_too_long_is_not_read(front_door: FrontDoor, framing: str, media: str) -> None:
    """Every route, by who may do everything: 413, or another refusal, at once."""
    for method, path, _, _ in changing_routes(front_door.settings):
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media}\r\n{FRAMINGS[framing]}{front_door.login}"
        answer = send(front_door, head)
        assert 400 <= status(answer) < 500, (method, path, answer[:200])
        assert "Connection: close" in answer, (method, path)


def test_a_body_that_does_not_say_its_length_is_read_to_the_limit(front_door: FrontDoor) -> None:
    """Five MB of a form without end; the limit of a form is four."""
    piece = b"100000\r\n" + b"a" * 2**20 + b"\r\n"
    for media in ("application/json", FORM, MULTIPART):
        head = f"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: {media}\r\nTransfer-Encoding: chunked\r\n"
        answer = send(front_door, head, piece * 5)
        assert status(answer) in (400, 413), answer[:200]


@pytest.mark.parametrize("path", ["/upload", "/", "/dicom-web/studies"])
def test_an_upload_has_the_limit_of_the_administrator(front_door: FrontDoor, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\n{front_door.login}"
    assert status(send(front_door, f"{head}Content-Length: {1001 * 2**20}\r\n")) == 413


def test_who_asks_first_and_may_send_is_told_so(front_door: FrontDoor) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nrubbish\r\n--b--\r\n'
    head = (
        f"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\n{front_door.login}"
        f"Connection: close\r\nContent-Length: {len(part)}\r\nExpect: 100-continue\r\n"
    )
    with connect(front_door.port) as connection:
        connection.sendall(head.encode() + b"\r\n")
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(part)
        assert connection.recv(4096).startswith(b"HTTP/1.1 422 ")


def test_a_form_without_proof_of_its_origin_is_not_read(front_door: FrontDoor) -> None:
    """With a session's cookie: the field that proves it is looked for in a small form alone."""
    form = f"user=admin&password={front_door.settings.admin_password.replace(' ', '+')}".encode()
    head = f"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nConnection: close\r\n"
    answer = send(front_door, f"{head}Content-Length: {len(form)}\r\n", form)
    (cookie,) = re.findall(r"Set-Cookie: (minipacs=[^;]+)", answer)
    for framing in FRAMINGS.values():
        head = f"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nCookie: {cookie}\r\n{framing}"
        assert status(send(front_door, head)) == 403


def test_a_long_address_and_long_headers_are_refused(front_door: FrontDoor) -> None:
    get = "GET /healthz?q={} HTTP/1.1\r\nHost: x\r\n"
    assert status(send(front_door, get.format("a" * 9000))) == 414
    assert status(send(front_door, get.format("a") + f"X-Long: {'a' * 9000}\r\n")) == 431
    assert status(send(front_door, get.format("a") + "X-Many: a\r\n" * 200)) == 431
    assert status(send(front_door, get.format("a") + f"X-Long: {'a' * 100_000}\r\n")) == 431


def test_what_is_no_request_gets_the_one_shape_of_errors_and_no_word_in_the_log(front_door: FrontDoor) -> None:
    """gunicorn writes the line that it cannot read into its log: it may name a patient."""
    for line in ("GET /studies?q=Secret^Name", "GET  /studies?q=Secret^Name HTTP/1.1", "G?T /q=Secret^Name HTTP/1.1"):
        answer = send(front_door, f"{line}\r\nHost: x\r\n")
        assert status(answer) == 400, line
        assert set(json.loads(answer.partition("\r\n\r\n")[2])["error"]) == {"code", "message", "hint"}
    assert status(send(front_door, "GET / HTTP/1.1\r\nHost: x\r\nSecret^Name\r\n")) == 400
    assert "Secret" not in (front_door.settings.home / "api.log").read_text()


def test_an_upload_that_the_disk_has_no_room_for_is_refused_unread(tmp_path: Path) -> None:
    with running_front_door(tmp_path, reserve_mb=10**9) as door:
        for path in ("/upload", "/dicom-web/studies"):
            for framing in FRAMINGS.values():
                head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\n{framing}{door.login}"
                answer = send(door, head.replace(str(HUGE), "1000"))
                assert status(answer) == 507
                assert "MINIPACS_RESERVE_MB" in answer


def unnamed_files(home: Path) -> list[str]:
    """Temporary files without a name below this folder that any process of ours has open."""
    found = []
    for process in psutil.process_iter():
        for link in Path(f"/proc/{process.pid}/fd").glob("*"):
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith(str(home)) and target.endswith("(deleted)") and ".partial" not in target:
                found.append(target)
    return found


def test_a_broken_upload_leaves_nothing(front_door: FrontDoor) -> None:
    """It goes to the disk of MINIPACS_HOME, in a file without a name, which ends with the request."""
    before = sorted(path.name for path in front_door.settings.home.iterdir())
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n' + bytes(8 * 2**20)
    head = (
        f"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\n{front_door.login}"
        f"Content-Length: {500 * 2**20}\r\n\r\n"
    )
    with connect(front_door.port) as connection:
        connection.sendall(head.encode() + part)
        until(lambda: unnamed_files(front_door.settings.home), what="the upload on the disk")
    until(lambda: not unnamed_files(front_door.settings.home), what="the end of the temporary file")
    assert sorted(path.name for path in front_door.settings.home.iterdir()) == before


def test_many_files_take_one_open_file_and_no_memory(tmp_path: Path) -> None:
    """Werkzeug keeps each file below 500 kB in memory, and opens one for each other: 20 000 may come."""
    files = {f"file{n}": (io.BytesIO(bytes([n]) * 300_000), f"{n}.dcm") for n in range(60)}
    builder = EnvironBuilder("/upload", method="POST", data=files)
    app = create_app(settings_for(tmp_path))
    process = psutil.Process()
    with app.app_context():
        environ = builder.get_environ()
        request = Request(environ)
        request.max_content_length = 100 * 2**20
        before = process.num_fds()
        received = {name: file.stream for name, file in request.files.items()}
        assert process.num_fds() - before <= 1
        for n in reversed(range(60)):
            part = received[f"file{n}"]
            assert isinstance(part, UploadPart)
            assert part.read() == bytes([n]) * 300_000
            assert part.read(1) == b""
            part.seek(-2, io.SEEK_END)
            assert part.read() == bytes([n]) * 2
        request.close()
    environ["wsgi.input"].close()
    builder.close()
    app.extensions["minipacs"].close()
