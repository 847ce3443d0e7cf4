"""DICOMweb for a user who sees the studies of groups alone: what of a request may reach the archive, and come back.

A study that is not visible is asked for by a UID that no study has: the archive answers as it does for any
unknown one, in words and in time. A search across studies that only the archive can answer must name its studies.
Orthanc itself refuses a series or an instance below a study that it does not belong to.
"""

import json
import uuid
from typing import Any
from urllib.parse import parse_qsl, urlencode

from pydicom.datadict import keyword_for_tag

from api.context import context
from minipacs.errors import BadRequest

UNKNOWN_STUDY = f"2.25.{uuid.uuid4().int}"
"""No study has this UID (PS3.5 B.2); another one in each process."""
STUDY_INSTANCE_UID = "0020000D"
COUNTS_OF_PATIENT = ("00201200", "00201202", "00201204")
"""Numbers of a patient's studies, series and instances: the archive counts those of other groups too."""
SEARCHES = ("studies", "series", "instances")


def is_search(path: str) -> bool:
    """Whether a path asks for a list (QIDO-RS)."""
    return path.strip("/").rpartition("/")[2] in SEARCHES


def hide_study_of_path(path: str) -> str:
    """The path with the UID of a visible study, or with one that no study has."""
    if context().sees_all:
        return path
    level, separator, rest = path.partition("/")
    study, slash, below = rest.partition("/")
    if level != "studies" or not study or context().is_study_visible(study):
        return path
    return f"{level}{separator}{UNKNOWN_STUDY}{slash}{below}"


def hide_studies_of_query(path: str, query: str) -> str:
    """The query of a search, with the UIDs of visible studies alone; raises `BadRequest` where it names no study."""
    if context().sees_all or path.strip("/") not in SEARCHES:
        return query
    pairs = parse_qsl(query, keep_blank_values=True)
    named = [value for name, value in pairs if is_study_instance_uid(name)]
    if not any(named):
        raise BadRequest(
            "A search by these keys across studies is for users who see all of them.",
            "Search by keys that GET /dicom-web/studies answers from the catalogue, or name StudyInstanceUID.",
        )
    uids = [uid.strip() for value in named for uid in value.replace("\\", ",").split(",")]
    visible = context().keep_visible(uids)
    shown = ",".join(uid if uid in visible else UNKNOWN_STUDY for uid in uids)
    others = [(name, value) for name, value in pairs if not is_study_instance_uid(name)]
    return urlencode([*others, (STUDY_INSTANCE_UID, shown)])


def is_study_instance_uid(name: str) -> bool:
    """Whether a matching key is the Study Instance UID, by keyword or by tag (PS3.18 8.3.4.1)."""
    if name.lower() == "studyinstanceuid":
        return True
    try:
        return keyword_for_tag(int(name, 16)) == "StudyInstanceUID"
    except (ValueError, OverflowError):  # no number, or more than 32 bits
        return False


def hide_in_answer(path: str, body: bytes) -> bytes:
    """A list of the archive without studies that are not visible, and without counts over them."""
    if context().sees_all or not is_search(path) or not body.strip():
        return body
    found: list[dict[str, Any]] = json.loads(body)
    visible = context().keep_visible(read_study_uid(one) for one in found)
    shown = [one for one in found if read_study_uid(one) in visible]
    for one in shown:
        for tag in COUNTS_OF_PATIENT:
            one.pop(tag, None)
    return json.dumps(shown, separators=(",", ":")).encode()


def read_study_uid(dataset: dict[str, Any]) -> str:
    """The Study Instance UID of an entry in the DICOM JSON model; empty where it has none."""
    values = dataset.get(STUDY_INSTANCE_UID, {}).get("Value") or [""]
    return str(values[0])
