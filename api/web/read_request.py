"""Requests are read by their route's description, after the guard: what is not described is refused by its name.

The query and the fields of a body become a `msgspec.Struct`, which the view gets as its argument. A route
without a description (files of the viewer) takes whatever comes.
"""

import re
from functools import cache
from typing import Any, get_origin, get_type_hints

import msgspec
from flask import Flask, g, request
from msgspec import Struct

from api.web.describe_route import FORM, JSON, MULTIPART, READING, BodyDescription, current_description
from minipacs.errors import BadRequest, TooLarge

Given = dict[str, Any]
"""What a request has, by name, before it is checked."""
HINT = "The documentation at /docs shows what the route takes."
MAX_BODY_BYTES = 4 * 2**20
"""Of a body, where its route sets no other limit."""
CSRF_FIELD = "csrf_token"
"""Every form of our pages bears it; the guard reads it."""
NO_BODY = BodyDescription(None, (JSON, FORM))
"""Of a route that describes none: a form may come empty, or with the guard's field."""
PLACE = re.compile(r"^(?P<rule>.*?)(?: - at `\$\.?(?P<place>[^`]*)`)?$", re.DOTALL)
"""A mistake as msgspec tells it: "Expected `int` >= 1 - at `$.limit`"."""
MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`")


def install(app: Flask) -> None:
    """Read every request before its view is called."""
    app.before_request(read_request)


def read_request() -> None:
    """Check the query and the body of this request; `g.query` and `g.body` have their values."""
    description = current_description()
    if not description.is_described:
        return

    environ = request.environ
    method = environ["REQUEST_METHOD"]
    strict = not description.allows_unknown_names

    if description.query is not None or environ.get("QUERY_STRING"):
        g.query = convert_values(request.args.to_dict(), description.query, "parameter", strict)
    if method not in READING:
        g.body = read_body(description.body, strict)


def read_body(body: BodyDescription | None, strict: bool) -> Struct | None:
    """The fields of the body, of JSON or of a form; a route without described fields refuses any."""
    if body is None and not strict:
        check_body_length()
        return None
    if body is None:
        body = NO_BODY
    elif body.model is None:
        return None

    if body.before_reading is not None:
        body.before_reading()
    check_body_length()

    if strict and request.content_length and not is_accepted_type(body, request.mimetype):
        raise BadRequest(f"The route takes no body of the type {request.mimetype!r}.", f"Send {body.media[0]}.")
    given = read_json() if request.is_json else read_form(body)
    return convert_values(given, body.model, "field", strict)


def is_accepted_type(body: BodyDescription, mimetype: str) -> bool:
    """Whether a body may have this type; a form may also come in parts, and a body without a type counts as empty."""
    if request.is_json:
        return JSON in body.media
    return mimetype in ("", *body.media) or (mimetype == MULTIPART and FORM in body.media)


def check_body_length() -> None:
    """Raise `TooLarge` for a body that says itself that it is longer than the route takes."""
    most = request.max_content_length
    if most is not None and (request.content_length or 0) > most:
        raise TooLarge(f"A request has at most {most / 2**20:g} MB here.", "Send less at once.")


def read_json() -> Given:
    """The fields of a JSON object; an empty body has none."""
    text = request.get_data()
    if not text:
        return {}
    try:
        given = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("The body is not JSON, or nested without end.", HINT) from error
    if not isinstance(given, dict):
        raise BadRequest("The body is not a JSON object.", HINT)
    return given


def read_form(body: BodyDescription) -> Given:
    """The fields of a form; a list has every value of its name. Files are left to the route that takes them."""
    several = names_of_list_fields(body.model)
    given: Given = {} if MULTIPART in body.media else dict(request.files)

    for name in request.form:
        if name != CSRF_FIELD:
            given[name] = request.form.getlist(name) if name in several else request.form[name]
    return given


def convert_values(given: Given, model: type[Struct] | None, what: str, strict: bool) -> Struct | None:
    """The values in the types of the model; text may stand for a number.

    Raises `BadRequest` for the first name that the model does not know, and for a value of another type.
    """
    names = names_of_fields(model)
    for name, value in given.items():
        if strict and name not in names:
            there = f"There are {', '.join(sorted(names))}." if names else f"The route takes no {what}s."
            raise BadRequest(f"There is no {what} {name!r} here.", there)
        if name in names and isinstance(value, str) and "\x00" in value:
            raise BadRequest(f"`{name}` has a NUL character.", "Leave it out.")
    if model is None:
        return None
    try:
        return msgspec.convert({name: given[name] for name in names & given.keys()}, model, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(explain_validation_error(error), HINT) from error


def explain_validation_error(error: msgspec.ValidationError) -> str:
    """What is wrong, with the name of the field: "`limit`: expected `int` >= 1.", "`name` is missing."."""
    if missing := MISSING.fullmatch(str(error)):
        return f"`{missing['name']}` is missing."
    found = PLACE.match(str(error))
    rule, place = (found["rule"], found["place"]) if found else (str(error), None)
    return f"`{place}`: {rule[:1].lower()}{rule[1:]}." if place else f"{rule}."


@cache
def names_of_fields(model: type[Struct] | None) -> frozenset[str]:
    """The names of a model's fields, as requests have them."""
    return frozenset(model.__struct_encode_fields__) if model is not None else frozenset()


@cache
def names_of_list_fields(model: type[Struct] | None) -> frozenset[str]:
    """The names of those fields that hold several values."""
    if model is None:
        return frozenset()
    hints = get_type_hints(model)
    names = zip(model.__struct_fields__, model.__struct_encode_fields__, strict=True)
    return frozenset(encoded for name, encoded in names if get_origin(hints[name]) is list)
