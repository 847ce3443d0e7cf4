"""docs/api.md names every route, by its address or by the end of it (`…/counts`)."""

import re
from pathlib import Path

from flask import Flask

from api.web.describe_route import read_description

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "api.md").read_text("utf-8")
LONGER = ("<path:path>", "<path:relative>", "<path:where>")
"""Parameters that stand for several parts of an address."""


def named_addresses() -> set[str]:
    """Every address between backticks, without its query."""
    outside_of_blocks = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
    words = [word for code in re.findall(r"`([^`]+)`", outside_of_blocks) for word in code.split()]
    return {word.partition("?")[0] for word in words if word.startswith(("/", "…/"))}


def pattern_of(rule: str) -> re.Pattern[str]:
    """What an address of this route looks like, with a name in angle brackets for each parameter."""
    parts = re.split(r"(<[^>]+>)", rule.rstrip("/"))
    patterns = [re.escape(part) if "<" not in part else ".+" if part in LONGER else "<[^/>]+>[a-z.]*" for part in parts]
    return re.compile("".join(patterns))


def is_named(rule: str, addresses: set[str]) -> bool:
    """Whether one of the addresses is this route's, or the end of it."""
    whole, ends = pattern_of(rule), [address[1:] for address in addresses if address.startswith("…")]
    shortened = re.sub(r"<[^>]+>", "<>", rule)
    return any(whole.fullmatch(address.rstrip("/")) for address in addresses) or any(
        shortened.endswith(re.sub(r"<[^>]+>", "<>", end)) for end in ends
    )


def test_the_document_names_every_route(app: Flask) -> None:
    addresses = named_addresses()
    rules = {r.rule for r in app.url_map.iter_rules() if read_description(app.view_functions[r.endpoint]).is_described}
    assert len(rules) > 80
    assert sorted(rule for rule in rules if not is_named(rule, addresses)) == []


def test_a_route_that_is_left_out_is_noticed() -> None:
    addresses = {"/patients/<id>/studies", "…/counts", "/output/<patient>/…"}
    assert is_named("/patients/<path:patient_id>/counts", addresses)
    assert is_named("/output/<path:where>", addresses)
    assert not is_named("/patients/<path:patient_id>", addresses)
    assert not is_named("/patients", addresses)
    assert not is_named("/studies/<uid>", {"/studies/count"})
    assert not is_named("/patients/<path:patient_id>/series", addresses)
