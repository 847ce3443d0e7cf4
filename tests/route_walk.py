"""Every route of the application, each with an address and a body that it takes."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Flask
from werkzeug.routing import Rule

from api.web.describe_route import JSON, RouteDescription, read_description

STUDY, SERIES, IMAGE, PATIENT = "1.2.3.4.1", "1.2.3.4.1.1", "1.2.3.4.1.1.1", "P1"
"""Of the catalogue in tests/api/conftest.py."""
RESULT = f"{STUDY}/{SERIES}/slicer/model.glb"
SCAN = f"{SERIES}_slicer"
PLACES = {
    "study": STUDY, "study_instance_uid": STUDY, "series": SERIES, "series_instance_uid": SERIES,
    "sop_instance_uid": IMAGE, "patient_id": PATIENT, "engine": "slicer", "relative": RESULT, "job_id": "1",
    "share_id": "1", "ends": "1", "scan_name": SCAN, "where": f"{PATIENT}/scans/",
}  # fmt: skip
"""What stands in an address, by the name of its part."""
PATHS = {
    "gateway.search_or_retrieve": ["studies", "series", f"studies/{STUDY}/series"],
    "query_client.download_result_file": [RESULT],
    "query_client.image_info": [IMAGE],
}
"""The last part of an address, where its name says too little."""
CODE = {"value": "1", "scheme": "99TEST", "meaning": "a test"}
FIELDS: dict[str, Any] = {
    "user": "admin", "name": "walked", "password": "a password", "old": "the admin's own", "new": "another password",
    "role": "viewer", "rules": "", "series": SERIES, "prompts": [{"kind": "point", "point": [0.0, 0.0, 0.0]}],
    "label": "Liver", "category": CODE, "type": CODE, "sees_all": True, "members": ["admin"],
}  # fmt: skip
"""Values of fields that a body must have, by their name."""


def walk_routes(app: Flask) -> Iterator[tuple[Rule, str, RouteDescription]]:
    """Every method of every route."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule, method, read_description(app.view_functions[rule.endpoint])


def addresses_of(rule: Rule) -> list[str]:
    """Addresses of a route that lead to something in the catalogue, where there is something."""
    known = [PLACES] if rule.endpoint not in PATHS else []
    known += [{**PLACES, "path": path, "filename": path} for path in PATHS.get(rule.endpoint, [])]
    return [re.sub(r"<(?:\w+:)?(\w+)>", lambda part, k=places: k.get(part[1], "x"), rule.rule) for places in known]


def body_of(description: RouteDescription) -> dict[str, Any]:
    """What a client sends so that every field that must be there is there."""
    body = description.body
    if body is None or body.model is None:
        return {}
    fields = {
        field.encode_name: FIELDS[field.encode_name] for field in msgspec.structs.fields(body.model) if field.required
    }
    return {"json": fields} if JSON in body.media else {"data": fields}
