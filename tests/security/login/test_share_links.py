"""A share's link leads to our address alone, ends with its maker, and stands nowhere as it is."""

import logging
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from api import create_app
from api.auth import accounts
from api.results import share_routes
from minipacs.groups import membership
from minipacs.settings import Settings
from tests.api.conftest import admin, app, caller, kind, operator, settings, viewer  # noqa: F401  # fixtures

FILE = "1.2.3.4.1/1.2.3.4.1.1/slicer/model.glb"
EVIL = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}


def open_link(app: Flask, url: str) -> int:
    """The status of a stranger who opens the link."""
    return app.test_client().get("/shared/" + url.rpartition("/")[2], buffered=True).status_code


def link_of(answer: Any) -> str:
    """The link of a share that was made."""
    assert answer.status_code in (200, 201), answer.get_json()
    return str(answer.get_json()["url"])


@pytest.mark.parametrize("path", ["/shares", "/files", "/files/qr", "/qr"])
def test_no_header_of_a_request_decides_where_a_link_leads(operator: Any, path: str) -> None:
    if path == "/qr":
        answer = operator(f"/qr?filename={FILE}", headers=EVIL)
    else:
        answer = operator(path, "POST", json={"files": [FILE]}, headers=EVIL)
    assert "evil" not in link_of(answer)
    assert "evil" not in operator("/shares", headers=EVIL).get_data(as_text=True)


@pytest.mark.parametrize(
    ("setting", "address"),
    [
        ({"MINIPACS_PUBLIC_URL": "https://pacs.example/"}, "https://pacs.example/shared/"),
        ({"MINIPACS_HTTP_HOST": "192.0.2.7", "MINIPACS_HTTP_PORT": "81"}, "http://192.0.2.7:81/shared/"),
        ({"MINIPACS_HTTP_HOST": "2001:db8::7"}, "http://[2001:db8::7]:8080/shared/"),
    ],
)
def test_the_settings_decide_where_a_link_leads(tmp_path: Path, setting: dict[str, str], address: str) -> None:
    app = create_app(Settings.from_env({"MINIPACS_HOME": str(tmp_path), **setting}))
    file = tmp_path / "output" / "results" / FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(b"glTF")
    token = accounts.create_token(app.extensions["minipacs"].database, "maker", "operator")
    headers = {"Authorization": f"Bearer {token}", **EVIL}
    assert link_of(app.test_client().post("/shares", json={"files": [FILE]}, headers=headers)).startswith(address)
    app.extensions["minipacs_audit"].close()
    app.extensions["minipacs"].close()


@pytest.mark.parametrize("ending", ["remove", "lower", "remove and make again"])
def test_a_link_ends_with_the_account_of_its_maker(app: Flask, admin: Any, ending: str) -> None:
    database = app.extensions["minipacs"].database
    accounts.create_or_change_user(database, "maker", "operator", "the maker's own")
    made = app.test_client().post("/shares", json={"files": [FILE]}, auth=("maker", "the maker's own"))
    link = link_of(made)
    assert open_link(app, link) == 200
    if ending == "lower":
        admin("/users/maker/role", "POST", json={"role": "annotator"})
    else:
        admin("/users/maker/remove", "POST")
    if ending == "remove and make again":
        accounts.create_or_change_user(database, "maker", "operator", "the maker's own")
    assert open_link(app, link) == 410
    assert admin("/shares").get_json()["shares"] == []


def test_a_link_ends_with_the_token_that_made_it(app: Flask, admin: Any, operator: Any) -> None:
    link = link_of(operator("/shares", "POST", json={"files": [FILE]}))
    assert open_link(app, link) == 200
    admin("/tokens/a operator/revoke", "POST")
    assert open_link(app, link) == 410


@pytest.mark.parametrize(
    "ending", ["revoke", "revoke and make again", "lower", "remove its user", "reset the password"]
)
def test_a_link_made_by_a_users_token_ends_with_the_token_and_with_the_user(
    app: Flask, admin: Any, ending: str
) -> None:
    database = app.extensions["minipacs"].database
    accounts.create_or_change_user(database, "maker", "operator", "the maker's own")
    token = accounts.create_token(database, "of maker", "operator", "maker")
    headers = {"Authorization": f"Bearer {token}"}
    made = app.test_client().post("/shares", json={"files": [FILE]}, headers=headers)
    by_hand = app.test_client().post("/shares", json={"files": [FILE]}, auth=("maker", "the maker's own"))
    link, other = link_of(made), link_of(by_hand)
    assert open_link(app, link) == 200
    if ending == "lower":
        admin("/users/maker/role", "POST", json={"role": "annotator"})
    elif ending == "remove its user":
        admin("/users/maker/remove", "POST")
    elif ending == "reset the password":
        admin("/users", "POST", json={"name": "maker", "role": "operator", "password": "chosen by another"})
    else:
        admin("/tokens/of maker/revoke", "POST")
    if ending == "revoke and make again":
        accounts.create_token(database, "of maker", "operator", "maker")

    assert open_link(app, link) == 410
    is_token_alone = ending.startswith("revoke")
    assert open_link(app, other) == (200 if is_token_alone else 410)
    assert len(admin("/shares").get_json()["shares"]) == is_token_alone


def test_a_link_made_by_a_users_token_shows_the_studies_of_that_tokens_groups_alone(app: Flask) -> None:
    database = app.extensions["minipacs"].database
    accounts.create_or_change_user(database, "maker", "operator", "the maker's own")
    token = accounts.create_token(database, "of maker", "operator", "maker", sees_all=False)
    member = accounts.make_token_member_name("of maker")
    membership.create_group(database, "one")
    membership.add_studies(database, "one", [FILE.partition("/")[0]], "tests")
    membership.add_members(database, "one", [member])
    headers = {"Authorization": f"Bearer {token}"}
    link = link_of(app.test_client().post("/shares", json={"files": [FILE]}, headers=headers))
    assert open_link(app, link) == 200
    membership.remove_members(database, "one", [member])
    assert open_link(app, link) == 410


def test_a_link_stands_neither_in_the_audit_nor_in_a_log(
    app: Flask, operator: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    link = link_of(operator("/shares", "POST", json={"files": [FILE]}))
    secret = link.rpartition("/")[2]
    assert open_link(app, link) == 200

    def fail(*_: Any) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(share_routes, "stream_zip", fail)
    assert open_link(app, link) == 500
    assert open_link(app, link + "x") == 404

    app.extensions["minipacs_audit"].flush()
    with app.extensions["minipacs"].database.reading() as session:
        noted = [str(tuple(row)) for row in session.execute(text("SELECT * FROM api_audit"))]
    opened = [row for row in noted if "/shared/(token " in row]
    assert len(opened) == 3
    assert "link 1 of token:a operator" in opened[0]
    assert "1.2.3.4.1" in opened[0]
    assert secret not in " ".join(noted)
    assert secret not in caplog.text
    assert "a mistake of ours" in caplog.text or "RuntimeError" in caplog.text


def test_no_page_that_a_link_leads_to_tells_others_of_it(app: Flask, operator: Any) -> None:
    link = link_of(operator("/shares", "POST", json={"files": [FILE]}))
    path = "/shared/" + link.rpartition("/")[2]
    for address in (path, path + "x"):
        answer = app.test_client().get(address, headers={"Accept": "text/html"}, buffered=True)
        assert answer.headers["Referrer-Policy"] == "no-referrer"
