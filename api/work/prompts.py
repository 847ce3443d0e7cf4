"""Prompts: what the viewer's clicks and boxes ask is handed to the prompt service, with the user's name.

The service is another process (`minipacs prompts`): engines never load in the front door.
"""

from urllib.parse import quote

import urllib3
from flask import Blueprint, Response, g, request

from api.auth.roles import requires
from api.context import context
from minipacs.errors import EngineUnavailable, TooLarge
from minipacs.secrets import secret

blueprint = Blueprint("prompts", __name__)
MOST_BODY = 4 * 2**20
CONNECTIONS = 16
LONGEST_S = 300.0
"""A foundation model on a slow machine takes so long for its first answer to an image."""
_POOL = urllib3.PoolManager(maxsize=CONNECTIONS, block=False)


@blueprint.get("/prompts/engines")
def engines() -> Response:
    """Engines that answer prompts, and why one does not.

    `{"engines": [{"name", "available", "reason", "hint"}]}`
    """
    return asked()


@blueprint.get("/prompts/terminology")
def terminology() -> Response:
    """Coded names for what was segmented: `?q=kidney` finds the beginnings of words.

    `{"terms": [{"label", "category", "type", "laterality", "color"}]}`
    """
    return asked()


@blueprint.post("/prompts")
@requires("annotator")
def prompt() -> Response:
    """Segment by points and boxes in patient coordinates; the whole list of prompts each time.

    The answer has the mask as runs of pixels by slice, and the session to accept or discard.
    """
    return asked()


@blueprint.post("/prompts/<session_id>/accept")
@requires("annotator")
def accept(session_id: str) -> Response:
    """Store the session's last answer as a DICOM SEG."""
    return asked()


@blueprint.delete("/prompts/<session_id>")
@requires("annotator")
def discard(session_id: str) -> Response:
    """Forget a session."""
    return asked()


def asked() -> Response:
    """Hand this request to the prompt service, and its answer back."""
    request.max_content_length = MOST_BODY
    if (request.content_length or 0) > MOST_BODY:
        raise TooLarge(f"A request has at most {MOST_BODY // 2**20} MB here.", "Send less at once.")
    query = request.query_string.decode("ascii", "replace")
    path = quote(request.path) + (f"?{query}" if query else "")
    answer = handed(request.method, path, request.get_data() if request.method == "POST" else None)
    g.audited_study = answer.headers.get("X-Minipacs-Study", "")
    return Response(answer.data, answer.status, content_type=answer.headers.get("Content-Type"))


def handed(method: str, path: str, body: bytes | None = None) -> urllib3.BaseHTTPResponse:
    """The prompt service's answer to this user; raises `EngineUnavailable` where there is none."""
    settings = context().settings
    host, port = settings.prompts_address
    headers = {
        "Authorization": f"Bearer {secret(settings.home, 'prompts_key')}",
        "X-Minipacs-User": quote(g.user.name, safe=""),
        "Content-Type": "application/json",
    }
    try:
        return _POOL.request(
            method,
            f"http://{host}:{port}{path}",
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(connect=2, read=LONGEST_S),
            retries=urllib3.Retry(connect=1, read=False, redirect=False, status=False, backoff_factor=0.05),
        )
    except urllib3.exceptions.HTTPError as error:
        raise EngineUnavailable("The prompt service does not answer.", "Start it with `minipacs prompts`.") from error
