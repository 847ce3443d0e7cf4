"""Which of Orthanc's DICOMweb resources may be read through the gateway, and how their paths are written."""

import re
from urllib.parse import quote

from minipacs.formats.uids import UID_PATTERN

UID = rf"(?=[0-9.]{{1,64}}(?:/|$)){UID_PATTERN}"
LEVEL = rf"studies(/{UID}(/series(/{UID}(/instances(/{UID})?)?)?)?)?"
READABLE = re.compile(
    rf"^({LEVEL}|studies/{UID}/(series|instances)|series|instances"
    rf"|studies/{UID}(/series/{UID})?/(metadata|instances|rendered|thumbnail)"
    rf"|studies/{UID}/series/{UID}/instances/{UID}/(metadata|rendered|thumbnail|bulk/[0-9A-Fa-f/]+"
    rf"|frames/[0-9,]+(/rendered|/thumbnail)?))/?$"
)
"""The resources of PS3.18 10.4 and 10.6, and nothing else of the archive."""


def is_allowed_to_read(path: str) -> bool:
    """Whether a GET of this path below /dicom-web/ may pass."""
    return READABLE.fullmatch(path) is not None


def is_frames_path(path: str) -> bool:
    """Whether the path names pixel data of frames."""
    return "/frames/" in path


def to_archive_path(path: str) -> str:
    """The path and its prefix as Orthanc's URLs have them."""
    return "/dicom-web/" + quote(path, safe="/,.")
