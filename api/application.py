"""The application is put together here, and nowhere else: state, guard, answers, a blueprint per noun."""

from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec

from flask import Flask
from flask.json.provider import DefaultJSONProvider

import minipacs.catalogue
import minipacs.follow
import minipacs.jobs
from api import accounts, answers, attempts, audit, cors, guard, login, share
from api.cookie import Sessions
from api.lane import Lane
from api.state import State
from minipacs.secrets import secret
from minipacs.settings import Settings

BLUEPRINTS = (
    "login",
    "welcome",
    "health",
    "patients",
    "studies",
    "series",
    "images",
    "results",
    "engines",
    "output",
    "scene",
    "upload",
    "share",
    "exchange",
    "audit",
    "live",
    "admin",
    "metrics",
    "docs",
    "export",
    "jobs",
    "prompts",
    "where",
    "older_prompts",
    "rules",
    "gateway",
    "ohif",
)
"""A module of `api` each, with an object `blueprint`."""
SESSION_DAYS = 7
LONGEST_FORM = 1024 * 1024


class Json(DefaultJSONProvider):
    """Names keep their characters; keys keep their order."""

    ensure_ascii = False
    sort_keys = False
    compact = True


def build(settings: Settings) -> Flask:
    """The application for these settings; the tables exist afterwards."""
    app = Flask("api", static_folder="static")
    app.json = Json(app)
    app.session_interface = Sessions()
    app.secret_key = secret(settings.home, "session_key")
    app.config.update(
        SESSION_COOKIE_NAME="minipacs",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(days=SESSION_DAYS),
        MAX_FORM_MEMORY_SIZE=LONGEST_FORM,
        SEND_FILE_MAX_AGE_DEFAULT=3600,
    )
    state = State(settings)
    state.database.create()
    app.extensions["minipacs"] = state
    answers.install(app)
    audit.install(app)
    cors.install(app)
    guard.install(app)
    app.context_processor(login.globals_of_pages)
    for name in BLUEPRINTS:
        if find_spec(f"api.{name}") is not None:
            app.register_blueprint(import_module(f"api.{name}").blueprint)
    app.wsgi_app = Lane(app, app.wsgi_app)  # type: ignore[method-assign]
    return app


TABLES = (accounts, attempts, audit, share, minipacs.catalogue, minipacs.follow, minipacs.jobs)
"""Imported so that their tables are known when the database is created."""
