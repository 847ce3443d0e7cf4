"""A route says on its view what it answers, takes, permits and audits; everyone else reads it from there.

    @blueprint.post("/shares")
    @requires_role("operator")          who may: the guard reads it
    @audits("share")                    the audit's word for it
    @takes_body(ShareRequest)           a `msgspec.Struct`: checks the body and describes it
    @answers(ShareJson, page="share.html")
    def create_share(body: ShareRequest) -> ResponseReturnValue: …

The decorators write into one `RouteDescription`, which hangs on the view. `api.web.read_request` reads
requests by it, `api.auth.guard` lets through by it, `api.auth.audit` takes the action from it, and
`api.openapi.document` makes the OpenAPI document of it. A view that answers with nothing described is
no route of the API: files of the viewer and of the pages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from flask import current_app, g, request
from msgspec import Struct


class QueryParameters(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a route takes in its query."""


class BodyFields(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a route takes in its body, as JSON or as a form."""


PAGE, CSV, ZIP, GZIP, ANY = "text/html", "text/csv", "application/zip", "application/gzip", "*/*"
JSON, FORM, MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"

READING = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing (RFC 9110 9.2.1)."""

View = TypeVar("View", bound=Callable[..., Any])
Record = TypeVar("Record", bound=type)
Values = TypeVar("Values", bound=Struct)
Rest = ParamSpec("Rest")
Answer = TypeVar("Answer")


@dataclass
class BodyDescription:
    """What a route takes as the body of a request."""

    model: type[Struct] | None
    """Its fields; None: the view reads it."""
    media: tuple[str, ...]
    before_reading: Callable[[], None] | None = None
    """Sets the limits of the request; called before its first byte is read."""


@dataclass
class RouteDescription:
    """All that is known of a route beside its address and its view's docstring."""

    is_described: bool = False
    is_public: bool = False
    role: str | None = None
    audit_action: str = ""
    """Empty: a look, `view` where a study or a patient is named, else `search`."""
    changes_something: bool = False
    """It is a GET, and changes something nevertheless: older clients, or a protocol, know it so."""
    discloses_nothing: bool = False
    """Its answer holds nothing of patients or accounts: the audit has no entry of it."""
    query: type[Struct] | None = None
    body: BodyDescription | None = None
    does_not_extend_session: bool = False
    """Pages send it by themselves: it is no use of the session."""
    allows_unknown_names: bool = False
    """Parameters and fields that are not described are let through, not refused."""
    answer: Any = None
    """The type of the JSON answer (TypedDict, list of them …); None: no JSON."""
    media: tuple[str, ...] = ()
    """What else it answers."""
    page: str = ""
    """The template of the page for browsers."""
    errors: Mapping[int, Any] = field(default_factory=dict)
    """By status: errors that have another shape than the one of all routes."""

    def role_for(self, method: str) -> str:
        """Who may: the role that is named, else every user for reading and operators for the rest."""
        return self.role or ("viewer" if method in READING else "operator")


OPEN_RECORDS: set[str] = set()
"""Names of JSON objects that may hold more than their types say."""


def allow_extra_keys(record: Record) -> Record:
    """Mark the type of a JSON object that another box writes: it may hold more than is described."""
    OPEN_RECORDS.add(record.__name__)
    return record


UNDESCRIBED = RouteDescription()


def read_description(view: Callable[..., Any] | None) -> RouteDescription:
    """The description that hangs on a view; an empty one where there is none."""
    found = getattr(view, "route_description", UNDESCRIBED)
    return found if isinstance(found, RouteDescription) else UNDESCRIBED


def current_description() -> RouteDescription:
    """The description of the route that handles this request."""
    return read_description(current_app.view_functions.get(request.endpoint or ""))


def ensure_description(view: Callable[..., Any]) -> RouteDescription:
    """The description of a view, to be written into; a wrapper of the view shares it."""
    if not isinstance(getattr(view, "route_description", None), RouteDescription):
        view.route_description = RouteDescription()  # type: ignore[attr-defined]
    return read_description(view)


def answers(*what: Any, page: str = "", errors: Mapping[int, Any] | None = None) -> Callable[[View], View]:
    """What the route answers when all is well: the type of its JSON, media types (as text), a page's template.

    Without any of them it only leads elsewhere (303).
    """

    def mark(view: View) -> View:
        description = ensure_description(view)
        description.is_described = True
        description.media = tuple(kind for kind in what if isinstance(kind, str))
        description.answer = next((kind for kind in what if not isinstance(kind, str)), None)
        description.page = page
        description.errors = errors or {}
        return view

    return mark


def audits(action: str) -> Callable[[View], View]:
    """The audit's word for what the route does."""

    def mark(view: View) -> View:
        description = ensure_description(view)
        description.audit_action = action
        return view

    return mark


def discloses_nothing(view: View) -> View:
    """The route's answer holds nothing of patients or accounts: the audit has no entry of it."""
    ensure_description(view).discloses_nothing = True
    return view


def changes_something(view: View) -> View:
    """The route is a GET and changes something: older clients, or a protocol, know it so. It is taken for a change."""
    ensure_description(view).changes_something = True
    return view


def allows_unknown_names(view: View) -> View:
    """The route lets parameters and fields through that it does not describe: older clients send some."""
    ensure_description(view).allows_unknown_names = True
    return view


def takes_query(
    model: type[Values],
) -> Callable[[Callable[Concatenate[Values, Rest], Answer]], Callable[Rest, Answer]]:
    """The route takes these parameters; the view gets them as its first argument."""

    def mark(view: Callable[Concatenate[Values, Rest], Answer]) -> Callable[Rest, Answer]:
        ensure_description(view).query = model

        @wraps(view)
        def with_query(*args: Rest.args, **kwargs: Rest.kwargs) -> Answer:
            return view(g.query, *args, **kwargs)

        return with_query

    return mark


def takes_body(
    model: type[Values], *media: str, before_reading: Callable[[], None] | None = None
) -> Callable[[Callable[Concatenate[Values, Rest], Answer]], Callable[Rest, Answer]]:
    """The route takes these fields, as JSON or as a form; the view gets them as its first argument."""

    def mark(view: Callable[Concatenate[Values, Rest], Answer]) -> Callable[Rest, Answer]:
        ensure_description(view).body = BodyDescription(model, media or (JSON, FORM), before_reading)

        @wraps(view)
        def with_body(*args: Rest.args, **kwargs: Rest.kwargs) -> Answer:
            return view(g.body, *args, **kwargs)

        return with_body

    return mark


def takes_unread_body(*media: str) -> Callable[[View], View]:
    """The route hands the body on as it comes."""

    def mark(view: View) -> View:
        ensure_description(view).body = BodyDescription(None, media)
        return view

    return mark
