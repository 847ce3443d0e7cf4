"""Jobs as they change, by server-sent events (HTML 9.2). A listener holds a thread: there are few, for a minute."""

import json
import threading
import time
from collections.abc import Callable, Iterator

from flask import Blueprint, Response, current_app, g, request
from sqlalchemy import or_, select

from api.auth.access import does_not_extend_session
from api.auth.identify import identify_user
from api.context import AppContext, context
from api.web.describe_route import answers
from api.web.disclosed import Disclosure, stream_disclosure
from api.work.job_json import job_json
from minipacs.errors import CatalogueUnavailable, MinipacsError, TooManyListeners
from minipacs.jobs.record import Job

blueprint = Blueprint("live", __name__)
LISTENERS = threading.BoundedSemaphore(8)
"""Of each process; the page polls when there is no place."""
STREAM_S = 60.0
POLL_S = 1.0
RECENT_S = 30.0


@blueprint.get("/jobs/events")
@does_not_extend_session
@answers("text/event-stream")
def job_events() -> Response:
    """An event `job` for every job that changes; the browser comes again when the stream ends."""
    if not LISTENERS.acquire(blocking=False):
        raise TooManyListeners("Too many pages listen already.", "GET /jobs every few seconds instead.")
    events = stream_job_events(context(), stream_disclosure(), make_identity_check())
    response = Response(events, mimetype="text/event-stream")
    response.call_on_close(LISTENERS.release)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def make_identity_check() -> Callable[[], bool]:
    """A function that says whether this request's proof still stands for the same user with the same rights."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # outlives the request
    environ, user = dict(request.environ), g.user

    def is_same_user() -> bool:
        try:
            with app.request_context(environ):
                return bool(identify_user() == user)
        except MinipacsError:
            return False

    return is_same_user


def stream_job_events(
    context: AppContext, disclosure: Disclosure, is_same_user: Callable[[], bool] = lambda: True
) -> Iterator[str]:
    """Events until a minute is over or the user's rights have changed; `disclosure` gets the studies they name."""
    sent: dict[int, str] = {}
    end = time.monotonic() + STREAM_S
    yield "retry: 1000\n\n"
    while time.monotonic() < end and is_same_user():
        try:
            with context.database.reading() as session:
                moving = or_(Job.state.in_(("queued", "running")), Job.finished > time.time() - RECENT_S)
                jobs = [job_json(job) for job in session.scalars(select(Job).where(moving).order_by(Job.id).limit(200))]
        except CatalogueUnavailable:
            return
        for job in jobs:
            text = json.dumps(job)
            if sent.get(job["id"]) != text:
                sent[job["id"]] = text
                disclosure.add([job["study"]], rows=1)
                yield f"event: job\ndata: {text}\n\n"
        yield ": \n\n"
        time.sleep(POLL_S)
