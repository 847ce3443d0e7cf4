"""DICOMweb for the viewer and for scripts: a gateway to Orthanc that adds its credentials.

One origin, one login: no CORS, no second password. Only the resources that PS3.18 10 names for
retrieving, searching and storing studies pass; never Orthanc's own `/servers` and the like. Answers
stream through; the lists of studies and series are the catalogue's (`api.dicomweb.qido_studies`).
`api.dicomweb.orthanc_fixes` corrects what Orthanc 1.10.1 is known to get wrong.
"""

import gzip
import logging
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import IO

import urllib3
from flask import Blueprint, Response, request

from api.context import context
from api.dicomweb import orthanc_fixes, paths, qido_series, qido_studies, restricted_search
from api.dicomweb.archive_answer import ArchiveAnswer
from api.dicomweb.frame_client import Frame
from api.uploads.assign_to_group import assign_to_group, choose_group
from api.uploads.upload_file import check_free_space
from api.web.describe_route import JSON, allows_unknown_names, answers, audits, takes_unread_body
from api.web.disclosed import note_disclosed
from minipacs.errors import ArchiveRefused, ArchiveUnreachable, BadRequest, NotAllowed, NotFound
from minipacs.formats.uids import is_uid

blueprint = Blueprint("gateway", __name__, url_prefix="/dicom-web")

DICOM_JSON = "application/dicom+json"
CHUNK_BYTES = 256 * 1024
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 300.0
FRAME_TIMEOUT_S = 60.0
ATTEMPTS = 3
"""Of a GET, whose kept connection may have gone stale."""
FRAME_MAX_AGE_S = 3600
"""A browser keeps a frame for so long."""
FRAME_CACHE_HEADERS = {
    "Cache-Control": f"private, max-age={FRAME_MAX_AGE_S}",
    "Vary": "Accept, Authorization, Cookie",
}
"""It is shown again to who sends the same proof, not to the next user of the browser."""
MIN_GZIP_BYTES = 1024
"""Longer JSON is compressed: the metadata of 300 slices, 1.35 MB, to 35 kB."""
HOP_BY_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailers",
        "transfer-encoding",
        "upgrade",
    ]
)  # RFC 9110 7.6.1
NOT_FORWARDED = frozenset(["cookie", "authorization", "host", "content-length", "accept-encoding", "expect"])
"""Not passed on: our login, and Accept-Encoding, because Orthanc's gzip makes frames 25 times slower."""
NAMED_STUDY = re.compile(rb'"0020000D":\s*{[^}]*?"Value":\s*\[\s*"([0-9.]+)"|/studies/([0-9.]+)')
"""A study in an answer: its UID, or the address of what was stored."""
NOT_RELAYED = frozenset(["www-authenticate", "set-cookie"])

logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # its warnings of retries show names of patients


@blueprint.get("/<path:path>")
@allows_unknown_names
@answers("multipart/related", DICOM_JSON, JSON, "image/*")
def search_or_retrieve(path: str) -> Response:
    """QIDO-RS and WADO-RS; the query has matching keys of the Standard."""
    if not paths.is_allowed_to_read(path):
        raise NotFound(f"DICOMweb has no resource {path} here.", "Studies are below /dicom-web/studies.")
    if (found := _answer_from_catalogue(path.strip("/"))) is not None:
        return _make_json_response(found.get_data(), 200, list(found.headers))
    path = restricted_search.hide_study_of_path(path)
    if (frame := _fetch_frame(path)) is not None:
        return Response(frame.body, 200, {"Content-Type": frame.content_type, **FRAME_CACHE_HEADERS})
    return _relay_response(path, _request_archive("GET", path))


def _answer_from_catalogue(path: str) -> Response | None:
    """The answer to a question for studies or series, where the catalogue can give it."""
    if path == "studies":
        return qido_studies.answer_studies()
    study, _, rest = path.removeprefix("studies/").partition("/")
    if path == "series":
        return qido_series.answer_series(None)
    return qido_series.answer_series(study) if path.startswith("studies/") and rest == "series" else None


def _fetch_frame(path: str) -> Frame | None:
    """The frames of this path by the quick client, where it can get them."""
    if not paths.is_frames_path(path) or request.query_string:
        return None
    headers = _headers_of_gateway()
    if "Accept" in request.headers:
        headers["Accept"] = request.headers["Accept"]
    try:
        with context().archive_waits.wait(FRAME_TIMEOUT_S) as timeout_s:
            return context().frame_client.get(paths.to_archive_path(path), headers, timeout_s)
    except TimeoutError as error:
        raise _make_unreachable(error) from error


@blueprint.post("/studies", defaults={"study": None})
@blueprint.post("/studies/<study>")
@audits("upload")
@takes_unread_body("multipart/related", "application/dicom")
@allows_unknown_names
@answers(DICOM_JSON, "application/dicom+xml")
def store_instances(study: str | None) -> Response:
    """STOW-RS; the body streams through, as long as an upload may be.

    Who sees the studies of groups alone stores by the study's own address.
    """
    request.max_content_length = context().settings.upload_mb * 2**20
    check_free_space(context().settings, min(request.content_length or 0, request.max_content_length))
    if study is not None and not is_uid(study):
        raise NotFound("DICOMweb has no such study here.", "A UID has digits and dots (PS3.5 9.1).")
    path = f"studies/{study}" if study else "studies"
    with assign_stored_study_to_group(study):
        answer = _request_archive("POST", path)
    return _relay_response(path, answer)


def assign_stored_study_to_group(study: str | None) -> AbstractContextManager[None]:
    """See that the user may add to this study; a new one goes into the user's group, or the one of `?group=`."""
    group = choose_group(request.args.get("group", ""))
    if study is not None:
        return assign_to_group(study, group)
    if not context().sees_all:
        raise NotAllowed("You store to the studies of your groups.", "POST to /dicom-web/studies/STUDY.")
    if group:
        raise BadRequest("The address names no study to put into the group.", "POST to /dicom-web/studies/STUDY.")
    return nullcontext()


def _request_archive(method: str, path: str) -> ArchiveAnswer:
    """Ask Orthanc; a GET whose kept connection had gone stale is asked again."""
    url = context().settings.orthanc_url + _archive_path_with_query(path)
    try:
        answer = _request_once(method, url, _headers_for_archive(path))
        if answer.status == 500 and paths.is_frames_path(path):
            answer.read()  # so that its connection is kept
            answer = _request_once(
                method, url, {**_headers_for_archive(path), "Accept": orthanc_fixes.UNCOMPRESSED_FRAMES}
            )
        if answer.status == 404:
            answer.read()
    except urllib3.exceptions.HTTPError as error:
        raise _make_unreachable(error) from error
    if answer.status in (401, 403):
        answer.close()
        raise ArchiveRefused("The archive refused our credentials.", "Check MINIPACS_ORTHANC_PASSWORD.")
    if answer.status == 404:  # Orthanc's own words would say whether it is somewhere else
        raise NotFound("The archive has nothing at this address.", "GET /dicom-web/studies lists its studies.")
    return answer


def _archive_path_with_query(path: str) -> str:
    given = request.query_string.decode("ascii", "replace")
    query = orthanc_fixes.decode_query(restricted_search.hide_studies_of_query(path, given))
    return paths.to_archive_path(path) + (f"?{query}" if query else "")


def _make_unreachable(error: Exception) -> ArchiveUnreachable:
    return ArchiveUnreachable(f"The archive does not answer ({type(error).__name__}).", "Try again in a moment.")


def _request_once(method: str, url: str, headers: dict[str, str]) -> ArchiveAnswer:
    """The beginning of Orthanc's answer. A GET that finds a connection closed is sent again, one that waited is not."""
    if method == "POST":
        received = request.stream  # a body that says it is too long is refused here, before the archive is asked
        with ExitStack() as until_answered:
            return _send(method, url, headers, READ_TIMEOUT_S, body=_iterate_body(received, until_answered))

    for attempt in range(1, ATTEMPTS + 1):
        try:
            with context().archive_waits.wait(READ_TIMEOUT_S) as timeout_s:
                return _send(method, url, headers, timeout_s)
        except (urllib3.exceptions.ProtocolError, urllib3.exceptions.NewConnectionError):
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _iterate_body(received: IO[bytes], until_answered: ExitStack) -> Iterator[bytes]:
    """The client's body, then the wait for the archive's answer: while the body comes, the client is waited for."""
    while block := received.read(CHUNK_BYTES):
        yield block
    until_answered.enter_context(context().wait_limits.wait_for("the archive to store what was sent"))


def _send(
    method: str, url: str, headers: dict[str, str], timeout_s: float, body: Iterator[bytes] | None = None
) -> ArchiveAnswer:
    response = context().orthanc_connections.request(
        method,
        url,
        headers=headers,
        body=body,
        preload_content=False,
        decode_content=False,
        redirect=False,
        retries=False,
        timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT_S, timeout_s), read=timeout_s),
    )
    return ArchiveAnswer(response, context().archive_waits)


def _headers_for_archive(path: str) -> dict[str, str]:
    """The client's headers that Orthanc should see, and ours.

    A search is always answered in JSON, the default of PS3.18 10.6: only so its studies are read for the audit.
    """
    dropped = HOP_BY_HOP | NOT_FORWARDED
    headers = {name: value for name, value in request.headers if name.lower() not in dropped}
    headers |= _headers_of_gateway()
    if request.method == "GET" and restricted_search.is_search(path):
        headers["Accept"] = DICOM_JSON
    if request.method == "POST" and request.content_length is not None:
        headers["Content-Length"] = str(request.content_length)
    return headers


def _headers_of_gateway() -> dict[str, str]:
    """The headers that every request to Orthanc has from us. The Host is the client's: RetrieveURLs are built of it."""
    return {
        "Host": request.host,
        "Forwarded": f"host={request.host};proto={request.scheme}",  # RFC 7239
        "Authorization": context().orthanc_authorization,
    }


def _relay_response(path: str, answer: ArchiveAnswer) -> Response:
    """Orthanc's answer, corrected and streamed."""
    dropped = HOP_BY_HOP | NOT_RELAYED
    headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in dropped]
    if "json" in answer.headers.get("Content-Type", "") and answer.status == 200:
        return _relay_json_response(path, answer, headers)
    if request.method == "POST":  # in XML, or of a store that failed in part
        body = _read_body(answer)
        note_named_studies(body)
        return Response(body, answer.status, headers)
    if paths.is_frames_path(path) and answer.status == 200:
        headers.extend(FRAME_CACHE_HEADERS.items())
    return _stream_response(answer, headers)


def _stream_response(answer: ArchiveAnswer, headers: list[tuple[str, str]]) -> Response:
    """The answer as it comes. Its first block is waited for here, so that one that stalls is refused in words."""
    try:
        answer.wait_for_first_block()
    except urllib3.exceptions.HTTPError as error:
        raise _make_unreachable(error) from error
    response = Response(answer.iterate_blocks(), answer.status, headers, direct_passthrough=True)
    response.call_on_close(answer.close)
    return response


def _relay_json_response(path: str, answer: ArchiveAnswer, headers: list[tuple[str, str]]) -> Response:
    body = _read_body(answer)
    note_named_studies(body)
    if request.method == "GET":
        body = restricted_search.hide_in_answer(path, orthanc_fixes.leave_out_empty_modalities(path, body))
    return _make_json_response(body, answer.status, headers)


def note_named_studies(body: bytes) -> None:
    """Note the studies that an answer names, for the audit."""
    note_disclosed(found[found.lastindex or 0].decode() for found in NAMED_STUDY.finditer(body))


def _make_json_response(body: bytes, status: int, headers: list[tuple[str, str]]) -> Response:
    """JSON, compressed when the client can."""
    headers = [(name, value) for name, value in headers if name.lower() not in ("content-length", "content-encoding")]
    headers.append(("Vary", "Accept-Encoding"))
    headers.append(("Cache-Control", "no-cache"))
    if request.accept_encodings.quality("gzip") and len(body) > MIN_GZIP_BYTES:
        body = gzip.compress(body, 5, mtime=0)
        headers.append(("Content-Encoding", "gzip"))
    return Response(body, status, headers)


def _read_body(answer: ArchiveAnswer) -> bytes:
    try:
        return answer.read()
    except urllib3.exceptions.HTTPError as error:
        raise _make_unreachable(error) from error
