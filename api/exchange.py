"""Files lent to a server that segments: signed links that end (minipacs/exchange.py)."""

from flask import Blueprint, Response

from api.doors import public
from api.files import send
from api.state import state
from minipacs import exchange

blueprint = Blueprint("exchange", __name__)


@blueprint.get("/exchange/<folder>/<int:ends>/<signature>/<name>")
@public
def fetch(folder: str, ends: int, signature: str, name: str) -> Response:
    """The file lent by this link, to whoever has it, until it ends."""
    file = exchange.lent(state().settings, folder, ends, signature, name)
    response = send(file.parent, file.name)
    response.headers["Cache-Control"] = "no-store"
    return response
