"""Which engine segments what: administrators edit HOME/segmentation.toml, checked before it is kept."""

import os
from typing import NotRequired, TypedDict

from flask import Blueprint
from flask.typing import ResponseReturnValue

from api.auth.access import requires_role
from api.context import context
from api.web.describe_route import BodyFields, answers, audits, discloses_nothing, takes_body
from api.web.responses import render_page, send_json_or_page, send_json_or_redirect, wants_page
from api.work.segmentation_work import list_engines, segmentation_work
from minipacs.errors import BadRequest, SettingsError
from minipacs.result_paths import RULES_FILE, rules_file

blueprint = Blueprint("rules", __name__)
MAX_CHARACTERS = 64 * 1024


class RulesJson(TypedDict):
    """The rules, TOML; `default_engine`: for the series that none fits."""

    rules: str
    default_engine: NotRequired[str | None]


class RulesRequest(BodyFields):
    """Other rules, TOML."""

    rules: str
    """All rules, as TOML (docs/segmentation.md)."""


@blueprint.get("/rules")
@discloses_nothing
@requires_role("admin")
@answers(RulesJson, page="rules.html")
def rules() -> ResponseReturnValue:
    """The rules as they are, TOML; empty where there are none."""
    kept = read_rules()
    default = context().settings.automatic_engine or None
    return send_json_or_page(RulesJson(rules=kept, default_engine=default), lambda: page_values(kept))


@blueprint.post("/rules")
@requires_role("admin")
@audits("admin")
@takes_body(RulesRequest)
@answers(RulesJson, page="rules.html")
def change_rules(body: RulesRequest) -> ResponseReturnValue:
    """Put other rules (`rules`, TOML) in their place; rules that cannot be read are refused and the old ones stay."""
    text = body.rules.replace("\r\n", "\n")
    if len(text) > MAX_CHARACTERS:
        raise BadRequest("The rules are too long, or no text.", "Send TOML as docs/segmentation.md shows it.")

    try:
        segmentation_work().check_rules(text, context().settings)
    except SettingsError as error:
        if wants_page():
            return render_page(page_values(text, wrong=str(error))), 400
        raise BadRequest(error.message, error.hint) from error

    write_rules(text)
    return send_json_or_redirect(RulesJson(rules=text), "/rules")


def read_rules() -> str:
    """The file's text; empty where there is none."""
    try:
        return rules_file(context().settings).read_text("utf-8")
    except FileNotFoundError:
        return ""


def write_rules(text: str) -> None:
    """Put this text in the file's place, whole."""
    partial = rules_file(context().settings).with_name(f".{RULES_FILE}.{os.getpid()}")
    partial.write_text(text, "utf-8")
    partial.replace(rules_file(context().settings))


def page_values(text: str, wrong: str = "") -> dict[str, object]:
    """What the page's form shows."""
    automatic = context().settings.automatic_engine
    return {"text": text, "wrong": wrong, "engines": list_engines(), "automatic": automatic}
