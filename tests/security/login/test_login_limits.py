"""Guesses are limited however they are sent, cost bounded processor time, and lock nobody else out."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from api.auth import accounts, login_limit, password_checks
from front_doors import FrontDoors, log_in, open_front_doors
from waiting import until

FORM = "application/x-www-form-urlencoded"
ATTACKER = {"REMOTE_ADDR": "192.0.2.66"}
ELSEWHERE = {"REMOTE_ADDR": "198.51.100.5"}


@pytest.fixture(params=["sqlite", "postgresql"])
def doors(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FrontDoors]:
    with open_front_doors(request.param, tmp_path) as doors:
        yield doors


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that are hashed, without the 30 ms; `right` is every user's."""
    found: list[str] = []

    def check(_hash: str, password: str) -> bool:
        found.append(password)
        return password == "right"

    monkeypatch.setattr(password_checks, "is_right_password", check)
    return found


def guess(app: Flask, name: str, password: str, address: dict[str, str] = ATTACKER) -> int:
    return log_in(app.test_client(), name, password, environ_base=address).status_code


def guess_in_parallel(apps: list[Flask], names: list[str]) -> list[int]:
    """A wrong password for each name, all at the same moment, at every process in turn."""
    barrier = threading.Barrier(len(names))

    def one(place: int) -> int:
        barrier.wait()
        return guess(apps[place % len(apps)], names[place], f"guess {place}")

    with ThreadPoolExecutor(len(names)) as threads:
        return list(threads.map(one, range(len(names))))


def test_guesses_sent_at_the_same_moment_count_as_those_sent_one_by_one(
    doors: FrontDoors, checked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password_checks, "MAX_WAITING", 50)
    apps = [doors.open(), doors.open()]
    answers = guess_in_parallel(apps, ["admin"] * 50)
    assert len(checked) == answers.count(401) == login_limit.MAX_FAILURES_OF_USER
    assert answers.count(429) == 40


def test_one_address_has_fifty_guesses_whatever_the_names(doors: FrontDoors, checked: list[str]) -> None:
    app = doors.apps[0]
    answers = [guess(app, f"user {n}", "x") for n in range(login_limit.MAX_FAILURES_OF_ADDRESS + 5)]
    assert answers == [401] * 50 + [429] * 5
    assert len(checked) == 50


def test_nobody_is_locked_out_by_guesses_from_elsewhere(doors: FrontDoors, checked: list[str]) -> None:
    app = doors.apps[0]
    assert [guess(app, "admin", "x") for _ in range(11)][-1] == 429
    assert guess(app, "admin", "right") == 429
    assert guess(app, "admin", "right", ELSEWHERE) == 303
    for n in range(20):  # from many addresses: a name that is attacked has fewer guesses from each, never none
        for _ in range(10):
            guess(app, "admin", "x", {"REMOTE_ADDR": f"203.0.113.{n}"})
    of_last = [guess(app, "admin", "x", {"REMOTE_ADDR": "203.0.113.99"}) for _ in range(3)]
    assert of_last == [401, 401, 429]
    assert guess(app, "admin", "right", ELSEWHERE) == 303


def test_a_browser_that_is_known_is_let_in_from_the_address_of_the_attack(
    doors: FrontDoors, checked: list[str]
) -> None:
    app = doors.apps[0]
    doors.add_user("eve")
    own = app.test_client()
    assert log_in(own, "admin", "right", environ_base=ATTACKER).status_code == 303
    for name in ["admin"] * 12 + [f"user {n}" for n in range(60)]:
        guess(app, name, "x")
    assert guess(app, "admin", "right") == 429
    assert guess(app, "admin", "right") == 429
    assert log_in(own, "admin", "right", environ_base=ATTACKER).status_code == 303
    assert log_in(own, "eve", "right", environ_base=ATTACKER).status_code == 429  # known for its own user alone
    answers = [log_in(own, "admin", "x", environ_base=ATTACKER).status_code for _ in range(11)]
    assert answers == [401] * 10 + [429]


def test_a_made_up_device_cookie_is_no_known_browser(doors: FrontDoors, checked: list[str]) -> None:
    app = doors.apps[0]
    answers = []
    for n in range(12):
        client = app.test_client()
        client.set_cookie("minipacs_device", f"device{n}.{'0' * 64}", path="/login")
        answers.append(log_in(client, "admin", "x", environ_base=ATTACKER).status_code)
    assert answers == [401] * 10 + [429] * 2


def test_an_ipv6_client_is_its_network() -> None:
    assert login_limit.make_client_key("2001:db8::1") == login_limit.make_client_key("2001:db8::ffff:1")
    assert login_limit.make_client_key("2001:db8::1") != login_limit.make_client_key("2001:db8:0:1::1")
    assert login_limit.make_client_key("::ffff:192.0.2.1") == login_limit.make_client_key("192.0.2.1")
    assert login_limit.make_client_key("") == ""


def test_a_right_password_sent_by_a_script_many_times_at_once_is_checked_once(
    doors: FrontDoors, checked: list[str]
) -> None:
    app = doors.apps[0]

    def ask(_: int) -> int:
        return app.test_client().get("/jobs", auth=("admin", "right"), environ_base=ELSEWHERE).status_code

    with ThreadPoolExecutor(24) as threads:
        assert set(threads.map(ask, range(48))) == {200}
    assert checked == ["right"]
    with doors.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(login_limit.LoginFailure)) == 0


@pytest.mark.parametrize("are_same", [False, True], ids=["names", "one name and password"])
def test_few_passwords_are_hashed_at_once_and_few_wait(
    doors: FrontDoors, monkeypatch: pytest.MonkeyPatch, are_same: bool
) -> None:
    running, most, lock = 0, 0, threading.Lock()
    go_on = threading.Event()

    def check(_hash: str, _password: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go_on.wait()
        with lock:
            running -= 1
        return False

    monkeypatch.setattr(password_checks, "is_right_password", check)
    app = doors.apps[0]
    answers: list[int] = []

    def one(n: int) -> None:
        guessed = 0 if are_same else n
        answers.append(guess(app, f"user {guessed}", f"guess {guessed}", {"REMOTE_ADDR": f"203.0.113.{n}"}))

    with ThreadPoolExecutor(40) as threads:
        try:
            for n in range(40):
                threads.submit(one, n)
            until(
                lambda: running == password_checks.MAX_AT_ONCE and answers.count(429) > 10, what="the rest is refused"
            )
        finally:
            go_on.set()
    assert most == password_checks.MAX_AT_ONCE
    assert answers.count(401) < 30


def test_an_unknown_name_takes_as_long_as_a_wrong_password(doors: FrontDoors) -> None:
    hashed: list[str] = []
    original = accounts.HASHER.verify

    class Hasher:
        def verify(self, password_hash: str, password: Any) -> bool:
            hashed.append(password_hash.rpartition("$")[0].rpartition("$")[0])
            return original(password_hash, password)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "HASHER", Hasher())
        for name in ("admin", "nobody", "no%00body", "%ED%A0%80", "x" * 100):
            answer = doors.apps[0].test_client().post("/login", data=f"user={name}&password=wrong", content_type=FORM)
            assert answer.status_code == (400 if "%00" in name else 401), name
    assert len(hashed) == 4
    assert len(set(hashed)) == 1  # the same algorithm and the same costs


def test_guesses_of_the_present_password_by_a_stolen_session_are_limited(doors: FrontDoors, checked: list[str]) -> None:
    browser: FlaskClient = doors.apps[0].test_client()
    log_in(browser, "admin", "right")
    doors.add_user("eve")
    eve = doors.apps[0].test_client()
    log_in(eve, "eve", "right")
    form = {"old": "x", "new": "another password"}
    answers = [
        eve.post("/account", data=form, headers={"Sec-Fetch-Site": "same-origin"}).status_code for _ in range(12)
    ]
    assert answers == [400] * 10 + [429] * 2
