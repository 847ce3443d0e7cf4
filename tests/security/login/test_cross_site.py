"""Nothing that changes state is a GET that another site can make a browser send."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import MetaData, select

from route_walk import addresses_of, walk_routes
from tests.api.conftest import admin, app, caller, kind, operator, settings, viewer  # noqa: F401  # fixtures

QR = "/qr?filename=1.2.3.4.1/1.2.3.4.1.1/slicer/model.glb"
OF_ITSELF = ("api_audit", "api_audit_chain", "api_audit_spool")
"""The audit of the requests."""
USE_OF_SESSION = "last_used"


def log_in(app: Flask) -> FlaskClient:
    """A browser with the administrator's session."""
    browser = app.test_client()
    form = {"user": "admin", "password": "the admin's own"}
    assert browser.post("/login", data=form, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303
    return browser


def read_database(app: Flask) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    database = app.extensions["minipacs"].database
    found = MetaData()
    with database.engine.connect() as connection:
        found.reflect(connection)
        return {
            table.name: sorted(map(str, connection.execute(select(*(c for c in table.c if c.name != USE_OF_SESSION)))))
            for table in found.sorted_tables
            if table.name not in OF_ITSELF
        }


def cross_site_gets(app: Flask) -> list[str]:
    """An address of every route that can be read."""
    rules = {rule.endpoint: rule for rule, method, _ in walk_routes(app) if method == "GET"}
    return [QR, *(path for rule in rules.values() for path in addresses_of(rule))]


def test_no_get_from_another_site_changes_the_database(app: Flask) -> None:
    browser, before = log_in(app), read_database(app)
    addresses = cross_site_gets(app)
    assert len(addresses) > 60
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Referer": "https://evil.example/"}
    for address in addresses:
        browser.get(address, headers=headers).close()
    assert browser.head(QR, headers=headers).status_code == 403
    assert read_database(app) == before


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),  # a link in a mail
        ({}, 403),
        ({"Referer": "https://evil.example/localhost"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Referer": "http://localhost/files"}, 200),  # a browser that says no Sec-Fetch-Site: plain HTTP
    ],
)
def test_the_older_clients_share_works_for_a_page_of_ours_alone(
    app: Flask, headers: dict[str, str], status: int
) -> None:
    assert log_in(app).get(QR, headers=headers).status_code == status


def test_the_older_clients_share_works_for_a_token(operator: Any) -> None:
    assert operator(QR).status_code == 200
