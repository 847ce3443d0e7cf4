"""NVIDIA VISTA-3D as a self-hosted NIM: a server of its own, reached over HTTP.

MINIPACS_VISTA3D_URL is its address, the only host that is ever contacted; MINIPACS_VISTA3D_ADDRESS is where
it reaches our front door, from which it fetches the image by a signed link that ends. Parameters of a
rule: `classes` (names or numbers of its labels; all without). Points may be prompts, one structure each.
Contract: `GET /v1/health/ready`, `GET /v1/vista3d/info`, `POST /v1/vista3d/inference`. Light to import.
"""

import io
import json
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, TypedDict, cast
from urllib.parse import urlsplit

from minipacs import signed_files
from minipacs.errors import EngineFailed, EngineUnavailable, ExceedsMemory, WrongPrompts
from minipacs.memory.bounded_reads import MIN_READ_BYTES, BoundedReads
from minipacs.memory.size_limits import current_limits
from minipacs.settings import Settings
from segmentation.engine import Progress, no_progress
from segmentation.labelmap import Labelmap, Segment
from segmentation.prompts import Point, Prompt

if TYPE_CHECKING:
    import httpx
    from highdicom import Volume

NAME, TITLE = "vista3d", "VISTA-3D"
IMAGE = "image.nii.gz"
CONNECT_S = 5.0
"""Seconds for a connection, and for a short answer."""
INFO_MAX_AGE_S = 60
"""What the server says of itself is believed for so long."""
MAX_POINTS = 100
MAX_HEADER_BYTES = 2**20
"""A label file has so many bytes at most before and after its voxels, which may take what a volume may."""
BLOCK_BYTES = 2**20
MAX_ERROR_CHARACTERS = 200
"""Of what the server says of its error."""
UNSEEN = 255
"""The value of voxels that NV-Segment-CT did not look at."""
HOW_TO_SET = "Set MINIPACS_VISTA3D_URL to the address of a running VISTA-3D NIM, such as http://gpu-server:8000."
SUFFIXES = {b"\x1f\x8b": ".nii.gz", b"NRRD": ".nrrd"}
"""Of label files, by their first bytes; others are .nii."""


class ServerInfo(TypedDict):
    """What the server says of itself, as it is kept in HOME."""

    url: str
    version: str
    labels: dict[str, str]
    """Name by value, the value as decimal digits; without background."""


class Vista3d:
    """The engine on the server that is set."""

    name = NAME
    modalities = frozenset({"CT"})
    needs = "cpu"
    needs_prompts = False
    takes_prompts = True

    def __init__(self, settings: Settings, info: ServerInfo, parameters: Mapping[str, Any]) -> None:
        self._settings = settings
        self._labels = {int(value): name for value, name in info["labels"].items()}
        self.version = info["version"]
        self.parameters = parameters
        self.stall_s: float | None = float(settings.engine_limit_s)  # it waits, and uses no processor here

    def check(self) -> None:
        """Raise `EngineUnavailable` while the server is not ready."""
        response = _send_get_request(self._settings, "/v1/health/ready")
        if not 200 <= response.status_code < 300:
            raise EngineUnavailable(f"{TITLE} is not ready (HTTP {response.status_code}).", "Wait, or look at its log.")

    def segment(
        self,
        volume: "Volume",
        prompts: Sequence[Prompt] = (),
        progress: Progress = no_progress,
        *,
        modality: str = "CT",
    ) -> Labelmap:
        """The classes of the rule, or the structures clicked at; names as the server has them, coded where known."""
        from segmentation.engines import foreign

        wanted = self._make_request_body(prompts, volume)
        limit_s = self._settings.engine_limit_s

        with (
            signed_files.offer_file(self._settings, IMAGE, limit_s) as offer,
            TemporaryDirectory(prefix="minipacs-") as folder,
        ):
            progress("hand over")
            foreign.write_volume(volume, offer.file)
            address = (self._settings.vista3d_address or self._settings.front_door_url).rstrip("/")

            progress(TITLE)
            content = _request_inference(self._settings, {"image": address + offer.link, "prompts": wanted}, limit_s)

            progress("take back")
            labels = foreign.read_labels(TITLE, _unpack_label_file(content, Path(folder)), volume)

        labels[labels == UNSEEN] = 0
        known = {value: _make_segment(value, name, has_prompts=bool(prompts)) for value, name in self._labels.items()}
        array, segments = foreign.renumber_labels(labels, known, TITLE)
        if not segments:
            raise EngineFailed(f"{TITLE} found nothing of what was asked for in this series.")

        return Labelmap(array, volume.get_geometry(), segments)

    def _make_request_body(self, prompts: Sequence[Prompt], volume: "Volume") -> dict[str, Any]:
        """`{"classes": […]}`, or `{"points": {label: [[i, j, k]]}}` in the indices of the file it fetches."""
        if not prompts:
            classes = self.parameters["classes"] or [name for value, name in sorted(self._labels.items()) if value]
            return {"classes": list(classes)}

        points: dict[str, list[list[int]]] = {}

        for prompt in prompts:
            if not isinstance(prompt, Point) or not prompt.positive:
                raise WrongPrompts(f"{TITLE} takes positive points only.", "Leave out boxes and negative points.")
            if prompt.label not in self._labels.values():
                raise WrongPrompts(f"{TITLE} has no structure {prompt.label!r}.", "Name one of its labels.")
            points.setdefault(prompt.label, []).append(_to_file_index(prompt, volume))

        if len(prompts) > MAX_POINTS:
            raise WrongPrompts(f"{TITLE} takes at most {MAX_POINTS} points at once.", "Send fewer.")

        return {"points": points}


def create(settings: Settings, *, classes: Sequence[str | int] = ()) -> Vista3d:
    """Create the engine; raises `EngineUnavailable` where no server is set, or it never said what it has.

    What it said is kept in HOME, so that the identity of results does not change while it is away.
    """
    if not settings.vista3d_url:
        raise EngineUnavailable("No VISTA-3D server is set.", HOW_TO_SET)

    if urlsplit(settings.vista3d_url).scheme not in ("http", "https") or not urlsplit(settings.vista3d_url).hostname:
        raise EngineUnavailable("MINIPACS_VISTA3D_URL is not an http address.", HOW_TO_SET)

    info = _read_server_info(settings, int(time.monotonic() // INFO_MAX_AGE_S))
    known = set(info["labels"].values()) | {int(value) for value in info["labels"]}
    if unknown := [wanted for wanted in classes if wanted not in known]:
        raise EngineUnavailable(f"{TITLE} has no class {unknown[0]!r}.", "Correct the rule.")

    return Vista3d(settings, info, {"classes": list(classes)})


@lru_cache(maxsize=8)
def _read_server_info(settings: Settings, period: int) -> ServerInfo:
    """What the server says of itself, or said the last time. `period`: it is read once in each."""
    file = settings.home / f"{NAME}.json"

    try:
        response = _send_get_request(settings, "/v1/vista3d/info")
        response.raise_for_status()
        answer = response.json()
        info = ServerInfo(
            url=settings.vista3d_url, version=str(answer["version"]), labels=_parse_labels(answer["labels"])
        )
    except (EngineUnavailable, ValueError, KeyError, TypeError, _import_httpx().HTTPError) as error:
        if last := _read_saved_server_info(file, settings.vista3d_url):
            return last
        if isinstance(error, EngineUnavailable):
            raise
        raise EngineUnavailable(f"{TITLE} does not say what it knows ({type(error).__name__}).", HOW_TO_SET) from error

    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(info), "utf-8")

    return info


def _read_saved_server_info(file: Path, url: str) -> ServerInfo | None:
    """What the server at this address said the last time."""
    if not file.is_file():
        return None

    info: ServerInfo = json.loads(file.read_text("utf-8"))
    return info if info.get("url") == url else None


def _parse_labels(table: Any) -> dict[str, str]:
    """Value → name, from a table of value → name or name → value; background left out."""
    pairs = {str(key): str(value) for key, value in table.items()}
    if not all(key.isdigit() for key in pairs):
        pairs = {value: name for name, value in pairs.items()}

    return {str(int(value)): name for value, name in pairs.items() if int(value)}


def _make_segment(value: int, name: str, *, has_prompts: bool) -> Segment:
    from segmentation.vocabulary import anatomy, codes

    segment = anatomy.find_structure(name) or Segment(
        name[:64], codes.TISSUE, codes.TISSUE, color=anatomy.choose_color(value)
    )
    return replace(segment, algorithm="SEMIAUTOMATIC" if has_prompts else "AUTOMATIC")


def _to_file_index(point: Point, volume: "Volume") -> list[int]:
    """(column, row, slice) of the point; raises `WrongPrompts` for one outside the volume."""
    import numpy as np

    (index,) = volume.map_reference_to_indices(np.array([point.position]), round_output=True)
    k, j, i = (int(axis) for axis in index)
    if not all(0 <= x < n for x, n in zip((k, j, i), volume.spatial_shape, strict=True)):
        raise WrongPrompts("A point lies outside the volume.", "Click inside the images.")

    return [i, j, k]


def _request_inference(settings: Settings, body: Mapping[str, Any], limit_s: float) -> bytes:
    """The label file or ZIP. A refusal (4xx) is final; no answer and 5xx are worth another attempt."""
    httpx = _import_httpx()

    try:
        timeout = httpx.Timeout(CONNECT_S, read=limit_s)
        address = _make_url(settings, "/v1/vista3d/inference")
        with httpx.stream("POST", address, json=body, timeout=timeout) as response:
            content = _read_bounded(response)
    except httpx.HTTPError as error:
        raise EngineFailed(
            f"{TITLE} did not answer ({type(error).__name__}).", "Is it running? See its log."
        ) from error

    if response.status_code != 200:
        text = content.decode("utf-8", "replace")[:MAX_ERROR_CHARACTERS].strip()
        message = f"{TITLE} answered HTTP {response.status_code}: {text}"
        if 400 <= response.status_code < 500:
            raise EngineUnavailable(message, "Check the classes, and that it may fetch from MINIPACS_VISTA3D_ADDRESS.")
        raise EngineFailed(message, "See its log; is its GPU's memory enough for this series?")

    return content


def _compute_most_bytes() -> int:
    """The bytes that a label file may have, packed or unpacked."""
    return current_limits().volume_bytes + MAX_HEADER_BYTES


def _read_bounded(response: "httpx.Response") -> bytes:
    """The body, no more of it than a label file may have; raises `EngineFailed`."""
    most, content = _compute_most_bytes(), bytearray()
    for block in response.iter_bytes(BLOCK_BYTES):
        content += block
        if len(content) > most:
            raise EngineFailed(f"{TITLE} sent more than {most} bytes.", "Is it a label file? See MINIPACS_VOLUME_MB.")
    return bytes(content)


def _unpack_label_file(content: bytes, folder: Path) -> Path:
    """The one label file, raw or out of a ZIP, under a name of ours. The bytes decide, not what they are called.

    Raises `EngineFailed` for a ZIP that claims or holds more than a label file may have, before it is unpacked.
    """
    if content[:4] == b"PK\x03\x04":
        try:
            with zipfile.ZipFile(cast(IO[bytes], BoundedReads(io.BytesIO(content), MIN_READ_BYTES))) as archive:
                content = _unpack_label_entry(archive)
        except (zipfile.BadZipFile, zlib.error, ExceedsMemory, RuntimeError, EOFError) as error:
            raise EngineFailed(f"{TITLE} sent a ZIP that cannot be read ({type(error).__name__}).") from error

    suffix = next((suffix for start, suffix in SUFFIXES.items() if content.startswith(start)), ".nii")
    path = folder / f"labels{suffix}"
    path.write_bytes(content)

    return path


def _unpack_label_entry(archive: zipfile.ZipFile) -> bytes:
    """The one label file in a ZIP, of which no more is unpacked than its entry claims."""
    entries = [each for each in archive.infolist() if each.filename.endswith((".nrrd", ".nii", ".nii.gz"))]
    if len(entries) != 1:
        raise EngineFailed(f"{TITLE} sent a ZIP with {len(entries)} label files; one is expected.")
    (entry,) = entries
    if entry.file_size > _compute_most_bytes():
        raise EngineFailed(f"{TITLE} sent a ZIP whose label file takes {entry.file_size} bytes, more than it may.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise EngineFailed(f"{TITLE} sent a ZIP that is packed in another way than deflate.")
    with archive.open(entry) as file:
        return file.read(entry.file_size)  # without a size zipfile unpacks all there is, whatever is claimed


def _send_get_request(settings: Settings, path: str) -> "httpx.Response":
    try:
        response: httpx.Response = _import_httpx().get(_make_url(settings, path), timeout=CONNECT_S)
    except _import_httpx().HTTPError as error:
        raise EngineUnavailable(f"{TITLE} does not answer ({type(error).__name__}).", HOW_TO_SET) from error

    return response


def _make_url(settings: Settings, path: str) -> str:
    """On the server that is set, and no other: redirects are not followed."""
    return settings.vista3d_url.rstrip("/") + path


def _import_httpx() -> Any:
    """The library, imported where it is needed: this module is light."""
    import httpx

    return httpx
