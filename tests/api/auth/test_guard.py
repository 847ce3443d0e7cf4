"""No route answers a stranger; no other site, wrong password or lesser role gets through."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api import create_app
from api.auth import accounts, login_limit
from api.auth.login import safe_redirect_target
from api.auth.roles import ROLES
from minipacs.settings import Settings

HTML = {"Accept": "text/html"}
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
EXCHANGE = "/exchange/<folder>/<int:ends>/<signature>/<name>"  # a signed link, as /shared is
PUBLIC = {"/healthz", "/login", "/shared/<token>", EXCHANGE, "/static/<path:filename>", "/ohif/manifest.json"}
PUBLIC |= {f"/login/openid{path}" for path in ("", "/callback", "/logout")}  # 404 without single sign-on
PASSWORD = "the admin's own"


@pytest.fixture
def stranger(app: Flask) -> FlaskClient:
    """A client without any proof."""
    return app.test_client()


def log_in(client: FlaskClient, password: str = PASSWORD, **form: str) -> Any:
    return client.post("/login", data={"user": "admin", "password": password, **form}, headers=HTML)


def test_no_route_but_the_public_ones_answers_without_login(app: Flask, stranger: FlaskClient) -> None:
    walked = 0
    for rule in app.url_map.iter_rules():
        if rule.rule in PUBLIC:
            continue
        path = re.sub(r"<int:[^>]+>", "1", rule.rule)
        path = re.sub(r"<[^>]+>", "x", path)
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
            answer = stranger.open(path, method=method)
            assert answer.status_code == 401, (method, path, answer.status_code)
            assert answer.get_json()["error"]["code"] == "login_required"
            assert "WWW-Authenticate" not in answer.headers
            walked += 1
    assert walked > 60
    assert stranger.get("/healthz").status_code == 200
    assert stranger.get("/no/such/route").status_code == 401


def test_a_browser_is_sent_to_the_login_and_back(stranger: FlaskClient) -> None:
    answer = stranger.get("/studies?modality=CT", headers=HTML)
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/login?next=%2Fstudies%3Fmodality%3DCT"
    assert log_in(stranger, next="/studies?modality=CT").headers["Location"] == "/studies?modality=CT"
    assert stranger.get("/studies", headers=HTML).status_code == 200


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil", "javascript:x", "/a\r\nX: y", ""],
)
def test_next_never_leads_to_another_site(stranger: FlaskClient, target: str) -> None:
    assert safe_redirect_target(target) == "/"
    assert log_in(stranger, next=target).headers["Location"] == "/"


def test_the_session_cookie_is_for_this_site_and_no_script(stranger: FlaskClient) -> None:
    cookie = log_in(stranger).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_a_post_from_another_site_is_refused(stranger: FlaskClient) -> None:
    log_in(stranger)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil"}, {}):
        assert stranger.post("/jobs/1/cancel", headers=headers).status_code == 403, headers
    assert stranger.post("/jobs/1/cancel", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert stranger.post("/jobs/1/retry", headers={"Origin": "http://localhost"}).status_code == 200


def test_a_form_with_the_sessions_token_passes(stranger: FlaskClient) -> None:
    log_in(stranger)
    page = stranger.get("/files", headers=HTML).get_data(as_text=True)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token
    assert stranger.post("/logout", data={"csrf_token": token.group(1)}).status_code == 303
    assert stranger.get("/jobs").status_code == 401


def test_tokens_open_until_they_are_revoked(app: Flask, admin: Any) -> None:
    database = app.extensions["minipacs"].database
    token = accounts.create_token(database, "script", "viewer")
    headers = {"Authorization": f"Bearer {token}"}
    assert app.test_client().get("/jobs", headers=headers).status_code == 200
    assert token not in str([vars(t) for t in accounts.list_tokens(database)])
    accounts.revoke_token(database, "script")
    assert app.test_client().get("/jobs", headers=headers).status_code == 401


def test_after_a_wrong_password_the_page_shows_the_login_alone(stranger: FlaskClient) -> None:
    form = {"user": '"><script>', "password": "wrong"}
    answer = stranger.post("/login", data=form, headers=HTML)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 401
    assert "User name or password is wrong" in page
    assert "Log out" not in page
    assert "<script>" not in page


def test_scripts_may_send_the_password(stranger: FlaskClient) -> None:
    assert stranger.get("/jobs", auth=("admin", PASSWORD)).status_code == 200
    assert stranger.get("/jobs", auth=("admin", "wrong")).status_code == 401
    assert stranger.get("/jobs", auth=("nobody", "wrong")).status_code == 401


def test_too_many_wrong_passwords_are_refused_even_with_the_right_one(stranger: FlaskClient) -> None:
    answers = [log_in(stranger, "wrong").status_code for _ in range(login_limit.MAX_FAILURES_OF_USER + 1)]
    assert answers[0] == 401
    assert answers[-1] == 429
    assert log_in(stranger).status_code == 429


def test_each_role_may_what_those_below_may_and_no_more(caller: Callable[[str], Any]) -> None:
    asked = [("/studies", "GET"), ("/jobs/1/cancel", "POST"), ("/audit", "GET")]
    answers = {role: [client(*one).status_code for one in asked] for role in ROLES if (client := caller(role))}
    assert answers == {
        "viewer": [200, 403, 403],
        "annotator": [200, 403, 403],
        "operator": [200, 200, 403],
        "admin": [200, 200, 200],
    }


def test_a_new_installation_makes_one_password_to_be_changed(tmp_path: Any) -> None:
    settings = Settings.from_env({"MINIPACS_HOME": str(tmp_path)})
    app = create_app(settings)
    database = app.extensions["minipacs"].database
    password = accounts.ensure_administrator(database, settings)
    file = tmp_path / "first-login.txt"
    assert password
    assert file.read_text().strip() == password
    assert file.stat().st_mode & 0o777 == 0o600
    assert accounts.ensure_administrator(database, settings) is None
    client = app.test_client()
    log_in(client, password)
    assert client.get("/", headers=HTML).headers["Location"].startswith("/account")
    form = {"old": password, "new": "my own password", "again": "my own password"}
    client.post("/account", data=form, headers={**HTML, "Sec-Fetch-Site": "same-origin"})
    assert client.get("/", headers=HTML).status_code == 200
    assert not file.exists()
    assert log_in(app.test_client(), password).status_code == 401
    app.extensions["minipacs_audit"].close()
    app.extensions["minipacs"].close()


def test_the_administrators_password_follows_its_setting(app: Flask, settings: Settings) -> None:
    from dataclasses import replace

    database = app.extensions["minipacs"].database
    accounts.ensure_administrator(database, replace(settings, admin_password="another one"))
    assert log_in(app.test_client(), "another one").status_code == 303
    assert log_in(app.test_client()).status_code == 401


def test_the_last_administrator_stays(admin: Any) -> None:
    assert admin("/users/admin/remove", "POST").status_code == 400


def test_a_role_is_changed_and_tokens_may_do_no_more(app: Flask, admin: Any) -> None:
    form = {"name": "eve", "role": "operator", "password": "a first password"}
    assert admin("/users", "POST", data=form).status_code == 201
    database = app.extensions["minipacs"].database
    accounts.create_or_change_user(database, "eve", "operator", "a password of eve's own")
    token = accounts.create_token(database, "eve's", "operator", "eve")
    bearer = {"Authorization": f"Bearer {token}"}
    assert app.test_client().get("/upload", headers=bearer).status_code == 200
    assert admin("/users/eve/role", "POST", data={"role": "viewer"}).get_json() == {"name": "eve", "role": "viewer"}
    assert app.test_client().get("/upload", headers=bearer).status_code == 403
    assert admin("/users/eve/role", "POST", data={"role": "queen"}).status_code == 400
    assert admin("/users/nobody/role", "POST", data={"role": "viewer"}).status_code == 404
    assert admin("/users/admin/role", "POST", data={"role": "viewer"}).status_code == 400  # the last administrator


def test_a_removed_user_is_out(app: Flask, admin: Any) -> None:
    form = {"name": "eve", "role": "viewer", "password": "a password of eve"}
    assert admin("/users", "POST", data=form).status_code == 201
    client = app.test_client()
    client.post("/login", data={"user": "eve", "password": form["password"]}, headers=HTML)
    client.post("/account", data={"old": form["password"], "new": "eve's own password"}, headers=SAME_ORIGIN)
    assert client.get("/jobs").status_code == 200
    admin("/users/eve/remove", "POST")
    assert client.get("/jobs").status_code == 401
