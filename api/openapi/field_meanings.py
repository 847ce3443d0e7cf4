"""What fields and parameters mean: the sentence below a field in its class, or DICOM's name of its keyword."""

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from textwrap import dedent

from pydicom.datadict import dictionary_description, tag_for_keyword

PARAMETERS = {
    "action": "The audit's word for what was done.",
    "address": "From where: the client's address.",
    "code": "The reason, as a word for programs.",
    "ends": "When the link ends, in seconds since 1970.",
    "engine": "The engine that made the result.",
    "filename": "The name of a file.",
    "folder": "The folder of the offered file.",
    "from": "This day (of the study, of the entry) or a later one.",
    "job_id": "The number of a job.",
    "modality": "Modality (0008,0060).",
    "name": "The name of the user, token or file in the address.",
    "path": "A path of DICOMweb (PS3.18 10).",
    "patient": "PatientID.",
    "patient_id": "PatientID, percent-encoded.",
    "q": "Words of the patient's name or ID, the description, the accession number, or the whole UID.",
    "relative": "The file's path: study, series, engine, name.",
    "scan_name": "A scan: Series Instance UID, underscore, engine.",
    "series": "Series Instance UID.",
    "series_instance_uid": "Series Instance UID.",
    "session_id": "The session of an answer to a prompt.",
    "share_id": "The number of a share.",
    "signature": "The signature of the link.",
    "sop_instance_uid": "SOP Instance UID.",
    "split": "The part of the data set: train, validation or test.",
    "study": "Study Instance UID.",
    "study_instance_uid": "Study Instance UID.",
    "timestamp": "The result's name, from the answer to the picture.",
    "to": "This day (of the study, of the entry) or an earlier one.",
    "token": "The token of a link.",
    "user": "The name of a user.",
    "where": "PatientID, and the path below it.",
}
"""What parameters of addresses, and filters of lists, mean that no class and no dictionary names."""


def describe_parameter(name: str) -> str:
    """What a parameter without a sentence of its own means; empty where nothing is known of it."""
    return PARAMETERS.get(name) or describe_keyword(name)


def describe_keyword(keyword: str) -> str:
    """`Patient ID (0010,0020)` for `PatientID`; empty for what is no keyword of DICOM (PS3.6)."""
    tag = tag_for_keyword(keyword)
    return "" if tag is None else f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})."


@cache
def read_field_sentences(model: type) -> dict[str, str]:
    """The sentence below each field in the source of a class and of its bases, by the field's name.

    A class that was made while the program runs has no source of its own.
    """
    try:
        source = inspect.getsource(model)
    except (OSError, TypeError):
        definition = None
    else:
        definition = ast.parse(dedent(source)).body[0]

    sentences: dict[str, str] = {}
    for base in _list_bases(model, definition):
        sentences |= read_field_sentences(base)

    for field, sentence in pairwise(getattr(definition, "body", [])):
        match field, sentence:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                sentences[name] = text
    return sentences


def _list_bases(model: type, definition: ast.stmt | None) -> Iterator[type]:
    """The bases of a class; a TypedDict does not keep its own, so they are read in its source."""
    yield from model.__bases__
    names = vars(sys.modules[model.__module__])
    for base in getattr(definition, "bases", []):
        found = names.get(base.id) if isinstance(base, ast.Name) else None
        if isinstance(found, type):
            yield found
