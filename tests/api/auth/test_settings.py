"""What an administrator can set about the front door: origins, browsing, the public address, limits, readiness."""

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from api import create_app
from api.auth import accounts
from minipacs.settings import Settings

STUDY, SERIES = "1.2.3.4.1", "1.2.3.4.1.1"
SITE = "https://viewer.example"
Ask = Callable[..., Any]


@pytest.fixture
def asked(app: Flask, settings: Settings) -> Iterator[Callable[..., Any]]:
    """Clients of applications whose settings differ: `asked(browsing=0)("/output/P1")`; the catalogue is `app`'s."""
    with ClientsOf(settings) as clients:
        yield clients.make


class ClientsOf:
    """Applications over one catalogue, closed at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._apps: list[Flask] = []

    def __enter__(self) -> "ClientsOf":
        return self

    def __exit__(self, *_: object) -> None:
        for app in self._apps:
            app.extensions["minipacs_audit"].close()
            app.extensions["minipacs"].close()

    def make(self, **changes: Any) -> Ask:
        """A client that bears an operator's token."""
        app = create_app(replace(self._settings, **changes))
        self._apps.append(app)
        token = accounts.create_token(app.extensions["minipacs"].database, f"t{len(self._apps)}", "operator")
        client = app.test_client()

        def ask(path: str, method: str = "GET", headers: dict[str, str] | None = None, **options: Any) -> Any:
            proof = {} if method == "OPTIONS" else {"Authorization": f"Bearer {token}"}
            return client.open(path, method=method, buffered=True, headers={**proof, **(headers or {})}, **options)

        return ask


def test_other_sites_are_refused_unless_listed(asked: Callable[..., Ask]) -> None:
    origin = {"Origin": SITE}
    assert "Access-Control-Allow-Origin" not in asked()("/patients/count", headers=origin).headers
    listed = asked(cors_origins=f"https://other.example, {SITE}/")
    for _ in range(2):  # the second time the token is known
        answer = listed("/patients/count", headers=origin)
        assert answer.headers["Access-Control-Allow-Origin"] == SITE
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Origin" in ",".join(answer.headers.getlist("Vary"))
    stranger = listed("/patients/count", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in stranger.headers


def test_a_listed_site_may_ask_before_it_sends_its_token(asked: Callable[..., Ask]) -> None:
    listed = asked(cors_origins=SITE)
    headers = {
        "Origin": SITE,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = listed("/studies", method="OPTIONS", headers=headers)
    assert answer.status_code == 200
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


def test_folders_can_be_closed_and_files_still_answer(asked: Callable[..., Ask]) -> None:
    closed = asked(browsing=0)
    for folder in ("P1", "P1/scans", f"P1/voxels/{SERIES}_slicer"):
        assert closed(f"/output/{folder}").status_code == 404
    assert closed(f"/output/P1/scans/{SERIES}_slicer.nii.gz").status_code == 200
    assert asked()("/output/P1/scans").status_code == 200


def test_a_link_bears_the_public_address(asked: Callable[..., Ask]) -> None:
    ask = asked(public_url="https://pacs.example/x/")
    made = ask("/files", method="POST", json={"files": [f"{STUDY}/{SERIES}/slicer/model.glb"]}).get_json()
    assert made["url"].startswith("https://pacs.example/x/shared/")
    assert "note" not in made


def packed(entries: dict[str, bytes]) -> io.BytesIO:
    """A ZIP."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    stream.seek(0)
    return stream


@pytest.mark.parametrize(
    ("limit", "file", "word"),
    [
        ({"upload_ratio": 10}, packed({"a": bytes(100_000)}), "times"),
        ({"upload_files": 2}, packed(dict.fromkeys("abc", b"x")), "3 files"),
        ({"upload_mb": 1}, packed({name: bytes(600_000) for name in "ab"}), "MB"),
    ],
)
def test_every_limit_of_an_upload_can_be_set(
    asked: Callable[..., Ask], limit: dict[str, int], file: io.BytesIO, word: str
) -> None:
    answer = asked(**limit)("/upload", method="POST", data={"file": (io.BytesIO(file.getvalue()), "x.zip")})
    assert answer.status_code == 413
    assert word in answer.get_json()["error"]["message"]


def test_a_request_beyond_the_limit_is_not_read(asked: Callable[..., Ask]) -> None:
    kind = "multipart/form-data; boundary=x"
    answer = asked(upload_mb=1)("/upload", method="POST", data=bytes(2**20 + 1), content_type=kind)
    assert answer.status_code == 413
    assert set(answer.get_json()["error"]) == {"code", "message", "hint"}


def test_it_is_not_ready_without_its_engine(asked: Callable[..., Ask]) -> None:
    checks = asked(engine="nobody")("/readyz").get_json()["checks"]
    assert "nobody" in checks["engine"]
    assert asked(engine="none")("/readyz").get_json()["checks"]["engine"] == "ok"
