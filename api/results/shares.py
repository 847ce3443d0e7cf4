"""Results to take away: the list, downloads, and links that a phone opens without login.

A share names its files, ends at a time, and can be revoked before. Its link holds the row's number and
a signature by this installation's key; the ZIP is made while it is sent.
"""

import base64
import io
import os
import socket
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, g, redirect, render_template, request
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy import JSON, Double, select
from sqlalchemy.orm import Mapped, mapped_column

from api.auth.roles import public, requires
from api.context import context
from api.results import files as result_files
from api.web.file_responses import inside, send
from api.web.paging import whole
from api.web.responses import wants_page
from api.work.jobs import moment
from minipacs.database import Base
from minipacs.errors import BadRequest, Gone, NotFound

blueprint = Blueprint("share", __name__)
USUAL_S = 3600
LONGEST_S = 7 * 86400
MOST_FILES = 1000
CHUNK = 256 * 1024


class Share(Base):
    """Files that one link opens until a time."""

    __tablename__ = "api_share"
    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[list[str]] = mapped_column(JSON)
    """Below OUTPUT/results."""
    created_by: Mapped[str]
    created: Mapped[float] = mapped_column(Double)
    ends: Mapped[float] = mapped_column(Double)
    revoked: Mapped[bool] = mapped_column(default=False)


def listed() -> list[dict[str, Any]]:
    """Every result file: name below the results folder, size, time; the newest results first."""
    root = result_files.root(context().settings)
    found = []
    if not root.is_dir():
        return []
    for folder in sorted(root.glob("[0-9]*/*/*"), key=lambda p: p.stat().st_mtime, reverse=True)[:500]:
        if folder.name.startswith(".") or not (folder / result_files.MANIFEST).is_file():
            continue
        for file in sorted(folder.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                stat = file.stat()
                name = file.relative_to(root).as_posix()
                found.append(
                    {"name": name, "size": stat.st_size, "changed": moment(stat.st_mtime), "url": f"/results/{name}"}
                )
    return found


@blueprint.get("/files")
def files() -> ResponseReturnValue:
    """Result files, the newest first."""
    found = listed()
    if not wants_page():
        return {"files": found}
    folders: dict[str, list[dict[str, Any]]] = {}
    for file in found:
        folders.setdefault(file["name"].rpartition("/")[0], []).append(file)
    return render_template("files.html", folders=folders, shares=mine(), made=None)


@blueprint.get("/jsonlist")
def names() -> list[str]:
    """For older clients: the names of all result files."""
    return [file["name"] for file in listed()]


@blueprint.get("/download/<path:filename>")
def download(filename: str) -> Response:
    """For older clients: a result file, as an attachment."""
    return send(result_files.root(context().settings), filename, download_name=filename.rpartition("/")[2])


@blueprint.get("/qr")
@requires("operator")
def qr_of_file() -> dict[str, Any]:
    """For older clients: `?filename=` → a share of that file and its QR code as base64 PNG."""
    return told(made([request.args.get("filename", "")], USUAL_S), qr=True)


@blueprint.post("/files")
@blueprint.post("/files/qr")
@blueprint.post("/shares")
@requires("operator")
def make() -> ResponseReturnValue:
    """Share the files named (`files` of a form or JSON) for `seconds`: the link and its QR code."""
    sent = request.get_json(silent=True) if request.is_json else None
    if sent is not None and not isinstance(sent, dict):
        raise BadRequest("The body is not a JSON object.", '{"files": […], "seconds": 3600}')
    wanted = sent.get("files") if sent is not None else request.form.getlist("files")
    seconds = sent.get("seconds", USUAL_S) if sent is not None else request.form.get("seconds", USUAL_S)
    if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
        raise BadRequest("`files` is not a list of names.", "GET /files lists them.")
    share = made(wanted, whole(str(seconds)))
    if not wants_page():
        return told(share, qr=True), 201
    return render_template("share.html", share=told(share, qr=True)), 201


@blueprint.get("/shares")
@requires("operator")
def shares() -> dict[str, Any]:
    """The links that live."""
    return {"shares": mine()}


@blueprint.post("/shares/<int:share_id>/revoke")
@requires("operator")
def revoke(share_id: int) -> ResponseReturnValue:
    """The link ends now."""
    with context().database.writing() as session:
        share = session.get(Share, share_id if share_id < 2**31 else -1)
        if share is None:
            raise NotFound(f"There is no share {share_id}.", "GET /shares lists them.")
        share.revoked = True
    return redirect("/files", 303) if wants_page() else {"id": share_id, "revoked": True}


@blueprint.post("/delete_zip")
@requires("operator")
def nothing_to_delete() -> dict[str, str]:
    """For older clients: our ZIPs are made while they are sent; there is none to delete."""
    return {"status": "success", "message": "ZIPs are not kept."}


@blueprint.get("/shared/<token>")
@public
def fetch(token: str) -> Response:
    """The ZIP of a share, to whoever has its link."""
    share_id = number(token)
    with context().database.reading() as session:
        share = session.get(Share, share_id)
    if share is None or share.revoked or share.ends < time.time():
        raise Gone("This link has ended.", "Ask for a new one.")
    root = result_files.root(context().settings)
    paths = [(name, inside(root, name)) for name in share.files]
    response = Response(zipped(paths), mimetype="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="minipacs-{share.id}.zip"'
    response.headers["Cache-Control"] = "no-store"
    return response


def made(wanted: list[str], seconds: int) -> Share:
    """A new share; every file must be there now."""
    if not 1 <= len(wanted) <= MOST_FILES:
        raise BadRequest(f"Choose 1 to {MOST_FILES} files.", "GET /files lists them.")
    if not 60 <= seconds <= LONGEST_S:
        raise BadRequest(f"A link lives 60 to {LONGEST_S} seconds.", "Send `seconds` within that.")
    root = result_files.root(context().settings)
    for name in wanted:
        if not name or not inside(root, name).is_file():
            raise NotFound("One of the files is not there.", "GET /files lists them.")
    share = Share(files=sorted(set(wanted)), created_by=g.user.name, created=time.time(), ends=time.time() + seconds)
    with context().database.writing() as session:
        session.add(share)
        session.flush()
        session.refresh(share)
        session.expunge(share)
    return share


def mine() -> list[dict[str, Any]]:
    """Shares that live."""
    with context().database.reading() as session:
        living = select(Share).where(Share.ends > time.time(), ~Share.revoked).order_by(Share.id.desc()).limit(100)
        return [told(share) for share in session.scalars(living)]


def told(share: Share, *, qr: bool = False) -> dict[str, Any]:
    """A share as JSON; `qr`: with the picture."""
    url = f"{reachable()}/shared/{signer().dumps(share.id)}"
    answer: dict[str, Any] = {
        "id": share.id,
        "url": url,
        "files": share.files,
        "created_by": share.created_by,
        "ends": moment(share.ends),
    }
    if qr:
        import segno

        picture = io.BytesIO()
        segno.make(url, error="m").save(picture, kind="png", scale=6, border=4)
        answer["qr"] = base64.b64encode(picture.getvalue()).decode()
        if not context().settings.public_url and context().settings.http_host in ("127.0.0.1", "localhost", "::1"):
            answer["note"] = "The server listens on this machine alone; set MINIPACS_HTTP_HOST=0.0.0.0 for phones."
    return answer


def number(token: str) -> int:
    """The share that a link's token names.

    A token has one spelling. Base64 alone would take four: the last character of a signature of 20 bytes
    holds two bits that no byte needs.

    Raises:
        NotFound: not a token of this installation.
    """
    try:
        share_id = int(signer().loads(token))
        if token == signer().dumps(share_id):
            return share_id
    except (BadSignature, ValueError, TypeError):
        pass
    raise NotFound("There is no such link.", "Ask for a new one.")


def signer() -> URLSafeSerializer:
    """Signs share numbers with this installation's key."""
    return URLSafeSerializer(str(current_app.secret_key), salt="minipacs share")


def reachable() -> str:
    """This server as others reach it: as set, as asked, or by this machine's own address; never loopback."""
    if public := context().settings.public_url:
        return public.rstrip("/")
    name = request.host.rsplit(":", 1)[0].strip("[]")
    if name not in ("localhost", "::1") and not name.startswith("127."):
        return f"{request.scheme}://{request.host}"
    return f"{request.scheme}://{own_address()}:{context().settings.http_port}"


def own_address() -> str:
    """The address this machine would send from; a UDP socket that is connected sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: a documentation address, routed as any other
            address = str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
    return socket.gethostname() if address.startswith(("127.", "0.")) else address


class Sink(io.RawIOBase):
    """What a ZIP is written into; taken away piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._written = 0

    def tell(self) -> int:
        """How much was written."""
        return self._written

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, piece: Any) -> int:
        """Keep a piece."""
        self._pieces.append(bytes(piece))
        self._written += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """The pieces since the last time."""
        taken, self._pieces = b"".join(self._pieces), []
        return taken


def zipped(paths: list[tuple[str, Path]]) -> Iterator[bytes]:
    """A ZIP of files, as it is made; nothing is written to disk. Result files are packed already."""
    sink = Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, path in paths:
            entry = zipfile.ZipInfo.from_file(path, name)
            with archive.open(entry, "w", force_zip64=os.path.getsize(path) > 2**31) as into, path.open("rb") as file:
                while piece := file.read(CHUNK):
                    into.write(piece)
                    yield sink.take()
    yield sink.take()
