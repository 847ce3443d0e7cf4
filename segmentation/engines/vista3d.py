"""NVIDIA VISTA-3D as a self-hosted NIM: a server of its own, asked over HTTP.

MINIPACS_VISTA3D_URL is its address, the only host that is ever asked; MINIPACS_VISTA3D_ADDRESS is where
it reaches our front door, from which it fetches the image by a signed link that ends. Parameters of a
rule: `classes` (names or numbers of its labels; all without). Points may be prompts, one structure each.
Contract: `GET /v1/health/ready`, `GET /v1/vista3d/info`, `POST /v1/vista3d/inference`. Light to import.
"""

import io
import json
import time
import zipfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from minipacs import signed_files
from minipacs.errors import EngineFailed, EngineUnavailable, WrongPrompts
from minipacs.settings import Settings
from segmentation.engine import Progress, no_progress
from segmentation.labelmap import Labelmap, Segment
from segmentation.prompts import Point, Prompt

if TYPE_CHECKING:
    import httpx
    from highdicom import Volume

NAME, SAYS = "vista3d", "VISTA-3D"
IMAGE = "image.nii.gz"
QUICK_S = 5.0
FRESH_S = 60
"""What the server told of itself is believed for so long."""
MOST_POINTS = 100
MOST_BYTES = 2 * 1024**3
"""A label file larger than this, packed or unpacked, is not taken."""
SET_IT = "Set MINIPACS_VISTA3D_URL to the address of a running VISTA-3D NIM, such as http://gpu-server:8000."
FORMATS = {b"\x1f\x8b": ".nii.gz", b"NRRD": ".nrrd"}
"""How files begin."""


class Vista3d:
    """See the module."""

    name = NAME
    modalities = frozenset({"CT"})
    needs = "cpu"
    needs_prompts = False
    takes_prompts = True

    def __init__(self, settings: Settings, told: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        self._settings = settings
        self._labels: dict[int, str] = {int(value): str(name) for value, name in told["labels"].items()}
        self.version = str(told["version"])
        self.parameters = parameters
        self.stall_s = float(settings.engine_limit_s)  # it waits for a server, and uses no processor here

    def check(self) -> None:
        """Raises `EngineUnavailable` while the server is not ready."""
        answer = _get(self._settings, "/v1/health/ready")
        if not 200 <= answer.status_code < 300:
            raise EngineUnavailable(f"{SAYS} is not ready (HTTP {answer.status_code}).", "Wait, or look at its log.")

    def segment(
        self,
        volume: "Volume",
        prompts: Sequence[Prompt] = (),
        progress: Progress = no_progress,
        *,
        modality: str = "CT",
    ) -> Labelmap:
        """The classes asked for, or the structures clicked at; names as the server has them, coded where known."""
        from segmentation.engines import foreign

        asked = self._prompts(prompts, volume)
        limit = self._settings.engine_limit_s
        with (
            signed_files.offer_file(self._settings, IMAGE, limit) as offer,
            TemporaryDirectory(prefix="minipacs-") as folder,
        ):
            progress("hand over")
            foreign.write_volume(volume, offer.file)
            address = (self._settings.vista3d_address or self._settings.address).rstrip("/")
            progress(SAYS)
            content = _infer(self._settings, {"image": address + offer.link, "prompts": asked}, limit)
            progress("take back")
            labels = foreign.read_labels(SAYS, _unpacked(content, Path(folder)), volume)
        labels[labels == 255] = 0  # NV-Segment-CT marks what it did not look at so
        meant = {value: _segment(value, name, bool(prompts)) for value, name in self._labels.items()}
        array, segments = foreign.exclusive(labels, meant, SAYS)
        if not segments:
            raise EngineFailed(f"{SAYS} found nothing of what was asked for in this series.")
        return Labelmap(array, volume.get_geometry(), segments)

    def _prompts(self, prompts: Sequence[Prompt], volume: "Volume") -> dict[str, Any]:
        """`{"classes": […]}`, or `{"points": {label: [[i, j, k]]}}` in the indices of the file it fetches."""
        import numpy as np

        if not prompts:
            classes = self.parameters["classes"] or [name for value, name in sorted(self._labels.items()) if value]
            return {"classes": list(classes)}
        points: dict[str, list[list[int]]] = {}
        for prompt in prompts:
            if not isinstance(prompt, Point) or not prompt.positive:
                raise WrongPrompts(f"{SAYS} takes positive points only.", "Leave out boxes and negative points.")
            if prompt.label not in self._labels.values():
                raise WrongPrompts(f"{SAYS} has no structure {prompt.label!r}.", "Name one of its labels.")
            k, j, i = (
                int(x) for x in volume.map_reference_to_indices(np.array([prompt.position]), round_output=True)[0]
            )
            if not all(0 <= x < n for x, n in zip((k, j, i), volume.spatial_shape, strict=True)):
                raise WrongPrompts("A point lies outside the volume.", "Click inside the images.")
            points.setdefault(prompt.label, []).append([i, j, k])
        if len(prompts) > MOST_POINTS:
            raise WrongPrompts(f"{SAYS} takes at most {MOST_POINTS} points at once.", "Send fewer.")
        return {"points": points}


def create(settings: Settings, *, classes: Sequence[str | int] = ()) -> Vista3d:
    """The engine; raises `EngineUnavailable` where no server is set, or it never told what it knows.

    What it told once is kept in HOME, so that the identity of results does not change while it is away.
    """
    if not settings.vista3d_url:
        raise EngineUnavailable("No VISTA-3D server is set.", SET_IT)
    if urlsplit(settings.vista3d_url).scheme not in ("http", "https") or not urlsplit(settings.vista3d_url).hostname:
        raise EngineUnavailable("MINIPACS_VISTA3D_URL is not an http address.", SET_IT)
    told = _told(settings, int(time.monotonic() // FRESH_S))
    names = {str(name) for name in told["labels"].values()} | {int(value) for value in told["labels"]}
    if unknown := [wanted for wanted in classes if wanted not in names]:
        raise EngineUnavailable(f"{SAYS} has no class {unknown[0]!r}.", "Correct the rule.")
    return Vista3d(settings, told, {"classes": list(classes)})


@lru_cache(maxsize=8)
def _told(settings: Settings, minute: int) -> dict[str, Any]:
    """`{"version", "labels": {value: name}}` as the server says, or as it said the last time."""
    kept = settings.home / f"{NAME}.json"
    try:
        answer = _get(settings, "/v1/vista3d/info")
        answer.raise_for_status()
        said = answer.json()
        told = {"url": settings.vista3d_url, "version": str(said["version"]), "labels": _labels(said["labels"])}
    except (EngineUnavailable, ValueError, KeyError, TypeError, _httpx().HTTPError) as error:
        before = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
        if before.get("url") == settings.vista3d_url:
            return dict(before)
        if isinstance(error, EngineUnavailable):
            raise
        raise EngineUnavailable(f"{SAYS} does not say what it knows ({type(error).__name__}).", SET_IT) from error
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(told), "utf-8")
    return told


def _labels(said: Any) -> dict[str, str]:
    """Value → name, from a table of value → name or name → value; background left out."""
    pairs = {str(a): str(b) for a, b in said.items()}
    if not all(key.isdigit() for key in pairs):
        pairs = {value: name for name, value in pairs.items()}
    return {str(int(value)): name for value, name in pairs.items() if int(value)}


def _segment(value: int, name: str, clicked: bool) -> Segment:
    from dataclasses import replace

    from segmentation.vocabulary import anatomy, codes

    known = anatomy.find(name) or Segment(name[:64], codes.TISSUE, codes.TISSUE, color=anatomy.color(value))
    return replace(known, algorithm="SEMIAUTOMATIC" if clicked else "AUTOMATIC")


def _infer(settings: Settings, asked: Mapping[str, Any], limit: float) -> bytes:
    """The label file or ZIP. A refusal (4xx) is final; no answer and 5xx are worth another attempt."""
    httpx = _httpx()
    try:
        timeout = httpx.Timeout(QUICK_S, read=limit)
        answer = httpx.post(_address(settings, "/v1/vista3d/inference"), json=asked, timeout=timeout)
    except httpx.HTTPError as error:
        raise EngineFailed(f"{SAYS} did not answer ({type(error).__name__}).", "Is it running? See its log.") from error
    if answer.status_code != 200:
        said = f"{SAYS} answered HTTP {answer.status_code}: {answer.text[:200].strip()}"
        if 400 <= answer.status_code < 500:
            raise EngineUnavailable(said, "Check the classes, and that it may fetch from MINIPACS_VISTA3D_ADDRESS.")
        raise EngineFailed(said, "See its log; is its GPU's memory enough for this series?")
    if len(answer.content) > MOST_BYTES:
        raise EngineFailed(f"{SAYS} sent a file larger than {MOST_BYTES} bytes.")
    return bytes(answer.content)


def _unpacked(content: bytes, folder: Path) -> Path:
    """The one label file, raw or out of a ZIP, under a name of ours. The bytes decide, not what they are called."""
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            inside = [entry for entry in packed.infolist() if entry.filename.endswith((".nrrd", ".nii", ".nii.gz"))]
            if len(inside) != 1 or inside[0].file_size > MOST_BYTES:
                raise EngineFailed(f"{SAYS} sent a ZIP with {len(inside)} label files; one is expected.")
            content = packed.read(inside[0])
    suffix = next((suffix for begin, suffix in FORMATS.items() if content.startswith(begin)), ".nii")
    path = folder / f"labels{suffix}"
    path.write_bytes(content)
    return path


def _get(settings: Settings, path: str) -> "httpx.Response":
    try:
        answer: httpx.Response = _httpx().get(_address(settings, path), timeout=QUICK_S)
    except _httpx().HTTPError as error:
        raise EngineUnavailable(f"{SAYS} does not answer ({type(error).__name__}).", SET_IT) from error
    return answer


def _address(settings: Settings, path: str) -> str:
    """On the server that was set, and no other: redirects are not followed."""
    return settings.vista3d_url.rstrip("/") + path


def _httpx() -> Any:
    import httpx

    return httpx
