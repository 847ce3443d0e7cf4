"""DICOMweb for the viewer and for scripts: a gateway to Orthanc that adds its credentials.

One origin, one login: no CORS, no second password. Only the resources that PS3.18 10 names for
retrieving, searching and storing studies pass; never Orthanc's own `/servers` and the like. Answers
stream through; the lists of studies and series are the catalogue's (`api.dicomweb.qido_studies`).
`api.dicomweb.orthanc_fixes` corrects what Orthanc 1.10.1 is known to get wrong.
"""

import gzip
import logging
from collections.abc import Iterator

import urllib3
from flask import Blueprint, Response, current_app, request

from api.context import context
from api.dicomweb import frame_client, orthanc_fixes, qido_series, qido_studies
from api.web.describe_route import JSON, allows_unknown_names, answers, audits, takes_unread_body
from minipacs.errors import ArchiveRefused, ArchiveUnreachable, NotFound

blueprint = Blueprint("gateway", __name__, url_prefix="/dicom-web")

DICOM_JSON = "application/dicom+json"
CHUNK = 256 * 1024
CONNECTIONS = 32
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
NOT_RELAYED = frozenset(["www-authenticate", "set-cookie"])

logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # its warnings of retries show names of patients


@blueprint.get("/<path:path>")
@allows_unknown_names
@answers("multipart/related", DICOM_JSON, JSON, "image/*")
def retrieve(path: str) -> Response:
    """QIDO-RS and WADO-RS; the query has matching keys of the Standard."""
    if not orthanc_fixes.may_be_read(path):
        raise NotFound(f"DICOMweb has no resource {path} here.", "Studies are below /dicom-web/studies.")
    if (found := _answer_from_catalogue(path.strip("/"))) is not None:
        return _reply_json(found.get_data(), 200, list(found.headers))
    short = orthanc_fixes.wants_frames(path) and not request.query_string
    if short and (frame := frame_client.get(context(), path, request.environ)) is not None:
        return Response(frame.body, 200, frame.headers)
    return _relay(path, _request_archive("GET", path))


def _answer_from_catalogue(path: str) -> Response | None:
    """The answer to a question for studies or series, where the catalogue can give it."""
    if path == "studies":
        return qido_studies.answer()
    study, _, rest = path.removeprefix("studies/").partition("/")
    if path == "series":
        return qido_series.answer(None)
    return qido_series.answer(study) if path.startswith("studies/") and rest == "series" else None


@blueprint.post("/studies", defaults={"study": None})
@blueprint.post("/studies/<study>")
@audits("upload")
@takes_unread_body("multipart/related", "application/dicom")
@allows_unknown_names
@answers(DICOM_JSON, "application/dicom+xml")
def store(study: str | None) -> Response:
    """STOW-RS; the body streams through."""
    path = f"studies/{study}" if study else "studies"
    return _relay(path, _request_archive("POST", path))


def _request_archive(method: str, path: str) -> urllib3.BaseHTTPResponse:
    """Ask Orthanc; a GET whose kept connection had gone stale is asked again."""
    url = context().settings.orthanc_url + _target(path)
    try:
        answer = _request_once(method, url, _request_headers())
        if answer.status == 500 and orthanc_fixes.wants_frames(path):
            answer.drain_conn()
            answer = _request_once(method, url, {**_request_headers(), "Accept": orthanc_fixes.UNCOMPRESSED_FRAMES})
    except urllib3.exceptions.HTTPError as error:
        raise ArchiveUnreachable(
            f"The archive does not answer ({type(error).__name__}).", "Try again in a moment."
        ) from error
    if answer.status in (401, 403):
        answer.release_conn()
        raise ArchiveRefused("The archive refused our credentials.", "Check MINIPACS_ORTHANC_PASSWORD.")
    return answer


def _target(path: str) -> str:
    query = orthanc_fixes.decoded_query(request.query_string.decode("ascii", "replace"))
    return f"/dicom-web/{orthanc_fixes.quoted(path)}" + (f"?{query}" if query else "")


def _request_once(method: str, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
    body = request.stream if method == "POST" else None
    retries = urllib3.Retry(connect=2, read=2, redirect=False, status=False, backoff_factor=0.05)
    return _pool().request(
        method,
        url,
        headers=headers,
        body=body,
        preload_content=False,
        decode_content=False,
        redirect=False,
        retries=retries if method == "GET" else False,
    )


def _request_headers() -> dict[str, str]:
    """The client's headers less ours alone. The Host is kept: Orthanc builds RetrieveURLs from it."""
    dropped = HOP_BY_HOP | NOT_FORWARDED
    headers = {name: value for name, value in request.headers if name.lower() not in dropped}
    headers["Authorization"] = context().orthanc_authorization
    headers["Host"] = request.host
    headers["Forwarded"] = f"host={request.host};proto={request.scheme}"  # RFC 7239
    if request.method == "POST" and request.content_length is not None:
        headers["Content-Length"] = str(request.content_length)
    return headers


def _relay(path: str, answer: urllib3.BaseHTTPResponse) -> Response:
    """Orthanc's answer, corrected and streamed."""
    dropped = HOP_BY_HOP | NOT_RELAYED
    headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in dropped]
    if "json" in answer.headers.get("Content-Type", "") and answer.status == 200:
        return _relay_json(path, answer, headers)
    if orthanc_fixes.wants_frames(path) and answer.status == 200:
        headers.append(("Cache-Control", f"private, max-age={frame_client.KEPT_S}"))
    return Response(_stream(answer), answer.status, headers, direct_passthrough=True)


def _relay_json(path: str, answer: urllib3.BaseHTTPResponse, headers: list[tuple[str, str]]) -> Response:
    body = answer.read()
    if request.method == "GET":
        body = orthanc_fixes.mended_json(path, body)
    answer.release_conn()
    return _reply_json(body, answer.status, headers)


def _reply_json(body: bytes, status: int, headers: list[tuple[str, str]]) -> Response:
    """JSON, compressed when the client can."""
    headers = [(name, value) for name, value in headers if name.lower() not in ("content-length", "content-encoding")]
    headers.append(("Vary", "Accept-Encoding"))
    headers.append(("Cache-Control", "no-cache"))
    if request.accept_encodings.quality("gzip") and len(body) > 1024:  # 300 slices of metadata: 1.35 MB → 35 kB
        body = gzip.compress(body, 5, mtime=0)
        headers.append(("Content-Encoding", "gzip"))
    return Response(body, status, headers)


def _stream(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    try:
        yield from answer.stream(CHUNK, decode_content=False)
    finally:
        answer.release_conn()


def _pool() -> urllib3.PoolManager:
    """One pool of connections a process."""
    kept = current_app.extensions
    if "minipacs_orthanc" not in kept:
        timeout = urllib3.Timeout(connect=5, read=300)
        kept["minipacs_orthanc"] = urllib3.PoolManager(maxsize=CONNECTIONS, block=False, timeout=timeout)
    pool: urllib3.PoolManager = kept["minipacs_orthanc"]
    return pool
