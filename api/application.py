"""The application is put together here, and nowhere else: context, guard, answers, a blueprint per noun."""

from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec

from flask import Flask
from flask.json.provider import DefaultJSONProvider

import minipacs.catalogue
import minipacs.jobs.follow
import minipacs.jobs.record
from api.auth import accounts, audit, guard, login, login_limit
from api.auth.session_cookie import Sessions
from api.context import AppContext
from api.fastpath.lane import Lane
from api.results import shares
from api.web import cors, responses
from minipacs.secrets import secret
from minipacs.settings import Settings

BLUEPRINTS = (
    "auth.login",
    "catalogue.home",
    "ops.health",
    "catalogue.patients",
    "catalogue.studies",
    "catalogue.series",
    "catalogue.instances",
    "results.files",
    "work.engines",
    "legacy.image_server",
    "results.viewer_pages",
    "uploads.upload",
    "results.shares",
    "work.signed_files",
    "auth.audit",
    "work.job_events",
    "auth.admin",
    "ops.metrics",
    "openapi.document",
    "catalogue.export",
    "work.jobs",
    "work.prompts",
    "catalogue.study_status",
    "legacy.prompt_client",
    "work.rules",
    "dicomweb.gateway",
    "viewer",
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
    context = AppContext(settings)
    context.database.create()
    app.extensions["minipacs"] = context
    responses.install(app)
    audit.install(app)
    cors.install(app)
    guard.install(app)
    app.context_processor(login.globals_of_pages)
    for name in BLUEPRINTS:
        if find_spec(f"api.{name}") is not None:
            app.register_blueprint(import_module(f"api.{name}").blueprint)
    app.wsgi_app = Lane(app, app.wsgi_app)  # type: ignore[method-assign]
    return app


TABLES = (accounts, login_limit, audit, shares, minipacs.catalogue, minipacs.jobs.follow, minipacs.jobs.record)
"""Imported so that their tables are known when the database is created."""
