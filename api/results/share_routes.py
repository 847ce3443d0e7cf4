"""The routes of shares: make one, list them, end one, and the ZIP that a link opens; it is made while it is sent."""

from typing import TypedDict

import msgspec
from flask import Blueprint, Response, g
from flask.typing import ResponseReturnValue

from api.auth.access import public, requires_role
from api.context import context, shared_context
from api.results.result_folders import resolve_visible_path
from api.results.shares import (
    DEFAULT_S,
    MAX_SHARE_ID,
    ROLE_TO_SHARE,
    NewShare,
    Share,
    ShareJson,
    create_share,
    find_active_share,
    is_visible_share,
    list_active_shares,
    new_share_json,
    read_share_id,
)
from api.web.describe_route import ZIP, BodyFields, answers, audits, takes_body
from api.web.disclosed import note_disclosed
from api.web.responses import send_json_or_page, send_json_or_redirect
from api.web.zip_stream import stream_zip
from minipacs.errors import Gone, NotFound

blueprint = Blueprint("share", __name__)


class ShareList(TypedDict):
    """The shares whose links open something."""

    shares: list[ShareJson]


class RevokedShare(TypedDict):
    """The share that was revoked."""

    id: int
    revoked: bool


class ShareRequest(BodyFields):
    """Files, by their names below the results folder, and how long their link lives."""

    files: list[str] = msgspec.field(default_factory=list)
    """1 to 1000 names below the results folder; GET /files lists them. A page with none ticked sends no such field."""
    seconds: int = DEFAULT_S
    """How long the link lives: 60 to 604800."""


@blueprint.post("/files")
@blueprint.post("/files/qr")
@blueprint.post("/shares")
@requires_role(ROLE_TO_SHARE)
@audits("share")
@takes_body(ShareRequest)
@answers(NewShare, page="share.html")
def share_files(body: ShareRequest) -> ResponseReturnValue:
    """Share the files named (`files` of a form or JSON) for `seconds`: the link and its QR code."""
    share = new_share_json(create_share(body.files, body.seconds))
    return send_json_or_page(share, lambda: {"share": share}, status=201)


@blueprint.get("/shares")
@requires_role("operator")
@answers(ShareList)
def shares() -> ShareList:
    """The links that live."""
    return {"shares": list_active_shares()}


@blueprint.post("/shares/<int:share_id>/revoke")
@requires_role("operator")
@audits("share")
@answers(RevokedShare)
def revoke_share(share_id: int) -> ResponseReturnValue:
    """The link ends now."""
    with context().database.writing() as session:
        share = session.get(Share, share_id) if share_id <= MAX_SHARE_ID else None
        if share is None or not is_visible_share(context(), share):
            raise NotFound(f"There is no share {share_id}.", "GET /shares lists them.")
        share.revoked = True
    return send_json_or_redirect(RevokedShare(id=share_id, revoked=True), "/files")


@blueprint.get("/shared/<token>")
@public
@audits("download")
@answers(ZIP)
def download_share(token: str) -> Response:
    """The ZIP of a share, to whoever has its link, as long as its maker may see what is in it."""
    shared = shared_context()
    share, maker = find_active_share(shared, read_share_id(token))
    g.audited_user = f"link {share.id} of {share.created_by}"

    of_maker = shared.restrict_to(maker)
    if not is_visible_share(of_maker, share):
        raise Gone("This link has ended.", "Ask for a new one.")
    note_disclosed((name.partition("/")[0] for name in share.files), rows=len(share.files))
    files = [(name, resolve_visible_path(of_maker, name)) for name in share.files]
    response = Response(stream_zip(files), mimetype=ZIP)
    response.headers["Content-Disposition"] = f'attachment; filename="minipacs-{share.id}.zip"'
    response.headers["Cache-Control"] = "no-store"
    return response
