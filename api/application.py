"""The application is put together here, and nowhere else: context, guard, answers, a blueprint per noun."""

from flask import Blueprint, Flask
from flask.json.provider import DefaultJSONProvider

from api import viewer
from api.auth import admin, audit, audit_list, guard, login, session_routes
from api.auth.openid import routes as openid_routes
from api.auth.session_cookie import NoFlaskSession
from api.catalogue import export, home, instances, patients, rejections, series, studies, study_status
from api.context import AppContext
from api.dicomweb import gateway
from api.groups import routes as groups
from api.legacy import image_server, image_server_folders, prompt_client, query_client
from api.openapi import docs_page, document
from api.ops import health, metrics
from api.results import file_list, labels, share_routes, viewer_pages
from api.results import files as result_files
from api.uploads import upload, upload_file
from api.web import cors, read_request, responses
from api.web.trusted_proxies import TrustedProxies
from api.work import engines, job_events, jobs, prompts, rules, signed_files
from minipacs.secrets import get_or_create_secret
from minipacs.setting_values import parse_networks
from minipacs.settings import Settings

BLUEPRINTS: tuple[Blueprint, ...] = (
    login.blueprint,
    openid_routes.blueprint,
    session_routes.blueprint,
    admin.blueprint,
    audit_list.blueprint,
    groups.blueprint,
    home.blueprint,
    patients.blueprint,
    studies.blueprint,
    series.blueprint,
    instances.blueprint,
    rejections.blueprint,
    export.blueprint,
    study_status.blueprint,
    gateway.blueprint,
    result_files.blueprint,
    file_list.blueprint,
    labels.blueprint,
    share_routes.blueprint,
    viewer_pages.blueprint,
    upload.blueprint,
    engines.blueprint,
    jobs.blueprint,
    job_events.blueprint,
    prompts.blueprint,
    rules.blueprint,
    signed_files.blueprint,
    health.blueprint,
    metrics.blueprint,
    document.blueprint,
    docs_page.blueprint,
    image_server.blueprint,
    image_server_folders.blueprint,
    prompt_client.blueprint,
    query_client.blueprint,
    viewer.blueprint,
)
MAX_FORM_BYTES = 1024 * 1024


class JsonProvider(DefaultJSONProvider):
    """Names keep their characters; keys keep their order."""

    ensure_ascii = False
    sort_keys = False
    compact = True


def build_app(settings: Settings) -> Flask:
    """The application for these settings; the tables exist afterwards."""
    app = Flask("api", static_folder="static")
    app.json = JsonProvider(app)
    app.request_class = upload_file.Request
    app.session_interface = NoFlaskSession()
    app.secret_key = get_or_create_secret(settings.home, "session_key")
    app.config.update(
        MAX_CONTENT_LENGTH=read_request.MAX_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_FORM_BYTES,
        SEND_FILE_MAX_AGE_DEFAULT=3600,
    )

    networks = parse_networks("MINIPACS_TRUSTED_PROXIES", settings.trusted_proxies)
    app.wsgi_app = TrustedProxies(app.wsgi_app, networks)  # type: ignore[method-assign]  # as Flask's documentation has it

    context = AppContext(settings)
    context.database.upgrade_schema()
    app.extensions["minipacs"] = context

    responses.install(app)
    cors.install(app)
    guard.install(app)
    audit.install(app)
    read_request.install(app)
    app.context_processor(login.template_globals)

    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    return app
