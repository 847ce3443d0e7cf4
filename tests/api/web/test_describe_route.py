"""A route is described where it stands: every view says what it takes, answers and audits, and is held to it."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import api
from api.web.describe_route import FORM, JSON
from minipacs.audit.entry import AuditEntry
from route_walk import addresses_of, body_of, walk_routes

STATIC_FILES = {"static", "ohif.viewer_file", "scene.niivue_module", "scene.three_module", "welcome.favicon"}
"""Files of pages and of the viewer: no routes of the API."""
NOT_AUDITED = {"sessions.report_use"}
"""What changes nothing but the time at which a session was used last."""
LOGIN = {"user": "admin", "password": "the admin's own"}
SAFE = {"GET", "HEAD", "OPTIONS"}


def entries_of(app: Flask) -> list[AuditEntry]:
    """The whole audit, the oldest first."""
    app.extensions["minipacs_audit"].flush()
    with app.extensions["minipacs"].database.reading() as session:
        found = list(session.query(AuditEntry).order_by(AuditEntry.id))
        session.expunge_all()
    return found


def test_every_view_is_described_but_those_of_static_files(app: Flask) -> None:
    bare = {rule.endpoint for rule, _, description in walk_routes(app) if not description.is_described}
    assert bare == STATIC_FILES


def test_no_other_place_names_a_route(app: Flask) -> None:
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules() if "." in rule.endpoint}
    for path in sorted(Path(api.__file__).parent.rglob("*.py")):
        texts = {node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)}
        assert not texts & endpoints, path


def test_every_view_has_a_sentence_for_the_description(app: Flask) -> None:
    for rule, _, description in walk_routes(app):
        if description.is_described:
            assert (app.view_functions[rule.endpoint].__doc__ or "").strip(), rule.endpoint


def test_every_route_that_changes_something_says_what_it_audits(app: Flask) -> None:
    changing = {rule.endpoint: d for rule, method, d in walk_routes(app) if method not in SAFE}
    assert len(changing) > 15
    assert {endpoint for endpoint, d in changing.items() if d.audit_action in ("", "view", "change")} == NOT_AUDITED


def test_every_route_that_changes_something_leaves_its_entry(app: Flask) -> None:
    client = app.test_client()
    for rule, method, description in walk_routes(app):
        if method in SAFE or description.discloses_nothing:
            continue
        before, statuses = len(entries_of(app)), []
        for _ in range(2):  # the second time within minutes
            sent = {"data": LOGIN} if rule.endpoint == "login.log_in" else body_of(description)
            answer = client.open(addresses_of(rule)[0], method=method, auth=("admin", LOGIN["password"]), **sent)
            statuses.append(answer.status_code)
        noted = entries_of(app)[before:]
        expected = [(description.audit_action, method, "admin", status) for status in statuses]
        assert not set(statuses) & {401, 403, 405}, rule
        assert [(e.action, e.method, e.user, e.status) for e in noted] == expected, rule


def test_a_change_of_role_a_segmentation_and_a_public_link_are_no_views(app: Flask, admin: Any) -> None:
    admin("/users", "POST", data={"name": "eve", "role": "viewer", "password": "a first password"})
    assert admin("/users/eve/role", "POST", data={"role": "operator"}).status_code == 200
    admin("/studies/1.2.3.4.1")  # a look beforehand does not hide it
    admin("/studies/1.2.3.4.1/segment", "POST", json={"engine": "slicer"})
    assert admin("/qr?filename=1.2.3.4.1/1.2.3.4.1.1/slicer/model.glb").status_code == 200
    noted = [(e.action, e.path, e.study_instance_uid) for e in entries_of(app)]
    assert ("admin", "/users/eve/role", None) in noted
    assert ("segment", "/studies/1.2.3.4.1/segment", "1.2.3.4.1") in noted
    assert ("share", "/qr", "1.2.3.4.1") in noted


def test_a_refused_attempt_is_a_failure(app: Flask, viewer: Any) -> None:
    assert viewer("/users/eve/role", "POST", data={"role": "admin"}).status_code == 403
    assert [(e.action, e.status) for e in entries_of(app)] == [("failure", 403)]


def test_an_undescribed_parameter_is_refused_by_its_name(app: Flask, admin: Any) -> None:
    walked = 0
    for rule, method, description in walk_routes(app):
        if not description.is_described or description.allows_unknown_names:
            continue
        answer = admin(addresses_of(rule)[0] + "?nonsense=1", method)
        assert answer.status_code == 400, rule
        assert "'nonsense'" in answer.get_json()["error"]["message"], rule
        walked += 1
    assert walked > 50


def test_an_undescribed_field_of_a_body_is_refused_by_its_name(app: Flask, admin: Any) -> None:
    walked = 0
    for rule, method, description in walk_routes(app):
        if method in SAFE or not description.is_described or description.allows_unknown_names:
            continue
        for kind in description.body.media if description.body is not None else (FORM, JSON):
            sent: dict[str, Any] = {"json": {"nonsense": 1}} if kind == JSON else {"data": {"nonsense": "1"}}
            answer = admin(addresses_of(rule)[0], method, **sent, content_type=kind)
            assert answer.status_code == 400, (rule, kind)
            assert "'nonsense'" in answer.get_json()["error"]["message"], rule
            walked += 1
    assert walked > 20


def test_only_older_clients_and_the_standards_keys_pass_undescribed(app: Flask) -> None:
    lenient = {rule.endpoint for rule, _, description in walk_routes(app) if description.allows_unknown_names}
    older = {e for e in lenient if app.view_functions[e].__module__.startswith("api.legacy.")}
    assert lenient - older == {
        "gateway.search_or_retrieve",
        "gateway.store_instances",
        "openid.finish_openid_login",
    }


@pytest.mark.parametrize(
    ("path", "options", "word"),
    [
        ("/studies?limit=x", {}, "`limit`: expected `int`"),
        ("/studies?limit=0", {}, "`limit`: expected `int` >= 1"),
        ("/audit?format=xml", {}, "`format`: invalid enum value 'xml'"),
        ("/shares", {"method": "POST", "json": {"seconds": 60}}, "Choose 1 to 1000 files."),
        ("/shares", {"method": "POST", "json": {"files": [1]}}, "`files[0]`: expected `str`, got `int`"),
        ("/shares", {"method": "POST", "data": b"{", "content_type": "application/json"}, "The body is not JSON"),
        ("/shares", {"method": "POST", "data": b"[" * 99999, "content_type": "application/json"}, "nested without end"),
        ("/shares", {"method": "POST", "json": []}, "The body is not a JSON object."),
        ("/shares", {"method": "POST", "data": b"x", "content_type": "text/plain"}, "no body of the type 'text/plain'"),
        ("/users", {"method": "POST", "data": {"name": "a\x00b"}}, "`name` has a NUL character."),
    ],
)
def test_what_is_wrong_is_said_with_the_name_of_the_field(
    admin: Callable[..., Any], path: str, options: dict[str, Any], word: str
) -> None:
    answer = admin(path, **options)
    assert answer.status_code == 400
    assert word in answer.get_json()["error"]["message"]
    assert answer.get_json()["error"]["hint"]


def test_a_form_and_json_are_read_alike(admin: Any) -> None:
    names = ["1.2.3.4.1/1.2.3.4.1.1/slicer/model.glb", "1.2.3.4.1/1.2.3.4.1.1/slicer/labels.json"]
    for sent in ({"data": {"files": names, "seconds": "600"}}, {"json": {"files": names, "seconds": 600}}):
        share = admin("/shares", "POST", **sent)
        assert share.status_code == 201
        assert share.get_json()["files"] == sorted(names)
