"""The API's description, made from the routes themselves: OpenAPI 3.1 at /openapi.json, a page at /docs."""

import re
from typing import Any

from flask import Blueprint, current_app, render_template
from werkzeug.routing import Rule

from api.auth import audit
from api.catalogue import export, instances, patients, series, studies
from api.openapi import schemas
from minipacs import __version__

blueprint = Blueprint("docs", __name__)
HIDDEN = {"static", "ohif", "scene.library", "scene.niivue", "welcome.icon"}
PAGED = {
    "patients.patients": patients.FILTERS,
    "studies.studies": studies.FILTERS,
    "series.all_series": series.FILTERS,
    "images.images": instances.FILTERS,
    "audit.entries": audit.FILTERS,
}
QUERIES: dict[str, tuple[str, ...]] = {
    "export.export": tuple(export.FILTERS),
    "export.export_parquet": tuple(export.FILTERS),
    "export.by_modality": ("from", "to"),
    "where.where": ("q",),
    "results.result_file": ("type",),
    "jobs.jobs": ("state", "kind", "study", "before", "limit"),
    "output.filtered_scan": ("label_ids",),
    "output.filtered_voxels": ("label_ids",),
    "output.filtered_result": ("labels",),
    "prompts.terminology": ("q",),
    "share.qr_of_file": ("filename",),
    "series.images_of_series": (*instances.FILTERS, "limit", "after"),
    "studies.images_of_study": (*instances.FILTERS, "limit", "after"),
    "patients.series_of_patient": (*series.FILTERS, "limit", "after"),
    "patients.studies_of_patient": tuple(studies.FILTERS),
    "studies.series_of_study": tuple(series.FILTERS),
    "admin.rejections": ("code", "limit", "after"),
    **{endpoint: (*filters, "limit", "after") for endpoint, filters in PAGED.items()},
}
TEXT = {"type": "string"}
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "upload.upload": ("multipart/form-data", {"file": {"type": "array", "items": TEXT}, "modality": TEXT}),
    "share.make": (
        "application/json",
        {"files": {"type": "array", "items": {"type": "string"}}, "seconds": {"type": "integer"}},
    ),
    "older_prompts.segment": ("multipart/form-data", {"file": TEXT, "sam_input": TEXT}),
    "prompts.prompt": (
        "application/json",
        {
            "series": TEXT,
            "engine": TEXT,
            "session": TEXT,
            "window": {"type": "array", "items": {"type": "number"}},
            "propagate": {"type": "boolean"},
            "prompts": {"type": "array", "items": {"type": "object"}},
        },
    ),
    "prompts.accept": (
        "application/json",
        {
            "label": TEXT,
            **{name: {"type": "object"} for name in ("category", "type", "laterality")},
            "color": {"type": "array", "items": {"type": "integer"}},
        },
    ),
    "engines.segment": ("application/json", {"engine": TEXT}),
    "admin.add_user": ("application/x-www-form-urlencoded", {"name": TEXT, "role": TEXT, "password": TEXT}),
    "rules.change": ("application/x-www-form-urlencoded", {"rules": TEXT}),
    "admin.add_token": ("application/x-www-form-urlencoded", {"name": TEXT, "role": TEXT}),
}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "hint"],
            "properties": {name: {"type": "string"} for name in ("code", "message", "hint")},
        }
    },
}


@blueprint.get("/openapi.json")
def openapi() -> dict[str, Any]:
    """OpenAPI 3.1 of every route."""
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(current_app.url_map.iter_rules(), key=lambda r: r.rule):
        if rule.endpoint in HIDDEN or rule.endpoint.partition(".")[0] in HIDDEN:
            continue
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(address(rule), {})[method.lower()] = operation(rule, method)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "minipacs",
            "version": __version__,
            "description": "One address, one login. Errors have one shape; a browser gets pages where there are some.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
                "session": {"type": "apiKey", "in": "cookie", "name": "minipacs"},
            },
        },
        "security": [{"token": []}, {"password": []}, {"session": []}],
    }


@blueprint.get("/docs")
def page() -> str:
    """The same for people."""
    document = openapi()
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method, entry in methods.items():
            groups.setdefault(entry["tags"][0], []).append((method.upper(), path, entry))
    return render_template("docs.html", groups=groups)


def address(rule: Rule) -> str:
    """`/patients/<path:patient_id>` as `/patients/{patient_id}`."""
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)


def operation(rule: Rule, method: str) -> dict[str, Any]:
    """One method of one route."""
    view = current_app.view_functions[rule.endpoint]
    first, _, rest = (view.__doc__ or "").strip().partition("\n")
    public = getattr(view, "minipacs_public", False)
    role = getattr(view, "minipacs_role", "viewer" if method == "GET" else "operator")
    inside = [
        {"name": name, "in": "path", "required": True, "schema": {"type": _type(rule, name)}}
        for name in sorted(rule.arguments)
        if f"{{{name}}}" in address(rule)
    ]
    query = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in QUERIES.get(rule.endpoint, ())]
    entry: dict[str, Any] = {
        "tags": [rule.endpoint.partition(".")[0]],
        "operationId": f"{rule.endpoint}.{method.lower()}".replace(".", "_") + _suffix(rule),
        "summary": first,
        "description": rest.strip() or ("For everyone." if public else f"For the role {role}."),
        "parameters": inside + query,
        "responses": responses(rule.endpoint),
    }
    if public:
        entry["security"] = []
    if method == "POST" and rule.endpoint in BODIES:
        kind, properties = BODIES[rule.endpoint]
        entry["requestBody"] = {"content": {kind: {"schema": {"type": "object", "properties": properties}}}}
    return entry


def responses(endpoint: str) -> dict[str, Any]:
    """What a route answers, by status."""
    error: dict[str, Any] = {"$ref": "#/components/schemas/Error"}
    good, refused = schemas.content(endpoint), error
    if endpoint == "upload.upload":  # nothing of it could be stored: a verdict for each file
        refused = {"anyOf": [error, schemas.VERDICTS]}
    unready = schemas.JSON_ANSWERS[endpoint] if endpoint == "health.ready" else error
    return {
        "2XX": {"description": "The answer.", **({"content": good} if good else {})},
        "3XX": {"description": "Elsewhere, or the client has it."},
        "4XX": {"description": "An error, in the one shape.", "content": _said(refused)},
        "503": {"description": "Something it needs does not answer.", "content": _said(unready)},
    }


def _said(schema: dict[str, Any]) -> dict[str, Any]:
    """JSON for scripts, a page for people."""
    return {"application/json": {"schema": schema}, schemas.PAGE: {}}


def _type(rule: Rule, name: str) -> str:
    return "integer" if f"<int:{name}>" in rule.rule else "string"


def _suffix(rule: Rule) -> str:
    """Several addresses of one view have names of their own."""
    others = [r.rule for r in current_app.url_map.iter_rules(rule.endpoint)]
    return f"_{others.index(rule.rule)}" if len(others) > 1 else ""
