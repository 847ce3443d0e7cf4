"""Which engine segments what: administrators edit HOME/segmentation.toml, checked before it is kept."""

import os
from typing import Any, cast

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from api.auth.roles import requires
from api.context import context
from api.web.responses import wants_page
from minipacs.errors import BadRequest, SettingsError
from minipacs.jobs.contract import Asked, works

blueprint = Blueprint("rules", __name__)
FILE = "segmentation.toml"
LONGEST = 64 * 1024


@blueprint.get("/rules")
@requires("admin")
def rules() -> ResponseReturnValue:
    """The rules as they are, TOML; empty where there are none."""
    answer = {"rules": kept(), "default_engine": context().settings.automatic_engine or None}
    return page(str(answer["rules"])) if wants_page() else answer


@blueprint.post("/rules")
@requires("admin")
def change() -> ResponseReturnValue:
    """Put other rules (`rules`, TOML) in their place; rules that cannot be read are refused and the old ones stay."""
    text = request.form.get("rules", "").replace("\r\n", "\n")
    if len(text) > LONGEST or "\x00" in text:
        raise BadRequest("The rules are too long, or no text.", "Send TOML as docs/segmentation.md shows it.")
    try:
        cast(Asked, works()["segment"]).check_rules(text, context().settings)
    except SettingsError as error:
        if wants_page():
            return page(text, wrong=str(error)), 400
        raise BadRequest(error.message, error.hint) from error
    file = context().settings.home / FILE
    partial = file.with_name(f".{FILE}.{os.getpid()}")
    partial.write_text(text, "utf-8")
    partial.replace(file)
    return redirect("/rules", 303) if wants_page() else {"rules": text}


def kept() -> str:
    """The file's text."""
    try:
        return (context().settings.home / FILE).read_text("utf-8")
    except FileNotFoundError:
        return ""


def page(text: str, wrong: str = "") -> str:
    """The form."""
    settings = context().settings
    listed: list[dict[str, Any]] = cast(Asked, works()["segment"]).engines(settings)
    return render_template("rules.html", text=text, wrong=wrong, engines=listed, automatic=settings.automatic_engine)
