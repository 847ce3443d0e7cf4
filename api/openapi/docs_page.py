"""The page /docs: every route of the OpenAPI document with its parameters, the fields of its body, and its answer."""

import json
import re
from collections.abc import Iterator
from typing import Any, TypedDict

from flask import Blueprint
from markupsafe import Markup, escape

from api.openapi.components import JsonSchema
from api.openapi.document import openapi_document
from api.web.describe_route import ANY, MULTIPART, PAGE, answers, discloses_nothing
from api.web.responses import render_page

blueprint = Blueprint("docs", __name__)
REFERENCE = re.compile(r"#/components/schemas/(?P<name>.+)")
PLAIN_NAMES = {ANY: "a file of any type", PAGE: "a page for a browser"}


class FieldRow(TypedDict):
    """A line of a table: a parameter, a field of a body, or a field of an answer."""

    name: str
    type: Markup
    is_required: bool
    default: str
    meaning: Markup


class DocumentedBody(TypedDict):
    """What a request has as its body."""

    media: list[str]
    meaning: Markup
    fields: list[FieldRow]
    has_files: bool


class DocumentedRoute(TypedDict):
    """One method of one route, as the page shows it."""

    id: str
    method: str
    path: str
    summary: Markup
    description: Markup
    parameters: list[FieldRow]
    body: DocumentedBody | None
    answers: list[Markup]


class DocumentedType(TypedDict):
    """A type that bodies or answers name."""

    name: str
    meaning: Markup
    fields: list[FieldRow]


@blueprint.get("/docs")
@discloses_nothing
@answers(page="docs.html")
def docs_page() -> str:
    """This page: every route, for people."""
    document = openapi_document()
    schemas: dict[str, JsonSchema] = document["components"]["schemas"]

    groups: dict[str, list[DocumentedRoute]] = {}
    used: set[str] = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            route = document_route(method, path, operation, schemas)
            groups.setdefault(operation["tags"][0], []).append(route)
            used |= set(find_references([operation.get("requestBody"), operation["responses"]["2XX"]], schemas))

    types = [document_type(name, schemas[name]) for name in sorted(used)]
    return render_page({"groups": groups, "types": types})


def document_route(method: str, path: str, operation: JsonSchema, schemas: dict[str, JsonSchema]) -> DocumentedRoute:
    """What the page shows of one method of one route."""
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": mark_code_spans(operation["summary"]),
        "description": mark_code_spans(operation["description"]),
        "parameters": [document_parameter(parameter) for parameter in operation["parameters"]],
        "body": document_body(operation["requestBody"]["content"], schemas) if "requestBody" in operation else None,
        "answers": list_answers(operation["responses"]["2XX"].get("content", {})),
    }


def document_parameter(parameter: JsonSchema) -> FieldRow:
    """A parameter of the address, `{study}`, or of the query, `?limit`."""
    shown = f"{{{parameter['name']}}}" if parameter["in"] == "path" else f"?{parameter['name']}"
    row = document_field(shown, parameter["schema"], parameter["required"])
    return {**row, "meaning": mark_code_spans(parameter["description"])}


def document_body(content: dict[str, Any], schemas: dict[str, JsonSchema]) -> DocumentedBody:
    """The body of a request; a body that is handed on unread has no fields."""
    media = list(content)
    schema = content[media[0]]["schema"]
    name = read_reference_name(schema)
    fields = document_type(name, schemas[name]) if name else None
    return {
        "media": media,
        "meaning": fields["meaning"] if fields else Markup("It is handed on as it comes."),
        "fields": fields["fields"] if fields else [],
        "has_files": MULTIPART in media,
    }


def document_type(name: str, schema: JsonSchema) -> DocumentedType:
    """A type with its fields."""
    required = schema.get("required", [])
    properties = schema.get("properties", {})
    return {
        "name": name,
        "meaning": mark_code_spans(schema.get("description", "")),
        "fields": [document_field(field, value, field in required) for field, value in properties.items()],
    }


def document_field(name: str, schema: JsonSchema, is_required: bool) -> FieldRow:
    """A field with its type, its default and what it means."""
    default = schema.get("default")
    return {
        "name": name,
        "type": format_type(schema),
        "is_required": is_required,
        "default": "" if default in (None, "") else json.dumps(default),
        "meaning": mark_code_spans(schema.get("description", "")),
    }


def list_answers(content: dict[str, Any]) -> list[Markup]:
    """What a route answers: JSON of a type, a page, files of a media type."""
    return [
        Markup("JSON: ") + format_type(value["schema"]) if "schema" in value else escape(PLAIN_NAMES.get(media, media))
        for media, value in content.items()
    ]


def format_type(schema: JsonSchema) -> Markup:
    """A JSON Schema in words, a type with a name as a link to it: `list of Series`, `integer (1 to 1000) or null`."""
    if name := read_reference_name(schema):
        return Markup('<a href="#type-{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(format_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return Markup(", ").join(Markup("<code>{}</code>").format(value or '""') for value in schema["enum"])
    if schema.get("type") == "array":
        return Markup("list of ") + format_type(schema.get("items", {}))

    limits = [str(schema[key]) for key in ("minimum", "maximum") if key in schema]
    words = schema.get("format") or schema.get("type") or "anything"
    return escape(f"{words} ({' to '.join(limits)})" if limits else words)


def mark_code_spans(text: str) -> Markup:
    """A text whose words between backticks are shown as code."""
    plain, *rest = text.split("`")
    marked = escape(plain)
    for i, part in enumerate(rest):
        marked += Markup("<code>{}</code>").format(part) if i % 2 == 0 else escape(part)
    return marked


def read_reference_name(schema: JsonSchema) -> str:
    """The name of the type that a schema refers to; empty where it refers to none."""
    found = REFERENCE.fullmatch(schema.get("$ref", ""))
    return found["name"] if found else ""


def find_references(part: Any, schemas: dict[str, JsonSchema]) -> Iterator[str]:
    """The names of all types that a part of the document refers to, and those that they refer to."""
    if isinstance(part, dict):
        if name := read_reference_name(part):
            yield name
            yield from find_references(schemas[name], schemas)
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from find_references(each, schemas)
