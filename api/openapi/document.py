"""The API's description, made from what stands on the views: OpenAPI 3.1 at /openapi.json."""

import re
from typing import Any, TypedDict

from flask import Blueprint, current_app
from werkzeug.routing import Rule

from api.openapi.components import Components, JsonSchema
from api.openapi.field_meanings import describe_parameter
from api.web.describe_route import JSON as JSON_MEDIA
from api.web.describe_route import PAGE, RouteDescription, answers, discloses_nothing, read_description
from api.web.responses import ErrorAnswer
from minipacs import __version__

blueprint = Blueprint("openapi", __name__)
PARAMETER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")
SECURITY = {
    "token": {"type": "http", "scheme": "bearer"},
    "password": {"type": "http", "scheme": "basic"},
    "session": {"type": "apiKey", "in": "cookie", "name": "minipacs"},
}


class OpenApiDocument(TypedDict):
    """An OpenAPI document."""

    openapi: str
    info: JsonSchema
    paths: dict[str, dict[str, JsonSchema]]
    components: JsonSchema
    security: list[dict[str, list[str]]]


@blueprint.get("/openapi.json")
@discloses_nothing
@answers(JsonSchema)
def openapi_document() -> OpenApiDocument:
    """OpenAPI 3.1 of every route."""
    rules = [rule for rule in current_app.url_map.iter_rules() if read_rule_description(rule).is_described]
    components = Components(
        [ErrorAnswer, *(kind for rule in rules for kind in list_types(read_rule_description(rule)))]
    )

    paths: dict[str, dict[str, JsonSchema]] = {}
    for rule in sorted(rules, key=lambda rule: rule.rule):
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(openapi_path(rule), {})[method.lower()] = describe_operation(rule, method, components)

    return {
        "openapi": "3.1.0",
        "info": {
            "title": "minipacs",
            "version": __version__,
            "description": "One address, one login. Errors have one shape; a browser gets pages where there are some.",
        },
        "paths": paths,
        "components": {"schemas": components.schemas, "securitySchemes": SECURITY},
        "security": [{name: []} for name in SECURITY],
    }


def read_rule_description(rule: Rule) -> RouteDescription:
    """The description on the view of a route."""
    return read_description(current_app.view_functions.get(rule.endpoint))


def list_types(description: RouteDescription) -> list[Any]:
    """Every type that a route's description names."""
    body = description.body.model if description.body is not None else None
    named = (description.query, body, description.answer, *description.errors.values())
    return [kind for kind in named if kind is not None]


def openapi_path(rule: Rule) -> str:
    """`/patients/<path:patient_id>` as `/patients/{patient_id}`."""
    return PARAMETER.sub(r"{\1}", rule.rule)


def describe_operation(rule: Rule, method: str, components: Components) -> JsonSchema:
    """One method of one route."""
    view = current_app.view_functions[rule.endpoint]
    description = read_description(view)
    first, _, rest = (view.__doc__ or "").strip().partition("\n")
    who = "For everyone." if description.is_public else f"For the role {description.role_for(method)}."

    entry: JsonSchema = {
        "tags": [rule.endpoint.partition(".")[0]],
        "operationId": f"{rule.endpoint}.{method.lower()}".replace(".", "_") + operation_id_suffix(rule),
        "summary": first,
        "description": f"{rest.strip()} {who}".strip(),
        "parameters": [*describe_path_parameters(rule), *describe_query_parameters(description, components)],
        "responses": describe_responses(description, components),
    }
    if description.is_public:
        entry["security"] = []
    if description.body is not None:
        model = description.body.model
        schema = components.schema_of(model) if model is not None else {}
        entry["requestBody"] = {"content": {kind: {"schema": schema} for kind in description.body.media}}
    return entry


def describe_path_parameters(rule: Rule) -> list[JsonSchema]:
    """What stands in the address."""
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": describe_parameter(name),
            "schema": {"type": "integer" if f"<int:{name}>" in rule.rule else "string"},
        }
        for name in sorted(rule.arguments)
        if f"{{{name}}}" in openapi_path(rule)
    ]


def describe_query_parameters(description: RouteDescription, components: Components) -> list[JsonSchema]:
    """What stands in the query."""
    if description.query is None:
        return []
    required = components.required_of(description.query)
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": schema.get("description") or describe_parameter(name),
            "schema": schema,
        }
        for name, schema in components.properties_of(description.query).items()
    ]


def describe_responses(description: RouteDescription, components: Components) -> JsonSchema:
    """What a route answers, by status; JSON for scripts, and a page for people."""
    content: JsonSchema = {kind: {} for kind in description.media}
    if description.answer is not None:
        content[JSON_MEDIA] = {"schema": components.schema_of(description.answer)}
    if description.page:
        content[PAGE] = {}

    error = components.schema_of(ErrorAnswer)
    answer: JsonSchema = {
        "2XX": {"description": "The answer.", **({"content": content} if content else {})},
        "3XX": {"description": "Elsewhere, or the client has it."},
        "4XX": {"description": "An error, in the one shape.", "content": describe_error_content(error)},
        "503": {"description": "Something it needs does not answer.", "content": describe_error_content(error)},
    }
    for status, kind in description.errors.items():
        either = {"anyOf": [error, components.schema_of(kind)]}
        answer[str(status)] = {
            "description": "An error, or what went wrong of it.",
            "content": describe_error_content(either),
        }
    return answer


def describe_error_content(schema: JsonSchema) -> JsonSchema:
    """JSON for scripts, a page for people."""
    return {JSON_MEDIA: {"schema": schema}, PAGE: {}}


def operation_id_suffix(rule: Rule) -> str:
    """Several addresses of one view have names of their own."""
    others = [r.rule for r in current_app.url_map.iter_rules(rule.endpoint)]
    return f"_{others.index(rule.rule)}" if len(others) > 1 else ""
