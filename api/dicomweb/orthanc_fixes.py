"""Corrections of what Orthanc 1.10.1 with DICOMweb 1.7 is known to get wrong; each has a test named after the fault."""

import json
import re
from typing import Any
from urllib.parse import parse_qsl

UNCOMPRESSED_FRAMES = "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
"""Orthanc answers 500 for frames that it cannot send in their own transfer syntax; for these it does not."""
MODALITIES_IN_STUDY = "00080061"


def decode_query(query: str) -> str:
    """Decode a query string, because Orthanc does not percent-decode it.

    What may not stand in a URL unencoded becomes the one-character wildcard `?` (PS3.4 C.2.2.2.4),
    and the backslash between UIDs (PS3.5 6.2) the comma that Orthanc expects.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    with_plain_name = [(name, value) for name, value in pairs if re.fullmatch(r"[A-Za-z0-9.]+", name)]
    return "&".join(f"{name}={_replace_unsafe_characters(value)}" for name, value in with_plain_name)


def _replace_unsafe_characters(value: str) -> str:
    return re.sub(r"[^A-Za-z0-9.,*?_:~@/=-]", "?", value.replace("\\", ","))


def leave_out_empty_modalities(path: str, body: bytes) -> bytes:
    """Leave an empty ModalitiesInStudy out of a list of studies: one such study ends OHIF's whole list."""
    if path.strip("/") != "studies":
        return body
    studies: list[dict[str, Any]] = json.loads(body)
    for study in studies:
        if not study.get(MODALITIES_IN_STUDY, {}).get("Value"):
            study.pop(MODALITIES_IN_STUDY, None)
    return json.dumps(studies, separators=(",", ":")).encode()
