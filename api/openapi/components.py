"""The JSON Schemas (2020-12) of the types that routes describe themselves by, each under its name."""

from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints, is_typeddict

import msgspec

from api.openapi.field_meanings import describe_keyword, read_field_sentences
from api.web.describe_route import OPEN_RECORDS

ADDRESS = "#/components/schemas/{name}"
JsonSchema = dict[str, Any]


def list_records(kind: Any) -> Iterator[type]:
    """Every class with fields that a type names: itself, in a list, in a field of another."""
    if is_typeddict(kind) or is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        yield kind
        for field in get_type_hints(kind).values():
            yield from list_records(field)
    for argument in get_args(kind):
        yield from list_records(argument)


class Components:
    """Schemas of types: TypedDicts, Structs, lists of them; each field with what it means, where that is known."""

    def __init__(self, types: Iterable[Any]) -> None:
        known = {repr(kind): kind for kind in types}
        found, self.schemas = msgspec.json.schema_components(known.values(), ref_template=ADDRESS)
        self._by_type = dict(zip(known, found, strict=True))

        records = {record.__name__: record for kind in known.values() for record in list_records(kind)}
        for name, schema in self.schemas.items():
            if "properties" in schema and name not in OPEN_RECORDS:
                schema.setdefault("additionalProperties", False)
            sentences = read_field_sentences(records[name])
            for field, field_schema in schema.get("properties", {}).items():
                if meaning := sentences.get(field) or describe_keyword(field):
                    field_schema["description"] = meaning

    def schema_of(self, kind: Any) -> JsonSchema:
        """The schema of a type; a reference, where it has a name."""
        return self._by_type[repr(kind)]

    def properties_of(self, model: type[msgspec.Struct]) -> dict[str, JsonSchema]:
        """The schemas of a model's fields, by their names in requests."""
        properties: dict[str, JsonSchema] = self.schemas[model.__name__]["properties"]
        return properties

    def required_of(self, model: type[msgspec.Struct]) -> list[str]:
        """The names of the fields without which a request is refused."""
        required: list[str] = self.schemas[model.__name__]["required"]
        return required
