"""Single sign-on lets in whom the provider names, with the role of its groups; forged answers let in nobody."""

import json
import subprocess
import sys
import time
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from sqlalchemy import select

from api.auth import accounts
from api.auth.accounts import User
from api.auth.sessions import LoginSession
from front_doors import ADMIN_PASSWORD, PAGE, FrontDoors, log_in, open_front_doors
from minipacs.errors import SettingsError
from minipacs.groups import membership
from minipacs.settings import Settings
from openid_provider import CLIENT_ID, CLIENT_SECRET, Claims, Provider, running_provider

ROLES = "radiology=annotator,pacs-admins=admin,cn=x=operator"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture(params=["sqlite", "postgresql"])
def doors(request: pytest.FixtureRequest, tmp_path: Path, provider: Provider) -> Iterator[FrontDoors]:
    values = {
        "PUBLIC_URL": "http://localhost",
        "OPENID_ISSUER": provider.issuer,
        "OPENID_CLIENT_ID": CLIENT_ID,
        "OPENID_CLIENT_SECRET": CLIENT_SECRET,
        "OPENID_ROLES": ROLES,
    }
    with open_front_doors(request.param, tmp_path, **values) as doors:
        yield doors


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def visit_provider(url: str) -> str:
    """What the provider's login page leads back to, as path and query."""
    try:
        urllib.request.build_opener(NoRedirect).open(url)
    except urllib.error.HTTPError as answer:
        parts = urlsplit(answer.headers["Location"])
        return f"{parts.path}?{parts.query}"
    raise AssertionError("no redirect")


def come_back(browser: FlaskClient, target: str = "/jobs") -> str:
    """The address of the callback, after a login at the provider."""
    begun = browser.get(f"/login/openid?next={target}")
    assert begun.status_code == 302
    return visit_provider(begun.headers["Location"])


def sign_on(doors: FrontDoors) -> tuple[FlaskClient, Any]:
    browser = doors.apps[0].test_client()
    return browser, browser.get(come_back(browser))


def test_a_person_is_let_in_with_the_role_of_the_groups(doors: FrontDoors, provider: Provider) -> None:
    browser, answer = sign_on(doors)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/jobs")
    assert browser.get("/session").get_json() | {"ends_in_s": None} == {
        "name": "eve", "role": "annotator", "by": "session", "ends_in_s": None,
    }  # fmt: skip
    (asked,) = provider.logins
    assert asked["scope"] == "openid profile"
    assert len(asked["state"]) >= 32
    assert len(asked["nonce"]) >= 32
    assert asked["redirect_uri"] == "http://localhost/login/openid/callback"
    with doors.database.reading() as session:
        assert session.scalars(select(LoginSession.login)).all() == ["openid"]


def test_the_role_follows_the_provider_at_each_login(doors: FrontDoors, provider: Provider) -> None:
    provider.person["groups"] = ["pacs-admins", "radiology"]
    browser, _ = sign_on(doors)
    assert browser.get("/users").status_code == 200
    provider.person["groups"] = ["cn=x"]
    assert sign_on(doors)[1].status_code == 303
    assert browser.get("/users").status_code == 403
    provider.person["groups"] = ["others"]
    assert sign_on(doors)[1].status_code == 403
    provider.person |= {"groups": "radiology", "preferred_username": "eve married"}
    assert sign_on(doors)[1].status_code == 303
    with doors.database.reading() as session:
        assert set(session.scalars(select(User.name))) == {"admin", "eve"}  # the same person under the first name


def test_claims_of_the_user_info_count_and_may_lie_deeper(doors: FrontDoors, provider: Provider) -> None:
    del provider.person["groups"]
    provider.in_userinfo = {"realm_access": {"roles": ["radiology"]}}
    app = doors.open(openid_role_claim="realm_access.roles")
    browser = app.test_client()
    answer = browser.get(come_back(browser))
    assert answer.status_code == 303, answer.text
    provider.in_userinfo["sub"] = "2"
    assert browser.get(come_back(browser)).status_code == 403


def test_no_user_with_a_password_is_taken_over(doors: FrontDoors, provider: Provider) -> None:
    provider.person |= {"preferred_username": "admin", "groups": ["pacs-admins"]}
    assert sign_on(doors)[1].status_code == 403
    provider.person |= {"preferred_username": "eve", "sub": "1"}
    assert sign_on(doors)[1].status_code == 303
    provider.person["sub"] = "2"  # another person who calls herself eve
    assert sign_on(doors)[1].status_code == 403
    for name in ("", "a:b", "x" * 65, "a\x00", None, ["eve"]):
        provider.person |= {"sub": "3", "preferred_username": name}
        assert sign_on(doors)[1].status_code == 403, name


def test_a_user_of_the_single_sign_on_has_no_password(doors: FrontDoors, provider: Provider) -> None:
    browser, _ = sign_on(doors)
    assert 'name="old"' not in browser.get("/account", headers=PAGE).get_data(as_text=True)
    for password in ("", "eve", "password"):
        assert log_in(doors.apps[0].test_client(), "eve", password).status_code in (400, 401)
        assert doors.apps[0].test_client().get("/jobs", auth=("eve", password)).status_code == 401
    assert log_in(doors.apps[0].test_client(), "admin", ADMIN_PASSWORD).status_code == 303


@pytest.mark.parametrize("doors", ["sqlite"], indirect=True)
@pytest.mark.parametrize("groups", [7, True, 1.5, {"others": 1}, [7, True, ["radiology"]], None])
def test_a_role_claim_of_another_kind_gives_no_role(doors: FrontDoors, provider: Provider, groups: Any) -> None:
    provider.person["groups"] = groups
    assert sign_on(doors)[1].status_code == 403


def test_a_new_person_sees_all_studies_only_while_there_is_no_group(doors: FrontDoors, provider: Provider) -> None:
    def is_limited() -> bool:
        assert sign_on(doors)[1].status_code == 303
        found = accounts.find_principal(doors.database, "eve")
        assert found is not None
        return not found.sees_all

    assert not is_limited()
    membership.create_group(doors.database, "study 1")
    assert not is_limited()  # known already: an administrator decides
    accounts.delete_user(doors.database, "eve")
    assert is_limited()
    accounts.set_sees_all(doors.database, "eve", True)
    assert not is_limited()


def list_groups(doors: FrontDoors) -> list[str]:
    assert sign_on(doors)[1].status_code == 303
    return membership.list_groups_of_member(doors.database, "eve")


@pytest.fixture
def grouped_doors(doors: FrontDoors) -> FrontDoors:
    """Groups of studies, and front doors that are told of them by a claim."""
    for name in ("heart", "lung", "knee"):
        membership.create_group(doors.database, name)
    doors.apps.insert(0, doors.open(openid_groups_claim="projects"))
    doors.apps.pop()
    return doors


def test_a_claim_puts_into_the_groups_of_its_names_and_its_lack_takes_out(
    grouped_doors: FrontDoors, provider: Provider
) -> None:
    doors = grouped_doors
    provider.person["projects"] = ["heart", "lung", "nowhere", "Knee", "a\x00", 7]
    assert list_groups(doors) == ["heart", "lung"]
    found = accounts.find_principal(doors.database, "eve")
    assert found is not None
    assert not found.sees_all
    provider.person["projects"] = "lung"
    assert list_groups(doors) == ["lung"]
    del provider.person["projects"]
    provider.in_userinfo = {"projects": ["knee"]}
    assert list_groups(doors) == ["knee"]
    provider.in_userinfo = {}
    assert list_groups(doors) == []
    assert [group.name for group in membership.list_groups(doors.database)] == ["heart", "knee", "lung"]


def test_what_an_administrator_put_in_is_taken_out_by_no_claim(grouped_doors: FrontDoors, provider: Provider) -> None:
    doors = grouped_doors
    provider.person["projects"] = ["heart", "lung"]
    assert list_groups(doors) == ["heart", "lung"]
    membership.add_members(doors.database, "knee", ["eve", "another"])
    membership.add_members(doors.database, "lung", ["eve"])  # by a claim before, by hand from now on
    provider.person["projects"] = ["knee"]
    assert list_groups(doors) == ["knee", "lung"]
    provider.person["projects"] = []
    assert list_groups(doors) == ["knee", "lung"]
    assert membership.list_members(doors.database, "knee") == ["another", "eve"]
    membership.remove_members(doors.database, "knee", ["eve"])
    assert list_groups(doors) == ["lung"]


def test_a_person_of_a_provider_that_names_groups_sees_no_study_of_none(doors: FrontDoors, provider: Provider) -> None:
    browser = doors.open(openid_groups_claim="groups").test_client()
    assert browser.get(come_back(browser)).status_code == 303
    found = accounts.find_principal(doors.database, "eve")
    assert found is not None
    assert not found.sees_all


def test_no_claim_makes_a_member_where_groups_are_not_left_to_the_provider(
    doors: FrontDoors, provider: Provider
) -> None:
    membership.create_group(doors.database, "radiology")
    assert list_groups(doors) == []


def unsigned(claims: Claims) -> str:
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def signed_by_another(claims: Claims) -> str:
    return str(jwt.encode({"alg": "RS256"}, claims, RSAKey.generate_key(2048)))


def signed_with_the_secret(claims: Claims) -> str:
    return str(jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET.ljust(32))))


def without(name: str) -> Callable[[Claims], Claims]:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


FORGED: dict[str, Callable[[Claims], Claims]] = {
    "nonce": lambda claims: claims | {"nonce": "another"},
    "issuer": lambda claims: claims | {"iss": "https://evil.example"},
    "audience": lambda claims: claims | {"aud": "another client"},
    "several audiences": lambda claims: claims | {"aud": [CLIENT_ID, "another client"]},
    "authorized party": lambda claims: claims | {"azp": "another client"},
    "expired": lambda claims: claims | {"exp": int(time.time()) - 3600},
    "from the future": lambda claims: claims | {"iat": int(time.time()) + 3600},
    "subject": lambda claims: claims | {"sub": 7},
    **{f"no {name}": without(name) for name in ("nonce", "iss", "aud", "exp", "iat", "sub")},
}


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("doors", ["sqlite"], indirect=True)
def test_a_token_that_is_not_for_this_login_lets_in_nobody(doors: FrontDoors, provider: Provider, forged: str) -> None:
    provider.change_claims = FORGED[forged]
    browser, answer = sign_on(doors)
    assert answer.status_code == 403
    assert answer.get_json()["error"]["code"] == "single_sign_on_failed"
    assert browser.get("/jobs").status_code == 401
    with doors.database.reading() as session:
        assert session.scalars(select(User.name)).all() == ["admin"]


@pytest.mark.parametrize("sign", [unsigned, signed_by_another, signed_with_the_secret, lambda _: "x", lambda _: ""])
@pytest.mark.parametrize("doors", ["sqlite"], indirect=True)
def test_a_token_that_the_provider_did_not_sign_lets_in_nobody(
    doors: FrontDoors, provider: Provider, sign: Callable[[Claims], str]
) -> None:
    provider.sign = sign
    browser, answer = sign_on(doors)
    assert answer.status_code == 403
    assert browser.get("/jobs").status_code == 401


@pytest.mark.parametrize("doors", ["sqlite"], indirect=True)
def test_an_answer_counts_once_and_only_in_the_browser_that_asked(doors: FrontDoors, provider: Provider) -> None:
    browser = doors.apps[0].test_client()
    callback = come_back(browser)
    assert doors.apps[0].test_client().get(callback).status_code == 403  # another browser: login CSRF
    other = doors.apps[0].test_client()
    other.get("/login/openid")
    assert other.get(callback).status_code == 403
    state = parse_qs(urlsplit(callback).query)["state"][0]
    assert browser.get(f"/login/openid/callback?state={state}&error=access_denied").status_code == 403
    assert browser.get(f"/login/openid/callback?state={state}&code=guessed").status_code == 403
    assert browser.get(callback).status_code == 303
    assert browser.get(callback).status_code == 403


@pytest.mark.parametrize("doors", ["sqlite"], indirect=True)
def test_next_leads_to_no_other_site_and_the_logout_to_the_provider(doors: FrontDoors, provider: Provider) -> None:
    browser = doors.apps[0].test_client()
    assert browser.get(come_back(browser, "//evil.example")).headers["Location"] == "/"
    leaving = browser.get("/login/openid/logout").headers["Location"]
    assert leaving.startswith(f"{provider.issuer}/bye?client_id=minipacs&post_logout_redirect_uri=")
    page = browser.get("/login?next=/jobs", headers=PAGE).get_data(as_text=True)
    assert 'href="/login/openid?next=/jobs"' in page


@pytest.mark.parametrize("doors", ["sqlite"], indirect=True)
def test_passwords_work_while_the_provider_is_away(doors: FrontDoors) -> None:
    away = doors.open(openid_issuer="http://127.0.0.1:9").test_client()
    assert away.get("/login/openid").status_code == 503
    assert log_in(away, "admin", ADMIN_PASSWORD).status_code == 303


@pytest.mark.parametrize(
    "values",
    [
        {"OPENID_ISSUER": "http://idp.example"},
        {"OPENID_ISSUER": "https://idp.example", "OPENID_CLIENT_SECRET": ""},
        {"OPENID_ISSUER": "https://idp.example", "PUBLIC_URL": ""},
        {"OPENID_ISSUER": "https://idp.example", "OPENID_ROLES": ""},
        {"OPENID_ISSUER": "https://idp.example", "OPENID_ROLES": "x=queen"},
        {"OPENID_ISSUER": "https://idp.example", "OPENID_ROLES": "viewer"},
        {"OPENID_GROUPS_CLAIM": "groups"},
    ],
)
def test_settings_that_do_not_fit_are_refused(values: dict[str, str]) -> None:
    whole = {
        "OPENID_CLIENT_ID": "x",
        "OPENID_CLIENT_SECRET": "x",
        "PUBLIC_URL": "https://p",
        "OPENID_ROLES": "*=viewer",
    }
    with pytest.raises(SettingsError, match="MINIPACS_OPENID"):
        Settings.from_env({f"MINIPACS_{name}": value for name, value in (whole | values).items()})


def test_nothing_of_it_is_there_and_loaded_where_it_is_not_set_up(tmp_path: Path) -> None:
    with open_front_doors("sqlite", tmp_path) as doors:
        client = doors.apps[0].test_client()
        for path in ("", "/callback", "/logout"):
            assert client.get(f"/login/openid{path}").status_code == 404
        assert "single sign-on" not in client.get("/login", headers=PAGE).get_data(as_text=True)
    program = "import sys, api.application; print([m for m in ('authlib', 'joserfc') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
