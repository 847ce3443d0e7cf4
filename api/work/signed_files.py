"""Files offered to a server that segments, by signed links that end (minipacs/signed_files.py)."""

from flask import Blueprint, Response

from api.auth.access import public
from api.context import shared_context
from api.web.describe_route import ANY, answers, audits
from api.web.disclosed import note_disclosed
from api.web.file_responses import send_from
from minipacs import signed_files

blueprint = Blueprint("exchange", __name__)


@blueprint.get("/exchange/<folder>/<int:ends>/<signature>/<name>")
@public
@audits("download")
@answers(ANY)
def download_file(folder: str, ends: int, signature: str, name: str) -> Response:
    """The file of this link, for whoever has the link, until it ends."""
    file = signed_files.find_offered_file(shared_context().settings, folder, ends, signature, name)
    note_disclosed([signed_files.read_offered_study(file)], rows=1)
    response = send_from(file.parent, file.name)
    response.headers["Cache-Control"] = "no-store"
    return response
