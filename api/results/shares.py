"""Shares: result files that one link opens without login until a time; it can be revoked before.

A link holds the share's number and a signature by this installation's key.
"""

import base64
import io
import time
from itertools import islice
from typing import NotRequired, TypedDict, cast

from flask import current_app, g
from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy import JSON, Double, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from api.auth.accounts import TOKEN_PREFIX, Principal, Token, User, find_token_principal, make_user_principal
from api.auth.roles import role_includes
from api.context import AppContext, context
from api.results.result_folders import name_study_of_path, resolve_result_path
from api.web.addresses import server_address, serves_this_machine_alone
from api.web.disclosed import note_disclosed
from api.web.row_json import iso_time
from minipacs.errors import BadRequest, Gone, NotFound
from minipacs.tables import Base

DEFAULT_S = 3600
SHORTEST_S = 60
LONGEST_S = 7 * 86400
MAX_FILES = 1000
"""Files of one share."""
MAX_SHARES = 100
"""Shares of one list."""
ROLE_TO_SHARE = "operator"
"""Who shares; the link of one who has lost this role opens nothing."""
MAX_SHARE_ID = 2**31 - 1
"""What the column holds; a larger number is no share."""


class Share(Base):
    """Files that one link opens until a time."""

    __tablename__ = "api_share"
    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[list[str]] = mapped_column(JSON)
    """Below OUTPUT/results."""
    created_by: Mapped[str]
    """The user, or `token:` and the name of a token without a user."""
    token_name: Mapped[str | None]
    """Of the token it was made with; None where it was made by a session or a password."""
    created: Mapped[float] = mapped_column(Double)
    ends: Mapped[float] = mapped_column(Double)
    revoked: Mapped[bool] = mapped_column(default=False)


class ShareJson(TypedDict):
    """A share and its link."""

    id: int
    url: str
    files: list[str]
    created_by: str
    ends: str | None


class NewShare(ShareJson):
    """A share, its link as a QR code (PNG, base64), and what keeps a phone from opening it."""

    qr: str
    note: NotRequired[str]


def create_share(names: list[str], seconds: int) -> Share:
    """A new share; every file must be there now."""
    if not 1 <= len(names) <= MAX_FILES:
        raise BadRequest(f"Choose 1 to {MAX_FILES} files.", "GET /files lists them.")
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise BadRequest(f"A link lives {SHORTEST_S} to {LONGEST_S} seconds.", "Send `seconds` within that.")

    for name in names:
        if not name or not is_visible_file(name):
            raise NotFound("One of the files is not there.", "GET /files lists them.")

    with context().database.writing() as session:
        now = session.scalar(select(context().database.now())) or time.time()
        share = Share(
            files=sorted(set(names)),
            created_by=g.user.name,
            token_name=g.user.token_name or None,
            created=now,
            ends=now + seconds,
        )
        session.add(share)
        session.flush()
        session.refresh(share)
        session.expunge(share)
    return share


def list_active_shares() -> list[ShareJson]:
    """Shares whose links open something, the newest first."""
    living = select(Share).where(Share.ends > time.time(), ~Share.revoked)

    with context().database.reading() as session:
        newest = session.scalars(living.order_by(Share.id.desc()))
        visible = (share for share in newest if is_visible_share(context(), share) and find_maker(session, share))
        return [share_json(share) for share in islice(visible, MAX_SHARES)]


def is_visible_share(context: AppContext, share: Share) -> bool:
    """Whether all the studies of a share are visible in this context."""
    studies = {name_study_of_path(name) for name in share.files}
    return context.keep_visible(studies) == studies


def is_visible_file(name: str) -> bool:
    """Whether a result file is there, and visible."""
    try:
        return resolve_result_path(name).is_file()
    except NotFound:
        return False


def find_active_share(context: AppContext, share_id: int) -> tuple[Share, Principal]:
    """The share of this number, and its maker. Raises `Gone` when it ended, was revoked, or the maker may not share."""
    with context.database.reading() as session:
        share = session.get(Share, share_id)
        is_active = share is not None and not share.revoked and share.ends >= time.time()
        maker = find_maker(session, share) if share is not None and is_active else None
        if share is None or maker is None:
            raise Gone("This link has ended.", "Ask for a new one.")
        session.expunge(share)
        return share, maker


def find_maker(session: Session, share: Share) -> Principal | None:
    """Who made the share, as far as it may share now; None where it may no more.

    What was made with a token ends with the token, and with the token's user. An account of the same name that was
    made later is another. A user whose password somebody else has chosen meanwhile may do nothing.
    """
    token_name = share.token_name
    if share.created_by.startswith(TOKEN_PREFIX):  # no user's name has a colon
        token_name = share.created_by.removeprefix(TOKEN_PREFIX)
    account = session.get(User, share.created_by) if token_name is None else session.get(Token, token_name)
    if account is None or account.created > share.created:
        return None

    if isinstance(account, User):
        maker: Principal | None = make_user_principal(account)
    else:
        maker = find_token_principal(session, account.name)
    may_share = maker is not None and not maker.must_change and role_includes(maker.role, ROLE_TO_SHARE)
    return maker if may_share else None


def share_json(share: Share) -> ShareJson:
    """A share and its link."""
    note_disclosed((name.partition("/")[0] for name in share.files), rows=1)
    return {
        "id": share.id,
        "url": f"{server_address()}/shared/{link_signer().dumps(share.id)}",
        "files": share.files,
        "created_by": share.created_by,
        "ends": iso_time(share.ends),
    }


def new_share_json(share: Share) -> NewShare:
    """A share with its link as a QR code; `note` where a phone cannot open it."""
    import segno

    known = share_json(share)
    picture = io.BytesIO()
    segno.make(known["url"], error="m").save(picture, kind="png", scale=6, border=4)
    answer = cast(NewShare, {**known, "qr": base64.b64encode(picture.getvalue()).decode()})

    if serves_this_machine_alone():
        answer["note"] = "The server listens on this machine alone; set MINIPACS_HTTP_HOST=0.0.0.0 for phones."
    return answer


def read_share_id(token: str) -> int:
    """The share that a link's token names.

    A token has one spelling. Base64 alone would take four: the last character of a signature of 20 bytes
    holds two bits that no byte needs.

    Raises:
        NotFound: not a token of this installation.
    """
    try:
        share_id = int(link_signer().loads(token))
        if token == link_signer().dumps(share_id):
            return share_id
    except (BadSignature, ValueError, TypeError):
        pass
    raise NotFound("There is no such link.", "Ask for a new one.")


def link_signer() -> URLSafeSerializer:
    """Signs share numbers with this installation's key."""
    return URLSafeSerializer(str(current_app.secret_key), salt="minipacs share")
