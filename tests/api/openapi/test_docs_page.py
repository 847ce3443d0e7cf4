"""The page /docs shows all that a caller must know: parameters, fields of bodies, answers, and what each means."""

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, TypedDict

import pytest
from flask import Flask
from msgspec import Struct

from api.openapi.field_meanings import describe_keyword, read_field_sentences
from api.web.describe_route import read_description

HTML = {"Accept": "text/html"}


class Named(TypedDict):
    """A record with a sentence."""

    name: str
    """What it is called."""


class Sized(Named):
    """A record with another."""

    size: int
    """How large it is."""
    color: str


class Page(HTMLParser):
    """The texts below each element with an identifier, and the addresses of all links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.links: list[str] = []
        self._section = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("details", "section") or values.get("id"):
            self._section = values.get("id") or ""
        if tag == "a":
            self.links.append(values.get("href") or "")

    def handle_data(self, data: str) -> None:
        self.texts[self._section] = self.texts.get(self._section, "") + f" {data.strip()}"


def walk(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation of every route."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def body_fields(document: dict[str, Any], operation: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The fields of a route's body, and which of them are required."""
    content = operation.get("requestBody", {}).get("content", {"": {"schema": {}}})
    reference = next(iter(content.values()))["schema"].get("$ref", "")
    model = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
    return model.get("properties", {}), model.get("required", [])


@pytest.fixture
def document(viewer: Any) -> dict[str, Any]:
    return dict(viewer("/openapi.json").get_json())


def test_every_parameter_and_every_field_of_a_body_says_what_it_means(document: dict[str, Any]) -> None:
    for path, _, operation in walk(document):
        for parameter in operation["parameters"]:
            assert parameter["description"].strip(), (path, parameter["name"])
        for name, schema in body_fields(document, operation)[0].items():
            assert schema["description"].strip(), (path, name)


def test_the_page_shows_the_parameters_the_body_and_the_answer_of_every_route(
    document: dict[str, Any], viewer: Any
) -> None:
    page = Page(viewer("/docs", headers=HTML).get_data(as_text=True))
    for path, method, operation in walk(document):
        text = page.texts[operation["operationId"]]
        assert path in text
        assert method.upper() in text
        assert "For everyone." in text or "For the role" in text

        fields, required = body_fields(document, operation)
        names = [f"?{p['name']}" if p["in"] == "query" else f"{{{p['name']}}}" for p in operation["parameters"]]
        assert all(f" {name} " in text for name in [*names, *fields]), path
        assert text.count(" required ") == len(required) + sum(p["required"] for p in operation["parameters"]), path

        answer = operation["responses"]["2XX"].get("content", {})
        assert ("JSON: " in text) == any("schema" in value for value in answer.values()), path
        assert text.partition(" Answer ")[2].strip(), path


def test_every_type_that_the_page_names_stands_on_it(viewer: Any) -> None:
    page = Page(viewer("/docs", headers=HTML).get_data(as_text=True))
    targets = {link.removeprefix("#") for link in page.links if link.startswith("#type-")}
    assert len(targets) > 40
    assert targets <= set(page.texts)
    assert "Patient ID (0010,0020)." in page.texts["type-Patient"]


def test_a_request_without_a_required_field_is_refused_by_its_name(app: Flask, admin: Any) -> None:
    lacking = 0
    for rule in app.url_map.iter_rules():
        body = read_description(app.view_functions[rule.endpoint]).body
        needed = _required_fields(body.model if body else None)
        if needed:
            address = rule.rule.replace("<name>", "eve").replace("<session_id>", "s")
            answer = admin(address, "POST", json={})
            assert answer.status_code == 400, address
            assert answer.get_json()["error"]["message"] in {f"`{name}` is missing." for name in needed}
            lacking += 1
    assert lacking >= 8


def _required_fields(model: type[Struct] | None) -> list[str]:
    fields = model.__struct_fields__ if model is not None else ()
    optional = len(model.__struct_defaults__) if model is not None else 0
    return list(fields[: len(fields) - optional])


def test_the_sentence_below_a_field_is_its_meaning_in_derived_classes_too() -> None:
    assert read_field_sentences(Sized) == {"name": "What it is called.", "size": "How large it is."}


def test_a_keyword_means_what_the_dictionary_says() -> None:
    assert describe_keyword("StudyInstanceUID") == "Study Instance UID (0020,000D)."
    assert describe_keyword("label_ids") == ""
