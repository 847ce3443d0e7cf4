"""A session, a token or a password that has ended opens nothing more, in any process, from the next request on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from api.auth import accounts
from api.auth.key_lookup import wait_for_leases
from api.auth.session_use import RECORD_S
from api.auth.sessions import SESSION_S, LoginSession, delete_ended_sessions, list_sessions
from api.work import job_events
from front_doors import ADMIN_PASSWORD, OUR_PAGE, PAGE, FrontDoors, log_in, open_front_doors, take_session
from minipacs.errors import SettingsError
from minipacs.settings import Settings
from waiting import FOREVER_S, until

AUTOMATIC = {"X-Minipacs-Automatic": "1"}


@pytest.fixture(params=["sqlite", "postgresql"])
def doors(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FrontDoors]:
    with open_front_doors(request.param, tmp_path) as doors:
        yield doors


@pytest.fixture
def eve(doors: FrontDoors) -> tuple[FlaskClient, FlaskClient]:
    """A browser with a session of the operator eve, at the first process and at a second one."""
    browser = doors.apps[0].test_client()
    assert log_in(browser, "eve", doors.add_user("eve", "operator")).status_code == 303
    elsewhere = take_session(browser, doors.open())
    assert (browser.get("/jobs").status_code, elsewhere.get("/jobs").status_code) == (200, 200)
    return browser, elsewhere


def admin_of(doors: FrontDoors) -> Callable[..., Any]:
    """Posts as the administrator, by password."""
    client = doors.apps[0].test_client()
    return lambda path, **options: client.post(path, auth=("admin", ADMIN_PASSWORD), **options)


def shift_times(doors: FrontDoors, **columns: float) -> None:
    """Move times of every session by so many seconds."""
    with doors.database.writing() as session:
        values = {name: getattr(LoginSession, name) + seconds for name, seconds in columns.items()}
        session.execute(update(LoginSession).values(values))
    wait_for_leases()


def last_used(doors: FrontDoors) -> float:
    with doors.database.reading() as session:
        return float(session.scalars(select(LoginSession.last_used)).one())


# -- what ends a session ----------------------------------------------------------------------------
def test_a_logout_ends_the_session_in_every_process(eve: tuple[FlaskClient, FlaskClient], doors: FrontDoors) -> None:
    stolen = doors.open().test_client()
    for cookie in eve[0]._cookies.values():
        stolen.set_cookie(cookie.key, cookie.value)
    assert stolen.get("/jobs").status_code == 200
    assert eve[0].post("/logout", headers=OUR_PAGE).status_code == 303
    assert [client.get("/jobs").status_code for client in (*eve, stolen)] == [401, 401, 401]


def test_another_role_counts_at_the_next_request(eve: tuple[FlaskClient, FlaskClient], doors: FrontDoors) -> None:
    assert eve[1].get("/upload").status_code == 200
    assert admin_of(doors)("/users/eve/role", data={"role": "viewer"}).status_code == 200
    assert [client.get("/upload").status_code for client in eve] == [403, 403]
    assert admin_of(doors)("/users/eve/role", data={"role": "operator"}).status_code == 200
    assert [client.get("/upload").status_code for client in eve] == [200, 200]


def test_a_removed_user_is_out_and_stays_out_when_the_name_comes_again(
    eve: tuple[FlaskClient, FlaskClient], doors: FrontDoors
) -> None:
    token = accounts.create_token(doors.database, "eve's script", "viewer", "eve")
    script = {"Authorization": f"Bearer {token}"}
    assert eve[1].get("/jobs", auth=("eve", "a good password")).status_code == 200
    assert admin_of(doors)("/users/eve/remove").status_code == 200
    for _ in range(2):
        assert [client.get("/jobs").status_code for client in eve] == [401, 401]
        assert eve[1].get("/jobs", auth=("eve", "a good password")).status_code == 401
        assert doors.open().test_client().get("/jobs", headers=script).status_code == 401
        doors.add_user("eve", password="of another person")


def test_another_password_ends_other_sessions_and_keeps_this_one_under_a_new_identifier(
    eve: tuple[FlaskClient, FlaskClient], doors: FrontDoors
) -> None:
    other = doors.apps[1].test_client()
    assert log_in(other, "eve", "a good password").status_code == 303
    before = {cookie.value for cookie in eve[0]._cookies.values()}
    form = {"old": "a good password", "new": "another password", "again": "another password"}
    assert eve[0].post("/account", data=form, headers=OUR_PAGE).status_code == 303
    assert other.get("/jobs").status_code == 401
    assert eve[0].get("/jobs").status_code == 200
    assert before.isdisjoint(cookie.value for cookie in eve[0]._cookies.values())
    assert eve[1].get("/jobs", auth=("eve", "a good password")).status_code == 401


def test_a_password_given_by_an_administrator_ends_every_session(
    eve: tuple[FlaskClient, FlaskClient], doors: FrontDoors
) -> None:
    form = {"name": "eve", "role": "operator", "password": "a first password"}
    assert admin_of(doors)("/users", data=form).status_code == 201
    assert [client.get("/jobs").status_code for client in eve] == [401, 401]


def test_an_administrator_ends_the_sessions_of_a_user(eve: tuple[FlaskClient, FlaskClient], doors: FrontDoors) -> None:
    assert admin_of(doors)("/users/eve/sessions/end").get_json() == {"ended": 1}
    assert [client.get("/jobs").status_code for client in eve] == [401, 401]
    assert admin_of(doors)("/users/nobody/sessions/end").status_code == 404


def test_users_see_their_sessions_and_end_the_others(eve: tuple[FlaskClient, FlaskClient], doors: FrontDoors) -> None:
    other = doors.open().test_client()
    log_in(other, "eve", "a good password", environ_base={"REMOTE_ADDR": "192.0.2.7"})
    found = eve[0].get("/account/sessions").get_json()
    assert sorted((one["address"], one["is_this"]) for one in found) == [("127.0.0.1", True), ("192.0.2.7", False)]
    assert "192.0.2.7" in eve[0].get("/account", headers=PAGE).get_data(as_text=True)
    assert eve[0].post("/account/sessions/end", headers=OUR_PAGE).get_json() == {"ended": 1}
    assert (eve[0].get("/jobs").status_code, other.get("/jobs").status_code) == (200, 401)


def test_a_revoked_token_opens_nothing_in_any_process(doors: FrontDoors) -> None:
    script = {"Authorization": f"Bearer {accounts.create_token(doors.database, 'script', 'viewer')}"}
    clients = [app.test_client() for app in (doors.apps[0], doors.open())]
    assert [client.get("/jobs", headers=script).status_code for client in clients] == [200, 200]
    accounts.revoke_token(doors.database, "script")
    assert [client.get("/jobs", headers=script).status_code for client in clients] == [401, 401]


def test_a_token_made_by_an_administrator_ends_with_its_maker(doors: FrontDoors) -> None:
    password = doors.add_user("second", "admin")
    client = doors.apps[0].test_client()
    made = client.post("/tokens", data={"name": "left behind", "role": "admin"}, auth=("second", password)).get_json()
    script = {"Authorization": f"Bearer {made['token']}"}
    assert client.get("/users", headers=script).status_code == 200
    accounts.set_role(doors.database, "second", "viewer")
    assert client.get("/users", headers=script).status_code == 403
    accounts.delete_user(doors.database, "second")
    assert client.get("/users", headers=script).status_code == 401


# -- the cookie -------------------------------------------------------------------------------------
def test_a_login_never_takes_the_identifier_a_browser_came_with(doors: FrontDoors) -> None:
    doors.add_user("eve")
    browser = doors.apps[0].test_client()
    browser.set_cookie("minipacs", "planted")
    log_in(browser, "eve", "a good password")
    first = browser._cookies["localhost", "/", "minipacs"].value
    log_in(browser, "eve", "a good password")
    assert len({"planted", first, browser._cookies["localhost", "/", "minipacs"].value}) == 3
    browser.set_cookie("minipacs", first)
    assert browser.get("/jobs").status_code == 401


def test_neither_the_identifier_nor_a_hash_of_a_password_stands_in_the_database_or_the_cookie(
    doors: FrontDoors,
) -> None:
    browser = doors.apps[0].test_client()
    log_in(browser, "admin", ADMIN_PASSWORD)
    identifier = browser._cookies["localhost", "/", "minipacs"].value
    with doors.database.reading() as session:
        assert identifier not in str([vars(row) for row in session.scalars(select(LoginSession))])
    browser.set_cookie("minipacs", list_sessions(doors.database, "admin", 0)[0].id_hash)
    assert browser.get("/jobs").status_code == 401


@pytest.mark.parametrize(
    ("public_url", "base_url", "is_secure"),
    [
        ("", "http://localhost/", False),
        ("", "https://pacs.example/", True),
        ("https://pacs.example", "http://localhost/", True),
    ],
)
def test_the_cookie_is_secure_where_the_address_is_https(
    tmp_path: Path, public_url: str, base_url: str, is_secure: bool
) -> None:
    with open_front_doors("sqlite", tmp_path, PUBLIC_URL=public_url) as doors:
        browser = doors.apps[0].test_client()
        cookie = log_in(browser, "admin", ADMIN_PASSWORD, base_url=base_url).headers["Set-Cookie"]
        assert ("; Secure" in cookie, cookie.startswith("__Host-minipacs=")) == (is_secure, is_secure)
        assert all(word in cookie for word in ("HttpOnly", "SameSite=Lax", "Path=/"))
        assert "Domain" not in cookie
        assert browser.get("/jobs", base_url=base_url).status_code == 200


# -- the idle logoff --------------------------------------------------------------------------------
def test_a_session_that_nobody_uses_ends_after_the_idle_time(
    eve: tuple[FlaskClient, FlaskClient], doors: FrontDoors
) -> None:
    shift_times(doors, last_used=-30 * 60.0)
    assert [client.get("/jobs").status_code for client in eve] == [401, 401]
    assert list_sessions(doors.database, "eve", 30 * 60.0) == []
    delete_ended_sessions(doors.database, 30 * 60.0)
    with doors.database.reading() as session:
        assert session.scalars(select(LoginSession)).all() == []


def test_the_idle_time_can_be_set_and_switched_off(doors: FrontDoors) -> None:
    browser = doors.open(idle_minutes=0).test_client()
    log_in(browser, "admin", ADMIN_PASSWORD)
    shift_times(doors, last_used=-86400.0)
    for minutes, status in ((0, 200), (60 * 24 * 2, 200), (60, 401)):
        process = take_session(browser, doors.open(idle_minutes=minutes))
        assert process.get("/jobs", headers=AUTOMATIC).status_code == status
    with pytest.raises(SettingsError, match="MINIPACS_IDLE_MINUTES"):
        Settings.from_env({"MINIPACS_IDLE_MINUTES": "-1"})


def test_a_session_ends_after_a_week_however_much_it_is_used(
    eve: tuple[FlaskClient, FlaskClient], doors: FrontDoors
) -> None:
    shift_times(doors, ends=-SESSION_S)
    assert [client.get("/jobs").status_code for client in eve] == [401, 401]


@pytest.mark.parametrize("path", ["/jobs", "/studies", "/dicom-web/studies", "/ohif/app-config.js", "/session/use"])
def test_pages_viewer_and_input_keep_a_session_alive(doors: FrontDoors, path: str) -> None:
    browser = doors.apps[0].test_client()
    log_in(browser, "admin", ADMIN_PASSWORD)
    shift_times(doors, last_used=-RECORD_S * 10)
    before = last_used(doors)
    browser.open(path, method="POST" if path == "/session/use" else "GET", headers=OUR_PAGE, buffered=True)
    until(lambda: last_used(doors) > before, what="the use is written")


def test_what_pages_send_by_themselves_keeps_no_session_alive(doors: FrontDoors) -> None:
    browser = doors.apps[0].test_client()
    log_in(browser, "admin", ADMIN_PASSWORD)
    recorded: list[str] = []
    doors.apps[0].extensions["minipacs"].session_uses.record = recorded.append
    with browser.get("/jobs/events") as stream:
        assert stream.status_code == 200
    remaining = browser.get("/session").get_json()["ends_in_s"]
    browser.get("/jobs", headers=AUTOMATIC)
    browser.set_cookie("minipacs_automatic", "1")
    browser.get("/jobs", headers=PAGE)
    browser.delete_cookie("minipacs_automatic")
    assert recorded == []
    assert 29 * 60 < remaining <= 30 * 60
    browser.get("/jobs")
    assert len(recorded) == 1


# -- a password that must be changed ----------------------------------------------------------------
def test_a_password_that_must_be_changed_opens_only_its_own_change(doors: FrontDoors) -> None:
    given = doors.add_user("new", "admin", "a first password", must_change=True)
    token = accounts.create_token(doors.database, "new's script", "admin", "new")
    client, browser = doors.open().test_client(), doors.apps[0].test_client()
    log_in(browser, "new", given)
    proofs: list[dict[str, Any]] = [
        {"auth": ("new", given)},
        {"headers": {"Authorization": f"Bearer {token}"}},
    ]
    for path in ("/users", "/jobs", "/studies", "/dicom-web/studies", "/ohif/", "/session", "/account/sessions"):
        for proof in proofs:
            answer = client.get(path, **proof)
            assert answer.status_code == 403, (path, proof)
            assert answer.get_json()["error"]["code"] == "password_change_required"
        assert browser.get(path).status_code == 403
        assert browser.get(path, headers=PAGE).headers["Location"].startswith("/account?next=")
    assert browser.post("/users", data={"name": "x", "password": "x" * 9}, headers=OUR_PAGE).status_code == 403

    form = {"old": given, "new": "my own password"}
    assert client.post("/account", json=form, **proofs[1]).status_code == 403
    assert client.post("/account", json=form, **proofs[0]).status_code == 303
    assert client.get("/users", auth=("new", "my own password")).status_code == 200
    assert client.get("/users", **proofs[1]).status_code == 200


def test_a_form_of_a_session_has_its_own_token(eve: tuple[FlaskClient, FlaskClient], doors: FrontDoors) -> None:
    other = doors.apps[0].test_client()
    log_in(other, "eve", "a good password")
    page = other.get("/account", headers=PAGE).get_data(as_text=True)
    of_other = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    assert len(of_other) == 64
    assert eve[0].post("/logout", data={"csrf_token": of_other}).status_code == 403
    assert other.post("/logout", data={"csrf_token": of_other}).status_code == 303


def leave(client: FlaskClient, doors: FrontDoors) -> None:
    assert client.post("/logout", headers=OUR_PAGE).status_code == 303


def be_removed(client: FlaskClient, doors: FrontDoors) -> None:
    assert admin_of(doors)("/users/eve/remove").status_code == 200


def be_limited(client: FlaskClient, doors: FrontDoors) -> None:
    with doors.database.writing() as session:
        session.execute(update(accounts.User).where(accounts.User.name == "eve").values(sees_all=False))


@pytest.mark.parametrize("change", [leave, be_removed, be_limited])
def test_a_stream_of_job_events_ends_with_the_rights_of_its_user(
    eve: tuple[FlaskClient, FlaskClient],
    doors: FrontDoors,
    change: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_events, "STREAM_S", FOREVER_S)
    monkeypatch.setattr(job_events, "POLL_S", 0.05)
    with eve[0].get("/jobs/events") as answer:
        events = answer.iter_encoded()
        assert next(events).startswith(b"retry")
        assert next(events) == b": \n\n"
        change(eve[1], doors)
        assert until(lambda: next(events, b"the end") == b"the end")
