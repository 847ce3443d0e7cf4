"""Prompts: the viewer's clicks and boxes are sent to the prompt service, with the user's name.

The service is another process (`minipacs prompts`): engines never load in the front door.
"""

from urllib.parse import quote

import urllib3
from flask import Blueprint, Response, g, request

from api.auth.access import requires_role
from api.context import context, shared_context
from api.web.describe_route import JSON, answers, audits, discloses_nothing, takes_body, takes_query
from api.work.prompt_types import (
    AcceptRequest,
    DiscardedSession,
    PromptAnswer,
    PromptEngines,
    PromptRequest,
    StoredSegmentation,
    TermParameters,
    Terms,
)
from minipacs.errors import EngineUnavailable, NotInArchive
from minipacs.secrets import get_or_create_secret

blueprint = Blueprint("prompts", __name__)
CONNECTIONS = 16
LONGEST_S = 300.0
"""A foundation model on a slow machine takes so long for its first answer to an image."""
_POOL = urllib3.PoolManager(maxsize=CONNECTIONS, block=False)


@blueprint.get("/prompts/engines")
@discloses_nothing
@answers(PromptEngines)
def prompt_engines() -> Response:
    """Engines that answer prompts, and why one does not."""
    return forward_to_prompt_service()


@blueprint.get("/prompts/terminology")
@discloses_nothing
@takes_query(TermParameters)
@answers(Terms)
def terminology(query: TermParameters) -> Response:
    """Coded names for what was segmented: `?q=kidney` finds the beginnings of words."""
    return forward_to_prompt_service()


@blueprint.post("/prompts")
@requires_role("annotator")
@audits("prompt")
@takes_body(PromptRequest, JSON)
@answers(PromptAnswer)
def segment_by_prompts(body: PromptRequest) -> Response:
    """Segment by points and boxes in patient coordinates; the whole list of prompts each time.

    The answer has the mask as runs of pixels by slice, and the session to accept or discard.
    """
    if not context().sees_all and not is_series_visible(body.series):
        raise NotInArchive(f"The archive has no series {body.series}.", "Send it, or check the UID.")
    return forward_to_prompt_service()


@blueprint.post("/prompts/<session_id>/accept")
@requires_role("annotator")
@audits("segment")
@takes_body(AcceptRequest, JSON)
@answers(StoredSegmentation)
def accept_session(body: AcceptRequest, session_id: str) -> Response:
    """Store the session's last answer as a DICOM SEG."""
    return forward_to_prompt_service()


@blueprint.delete("/prompts/<session_id>")
@requires_role("annotator")
@audits("prompt")
@answers(DiscardedSession)
def discard_session(session_id: str) -> Response:
    """Forget a session."""
    return forward_to_prompt_service()


def is_series_visible(series_instance_uid: str) -> bool:
    """Whether the archive has the series, and in visible studies alone.

    The archive keeps a UID that several studies use several times, and the prompt service takes one of them.
    """
    archive = shared_context().archive
    holders = archive.find_ids("Series", series_instance_uid)
    studies = archive.find_study_uids(holders) if holders else set()
    return bool(studies) and context().keep_visible(studies) == studies


def forward_to_prompt_service() -> Response:
    """Send this request to the prompt service as it came; its answer."""
    query = request.query_string.decode("ascii", "replace")
    path = quote(request.path) + (f"?{query}" if query else "")
    answer = request_prompt_service(request.method, path, request.get_data() if request.method == "POST" else None)

    g.audited_study = answer.headers.get("X-Minipacs-Study", "")
    return Response(answer.data, answer.status, content_type=answer.headers.get("Content-Type"))


def request_prompt_service(method: str, path: str, body: bytes | None = None) -> urllib3.BaseHTTPResponse:
    """The prompt service's answer to this user; raises `EngineUnavailable` where there is none."""
    settings = context().settings
    host, port = settings.prompts_address
    headers = {
        "Authorization": f"Bearer {get_or_create_secret(settings.home, 'prompts_key')}",
        "X-Minipacs-User": quote(g.user.name, safe=""),
        "Content-Type": "application/json",
    }
    if g.user.restricted_to is not None:
        headers["X-Minipacs-Member"] = quote(g.user.restricted_to, safe="")
    try:
        with context().wait_limits.wait_for("the prompt service"):
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
