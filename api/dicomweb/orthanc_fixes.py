"""What Orthanc 1.10.1 with DICOMweb 1.7 is known to get wrong, made good; each mend has a test named after it."""

import json
import re
from typing import Any
from urllib.parse import parse_qsl, quote

UID = r"[0-9.]{1,64}"
LEVEL = rf"studies(/{UID}(/series(/{UID}(/instances(/{UID})?)?)?)?)?"
READABLE = re.compile(
    rf"^({LEVEL}|studies/{UID}/(series|instances)|series|instances"
    rf"|studies/{UID}(/series/{UID})?/(metadata|instances|rendered|thumbnail)"
    rf"|studies/{UID}/series/{UID}/instances/{UID}/(metadata|rendered|thumbnail|bulk/[0-9A-Fa-f/]+"
    rf"|frames/[0-9,]+(/rendered|/thumbnail)?))/?$"
)
"""The resources of PS3.18 10.4 and 10.6, and nothing else of the archive."""
UNCOMPRESSED_FRAMES = "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
MODALITIES_IN_STUDY = "00080061"


def may_be_read(path: str) -> bool:
    """Whether a GET of this path below /dicom-web/ may pass."""
    return bool(READABLE.match(path))


def wants_frames(path: str) -> bool:
    """Whether it asks for pixel data of frames."""
    return "/frames/" in path


def quoted(path: str) -> str:
    """The path, safe to put into a URL."""
    return quote(path, safe="/,.")


def decoded_query(query: str) -> str:
    """Orthanc does not percent-decode query strings: decode here.

    What may not stand in a URL unencoded becomes the one-character wildcard `?` (PS3.4 C.2.2.2.4),
    and the backslash between UIDs (PS3.5 6.2) the comma that Orthanc expects.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(f"{name}={_wild(value)}" for name, value in pairs if re.fullmatch(r"[A-Za-z0-9.]+", name))


def _wild(value: str) -> str:
    return re.sub(r"[^A-Za-z0-9.,*?_:~@/=-]", "?", value.replace("\\", ","))


def mended_json(path: str, body: bytes) -> bytes:
    """One study without Modality ends OHIF's whole study list: an empty ModalitiesInStudy is left out."""
    if path.strip("/") != "studies":
        return body
    studies: list[dict[str, Any]] = json.loads(body)
    for study in studies:
        if not study.get(MODALITIES_IN_STUDY, {}).get("Value"):
            study.pop(MODALITIES_IN_STUDY, None)
    return json.dumps(studies, separators=(",", ":")).encode()
