"""The JSON Schemas (2020-12) of the types that routes describe themselves by, each under its name."""

from collections.abc import Iterable
from typing import Any

import msgspec

from api.web.describe_route import OPEN_RECORDS

ADDRESS = "#/components/schemas/{name}"
JsonSchema = dict[str, Any]


class Components:
    """Schemas of types: TypedDicts, Structs, lists of them."""

    def __init__(self, types: Iterable[Any]) -> None:
        known = {repr(kind): kind for kind in types}
        found, self.schemas = msgspec.json.schema_components(known.values(), ref_template=ADDRESS)
        self._by_type = dict(zip(known, found, strict=True))

        for name, schema in self.schemas.items():
            if "properties" in schema and name not in OPEN_RECORDS:
                schema.setdefault("additionalProperties", False)

    def schema_of(self, kind: Any) -> JsonSchema:
        """The schema of a type; a reference, where it has a name."""
        return self._by_type[repr(kind)]

    def properties_of(self, model: type[msgspec.Struct]) -> dict[str, JsonSchema]:
        """The schemas of a model's fields, by their names in requests."""
        properties: dict[str, JsonSchema] = self.schemas[model.__name__]["properties"]
        return properties
