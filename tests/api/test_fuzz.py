"""Five thousand odd requests made from the description: every answer is an answer, none is a mistake of ours."""

import random
from collections import Counter
from typing import Any
from urllib.parse import quote

import pytest

CASES = {"sqlite": 5000, "postgresql": 1500}
# fmt: off
ODD = ["", "0", "-1", "1", "999999999999999999999", "x", "ü", "\u202e", "a/b", "..", "../..", "%", "%2e%2e", "\x00",
       "\n", "'", '"', "<script>", "1.2.3.4.1", "1.2.3.4.1.1", "P1", "A/B 50%-ü", "*", "_", "\\", "null", "true", "1e9",
       "2024-01-01", "2024-13-45", "CT", "slicer", "labels.nii.gz", "model.glb", "x" * 3000, "💥", "1,2,3", "W10", "[]"]
# fmt: on


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both databases."""
    return str(request.param)


def some(chance: random.Random) -> str:
    """An odd text, or two of them."""
    return chance.choice(ODD) if chance.random() < 0.8 else chance.choice(ODD) + chance.choice(ODD)


def case(document: dict[str, Any], chance: random.Random) -> tuple[str, str, dict[str, Any]]:
    """A request of some operation: address, method, options of the client."""
    path = chance.choice(sorted(document["paths"]))
    method = chance.choice(sorted(document["paths"][path]))
    operation = document["paths"][path][method]
    query = []
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(some(chance), safe=chance.choice(("", "/"))) or "x")
        elif chance.random() < 0.4:
            query.append(f"{parameter['name']}={quote(some(chance))}")
    options: dict[str, Any] = {"headers": {"Accept": chance.choice(("*/*", "text/html", "application/json", "x;q=z"))}}
    if chance.random() < 0.2:
        options["headers"]["Range"] = chance.choice(("bytes=0-0", "bytes=5-1", "bytes=-", "x", "bytes=0-1,4-5"))
    if method == "post":
        kind = chance.randrange(3)
        if kind == 0:
            options["json"] = chance.choice(([], {}, "x", None, {"files": some(chance)}, {"files": [some(chance)]}))
        elif kind == 1:
            options["data"] = {chance.choice(("files", "name", "role", "password", "seconds")): some(chance)}
        else:
            options.update(data=some(chance).encode(), content_type=chance.choice(("application/json", "text/x", "")))
    return path + ("?" + "&".join(query) if query else ""), method.upper(), options


def test_no_request_made_from_the_description_is_a_mistake_of_ours(admin: Any, kind: str) -> None:
    document = admin("/openapi.json").get_json()
    document["paths"] = {
        path: methods
        for path, methods in document["paths"].items()
        if path not in ("/jobs/events",) and not path.startswith("/dicom-web")
    }
    chance = random.Random(20260101)
    seen: Counter[int] = Counter()
    for number in range(CASES[kind]):
        path, method, options = case(document, chance)
        answer = admin(path, method, **options)
        seen[answer.status_code] += 1
        allowed = answer.status_code < 500 or answer.status_code == 503
        assert allowed, (number, method, path, options, answer.get_data(as_text=True)[:300])
        if answer.status_code >= 400 and answer.mimetype == "application/json" and not path.startswith("/readyz"):
            body = answer.get_json()
            assert set(body.get("error", {})) == {"code", "message", "hint"} or "files" in body, (path, body)
    assert {200, 303, 400, 404} <= set(seen), seen
