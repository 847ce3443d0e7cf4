"""An audit entry as DICOM audit messages: the XML of PS3.15 A.5.1, with the events of PS3.15 A.5.3."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from minipacs.audit.entry import COMMAND, INTERRUPTED, AuditEntry

MAX_OBJECTS = 16
"""Studies and patients of one message: a receiver should take 8192 bytes (RFC 5425 4.3.1); more make more messages."""
SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE = "0", "4", "8"
IP_ADDRESS, MACHINE_NAME = "2", "1"
APPLICATION_SERVER = "4"
PERSON, SYSTEM_OBJECT = "1", "2"
PATIENT, REPORT, SECURITY_RESOURCE, QUERY = "1", "3", "13", "24"
XML_INVALID = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF], "?")
"""Characters that no XML 1.0 document holds."""


@dataclass(frozen=True)
class Code:
    """A coded concept."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Event:
    """What kind of event an action of ours is."""

    identifier: Code
    action: str
    """C, R, U, D or E: create, read, update, delete, execute."""
    type: Code | None = None


def _dcm(value: str, meaning: str) -> Code:
    return Code(value, "DCM", meaning)


ALERT = _dcm("110113", "Security Alert")
ACCESSED = _dcm("110103", "DICOM Instances Accessed")
AUTHENTICATION = _dcm("110114", "User Authentication")
ACTIVITY = _dcm("110100", "Application Activity")
EXPORT = Event(_dcm("110106", "Export"), "R")
EVENTS = {
    "login": Event(AUTHENTICATION, "E", _dcm("110122", "Login")),
    "logout": Event(AUTHENTICATION, "E", _dcm("110123", "Logout")),
    "password": Event(ALERT, "E", _dcm("110137", "User Security Attributes Changed")),
    "failure": Event(ALERT, "E", _dcm("110132", "Use of Restricted Function")),
    "admin": Event(ALERT, "E", _dcm("110129", "Security Configuration")),
    "search": Event(_dcm("110112", "Query"), "E"),
    "view": Event(ACCESSED, "R"),
    "download": Event(ACCESSED, "R"),
    "segment": Event(ACCESSED, "C"),
    "prompt": Event(ACCESSED, "R"),
    "job": Event(ACCESSED, "U"),
    "share": EXPORT,
    "export": EXPORT,
    "upload": Event(_dcm("110107", "Import"), "C"),
    "audit": Event(_dcm("110101", "Audit Log Used"), "R"),
    "start": Event(ACTIVITY, "E", _dcm("110120", "Application Start")),
    "stop": Event(ACTIVITY, "E", _dcm("110121", "Application Stop")),
}
"""The event of each action (PS3.16 CID 400, CID 401)."""
OTHER = Event(ALERT, "E", _dcm("110135", "Object Security Attributes Changed"))
FAILED_LOGIN = EVENTS["login"]
STUDY_UID = _dcm("110180", "Study Instance UID")
PATIENT_NUMBER = Code("2", "RFC-3881", "Patient Number")
ADDRESS = Code("12", "RFC-3881", "URI")
SOURCE, DESTINATION = _dcm("110153", "Source Role ID"), _dcm("110152", "Destination Role ID")
APPLICATION, LAUNCHER = _dcm("110150", "Application"), _dcm("110151", "Application Launcher")


def make_messages(entry: AuditEntry, aet: str, source: str) -> Iterator[bytes]:
    """The entry as one or more messages, UTF-8; several where it reached many studies.

    Args:
        entry: the entry.
        aet: our application entity title.
        source: the name of this installation, as Audit Source ID.
    """
    patients = [key for key in (entry.patient_key, *entry.patients.split("\n")) if key]
    studies = [uid for uid in (entry.study_instance_uid, *entry.studies.split()) if uid]
    objects = [*((PATIENT_NUMBER, key) for key in patients), *((STUDY_UID, uid) for uid in studies)]
    for start in range(0, max(len(objects), 1), MAX_OBJECTS):
        some = objects[start : start + MAX_OBJECTS]
        yield ElementTree.tostring(_make_message(entry, aet, source, some), encoding="utf-8", xml_declaration=True)


def choose_event(entry: AuditEntry) -> Event:
    """The event of an entry."""
    if entry.action == "failure" and entry.path.startswith("/login"):
        return FAILED_LOGIN
    return EVENTS.get(entry.action, OTHER)


def choose_outcome(entry: AuditEntry) -> str:
    """The Event Outcome Indicator: of an HTTP status, or of a command's exit code."""
    if entry.method == COMMAND:
        return SUCCESS if entry.status == 0 else MINOR_FAILURE
    if entry.status == INTERRUPTED or entry.status >= 500:
        return SERIOUS_FAILURE
    return MINOR_FAILURE if entry.status >= 400 or entry.action == "failure" else SUCCESS


def _make_message(entry: AuditEntry, aet: str, source: str, objects: Sequence[tuple[Code, str]]) -> Element:
    event = choose_event(entry)
    message = Element("AuditMessage")
    _add_event(message, event, entry)
    ours, theirs = _choose_roles(event)
    is_command = entry.method == COMMAND
    _add_participant(
        message,
        theirs,
        {
            "UserID": entry.user,
            "AlternativeUserID": entry.by,
            "UserIsRequestor": "true",
            "NetworkAccessPointID": entry.address,
            "NetworkAccessPointTypeCode": MACHINE_NAME if is_command else IP_ADDRESS,
        },
    )
    names = {"UserID": source, "AlternativeUserID": f"AETITLES={aet}", "UserIsRequestor": "false"}
    _add_participant(message, ours, names)

    audit_source = SubElement(message, "AuditSourceIdentification", {"AuditSourceID": _clean(source)})
    SubElement(audit_source, "AuditSourceTypeCode", {"csd-code": APPLICATION_SERVER})
    for kind, name in objects:
        is_patient = kind is PATIENT_NUMBER
        found = _add_object(message, kind, name, *((PERSON, PATIENT) if is_patient else (SYSTEM_OBJECT, REPORT)))
        SubElement(found, "ParticipantObjectName").text = _clean(name)
    _add_address(message, event, entry)
    return message


def _add_event(message: Element, event: Event, entry: AuditEntry) -> None:
    identification = SubElement(
        message,
        "EventIdentification",
        {
            "EventActionCode": event.action,
            "EventDateTime": datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds"),
            "EventOutcomeIndicator": choose_outcome(entry),
        },
    )
    _add_code(identification, "EventID", event.identifier)
    if event.type is not None:
        _add_code(identification, "EventTypeCode", event.type)
    if choose_outcome(entry) != SUCCESS:
        SubElement(identification, "EventOutcomeDescription").text = f"status {entry.status}"


def _choose_roles(event: Event) -> tuple[Code | None, Code | None]:
    """The role of this application, and that of the user, where the event's table (PS3.15 A.5.3) has them."""
    if event.identifier is ACTIVITY:
        return APPLICATION, LAUNCHER
    if event is EVENTS["search"] or event is EVENTS["upload"]:
        return DESTINATION, SOURCE
    if event is EXPORT:
        return SOURCE, DESTINATION
    return None, None


def _add_participant(message: Element, role: Code | None, attributes: dict[str, str]) -> None:
    given = {name: _clean(value) for name, value in attributes.items() if value or name == "UserID"}
    participant = SubElement(message, "ActiveParticipant", given)
    if role is not None:
        _add_code(participant, "RoleIDCode", role)


def _add_address(message: Element, event: Event, entry: AuditEntry) -> None:
    """What was called: the route with its query, and our entry's own values, which the chain covers."""
    role = QUERY if event is EVENTS["search"] else SECURITY_RESOURCE
    called = _add_object(message, ADDRESS, f"{entry.method} {entry.path}", SYSTEM_OBJECT, role)
    if entry.query:
        SubElement(called, "ParticipantObjectQuery").text = _encode(entry.query)
    else:
        name = "Security Audit Log" if event.identifier.value == "110101" else entry.path  # PS3.15 A.5.3.2
        SubElement(called, "ParticipantObjectName").text = _clean(name)

    values = {
        "entry": entry.id,
        "status": entry.status,
        "count": entry.count,
        "rows": entry.disclosed,
        "mac": entry.mac,
    }
    for name, value in values.items():
        SubElement(called, "ParticipantObjectDetail", {"type": f"minipacs {name}", "value": _encode(str(value))})


def _add_object(message: Element, kind: Code, name: str, object_type: str, role: str) -> Element:
    attributes = {
        "ParticipantObjectID": _clean(name),
        "ParticipantObjectTypeCode": object_type,
        "ParticipantObjectTypeCodeRole": role,
    }
    found = SubElement(message, "ParticipantObjectIdentification", attributes)
    _add_code(found, "ParticipantObjectIDTypeCode", kind)
    return found


def _add_code(parent: Element, name: str, code: Code) -> None:
    attributes = {"csd-code": code.value, "codeSystemName": code.scheme, "originalText": code.meaning}
    SubElement(parent, name, attributes)


def _encode(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode()


def _clean(text: str) -> str:
    return text.translate(XML_INVALID)
