"""The viewer's files: what is cached, what is compressed, and what is never served."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from api import create_app
from api.auth import accounts
from minipacs.settings import Settings

HASHED = "app.bundle.0123456789abcdef.js"


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A prepared OHIF build in miniature."""
    folder = tmp_path / "ohif"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>the viewer</title>")
    (folder / HASHED).write_bytes(b"plain")
    (folder / (HASHED + ".br")).write_bytes(b"brotli")
    (folder / (HASHED + ".gz")).write_bytes(b"gzip")
    (folder / "app.css").write_text("body {}")
    (tmp_path / "secret.txt").write_text("outside")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


Caller = Callable[..., TestResponse]


@pytest.fixture
def viewer(settings: Settings, build: Path) -> Iterator[Caller]:
    yield from _caller(dataclasses.replace(settings, ohif=build))


def _caller(settings: Settings) -> Iterator[Caller]:
    app: Flask = create_app(settings)
    token = accounts.create_token(app.extensions["minipacs"].database, "viewer", "viewer")

    def call(path: str, headers: dict[str, str] | None = None) -> TestResponse:
        return app.test_client().get(
            path, headers={"Authorization": f"Bearer {token}", **(headers or {})}, buffered=True
        )

    yield call
    app.extensions["minipacs_audit"].close()
    app.extensions["minipacs"].close()


def test_names_with_a_hash_are_kept_for_a_year(viewer: Caller) -> None:
    answer = viewer(f"/ohif/{HASHED}")
    assert (answer.data, answer.mimetype) == (b"plain", "text/javascript")
    assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(("accepted", "sent"), [("br, gzip", b"brotli"), ("gzip", b"gzip"), ("identity", b"plain")])
def test_the_smallest_accepted_form_is_sent(viewer: Caller, accepted: str, sent: bytes) -> None:
    answer = viewer(f"/ohif/{HASHED}", headers={"Accept-Encoding": accepted})
    assert answer.data == sent
    assert answer.headers["Vary"] == "Accept-Encoding"


def test_other_names_are_asked_for_again_by_their_etag(viewer: Caller) -> None:
    first = viewer("/ohif/app.css")
    assert first.headers["Cache-Control"] == "no-cache"
    assert viewer("/ohif/app.css", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize("path", ["/ohif/", "/ohif/viewer?StudyInstanceUIDs=1.2", "/ohif/segmentation"])
def test_paths_of_the_viewers_router_answer_with_its_page(viewer: Caller, path: str) -> None:
    assert b"the viewer" in viewer(path).data


def test_our_configuration_takes_the_place_of_the_builds(viewer: Caller) -> None:
    assert b"name: 'minipacs'" in viewer("/ohif/app-config.js").data


@pytest.mark.parametrize(
    "path",
    [
        "/ohif/missing.js",
        "/ohif/../secret.txt",
        "/ohif/%2e%2e/secret.txt",
        "/ohif/..%2fsecret.txt",
        "/ohif//etc/passwd.txt",
        "/ohif/link.txt",
        "/ohif/extension/../../orthanc.json",
        "/ohif/a%00.txt",
    ],
)
def test_nothing_outside_the_build_is_served(viewer: Caller, path: str) -> None:
    answer = viewer(path)
    assert answer.status_code in (308, 404)
    assert b"outside" not in answer.data


def test_a_missing_build_is_said_with_the_remedy(settings: Settings, tmp_path: Path) -> None:
    for caller in _caller(dataclasses.replace(settings, ohif=tmp_path / "absent")):
        answer = caller("/ohif/")
        assert answer.status_code == 503
        assert "scripts/up" in answer.get_json()["error"]["hint"]
