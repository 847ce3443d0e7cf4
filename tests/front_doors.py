"""Front doors over one database, each with a memory of its own: what one remembers, another does not know."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api import create_app
from api.auth import accounts
from minipacs.database import Database
from minipacs.settings import Settings
from postgres import new_url

ADMIN_PASSWORD = "the admin's own"
PAGE = {"Accept": "text/html"}
OUR_PAGE = {"Sec-Fetch-Site": "same-origin"}


@dataclass
class FrontDoors:
    """Applications of one installation, as its processes have them."""

    settings: Settings
    apps: list[Flask]

    def open(self, **changes: Any) -> Flask:
        """Another process; `changes` are its settings'."""
        app = create_app(replace(self.settings, **changes))
        self.apps.append(app)
        return app

    @property
    def database(self) -> Database:
        """The database of all of them."""
        found: Database = self.apps[0].extensions["minipacs"].database
        return found

    def add_user(self, name: str, role: str = "viewer", password: str = "a good password", **more: Any) -> str:
        """Add a user, and return the password."""
        accounts.create_or_change_user(self.database, name, role, password, **more)
        return password


@contextmanager
def open_front_doors(kind: str, folder: Path, **more: str) -> Iterator[FrontDoors]:
    """One front door, and as many more as a test opens, over a new database of this kind."""
    values = {
        "DATABASE_URL": new_url(kind, folder),
        "HOME": str(folder / "home"),
        "ORTHANC_URL": "http://127.0.0.1:9",
        "PROMPTS": "127.0.0.1:9",
        "ADMIN_PASSWORD": ADMIN_PASSWORD,
        **more,
    }
    settings = Settings.from_env({f"MINIPACS_{name}": value for name, value in values.items()})
    doors = FrontDoors(settings, [])
    accounts.ensure_administrator(doors.open().extensions["minipacs"].database, settings)
    try:
        yield doors
    finally:
        for app in doors.apps:
            app.extensions["minipacs_audit"].close()
            app.extensions["minipacs"].close()


def log_in(client: FlaskClient, user: str, password: str, **options: Any) -> TestResponse:
    """Log in by the form, as a browser does."""
    return client.post("/login", data={"user": user, "password": password}, headers=PAGE, **options)


def take_session(client: FlaskClient, other: Flask) -> FlaskClient:
    """The same browser, whose requests another process answers."""
    browser = other.test_client()
    browser._cookies = client._cookies  # the jar itself: what one answer sets, both have
    return browser
