"""Every document has a policy: pages allow no inline script, the viewer its own two by their digests."""

import base64
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from api import create_app
from api.auth import accounts
from minipacs.settings import ROOT, Settings
from route_walk import addresses_of, walk_routes
from tests.api.conftest import admin, app, caller, kind, settings  # noqa: F401  # fixtures

PAGE = {"Accept": "text/html"}
INLINE = b"window.PUBLIC_URL='/ohif/'"


def directives(answer: Any) -> dict[str, list[str]]:
    """The policy of an answer, by directive."""
    parts = [part.split() for part in answer.headers["Content-Security-Policy"].split(";")]
    return {name: sources for name, *sources in parts}


@pytest.fixture
def get(settings: Settings, tmp_path: Path) -> Any:
    build = tmp_path / "ohif"
    build.mkdir()
    (build / "index.html").write_bytes(b"<script>" + INLINE + b"</script><script src='/ohif/a.js'></script>")
    (build / "worker.js").write_text("1")
    app = create_app(dataclasses.replace(settings, ohif=build))
    token = accounts.create_token(app.extensions["minipacs"].database, "viewer", "viewer")
    yield lambda path: app.test_client().get(path, headers={**PAGE, "Authorization": f"Bearer {token}"}, buffered=True)
    app.extensions["minipacs_audit"].close()
    app.extensions["minipacs"].close()


@pytest.mark.parametrize(
    "path", ["/ohif/", "/ohif/viewer?StudyInstanceUIDs=1.2", "/ohif/index.html", "/ohif/worker.js"]
)
def test_the_viewer_has_a_policy_without_unsafe_scripts_and_in_no_frame_of_others(get: Any, path: str) -> None:
    answer = get(path)
    policy = directives(answer)
    assert "'unsafe-inline'" not in policy["script-src"]
    assert policy["frame-ancestors"] == ["'self'"]
    assert (policy["default-src"], policy["object-src"], policy["base-uri"]) == (["'self'"], ["'none'"], ["'none'"])
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert answer.headers["Referrer-Policy"] == "same-origin"


def test_the_viewers_own_inline_scripts_are_allowed_by_their_digest(get: Any) -> None:
    digest = base64.b64encode(hashlib.sha256(INLINE).digest()).decode()
    assert f"'sha256-{digest}'" in directives(get("/ohif/"))["script-src"]
    assert "sha256" not in " ".join(directives(get("/ohif/worker.js"))["script-src"])


def test_the_build_that_is_installed_has_no_script_that_the_policy_forbids() -> None:
    page = ROOT / ".ohif" / "index.html"
    if not page.exists():
        pytest.skip("the OHIF build is not prepared: scripts/prepare_ohif.py")
    text = page.read_text("utf-8")
    assert " onload=" not in text
    assert "javascript:" not in text


def test_every_document_has_a_policy_that_others_cannot_frame(app: Flask, admin: Any) -> None:
    documents = 0
    for rule, method, _ in walk_routes(app):
        if method != "GET" or rule.endpoint == "live.job_events":
            continue
        for path in addresses_of(rule):
            answer = admin(path, headers=PAGE)
            if answer.mimetype == "text/html":
                policy = directives(answer)
                assert policy["frame-ancestors"] == ["'self'"], path
                assert "'unsafe-inline'" not in policy.get("script-src", []), path
                documents += 1
    assert documents > 20


def test_what_the_archive_sends_runs_nothing_here(admin: Any) -> None:
    answer = admin("/dicom-web/studies", headers=PAGE)
    assert "sandbox" in directives(answer)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
