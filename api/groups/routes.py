"""Groups: make and remove them, put users, tokens and studies into them; for administrators."""

import re
from collections.abc import Callable
from typing import TypedDict

import msgspec
from flask import Blueprint, g
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from api.auth import accounts
from api.auth.access import requires_role
from api.context import context
from api.web.describe_route import BodyFields, answers, audits, takes_body, takes_query
from api.web.paging import PageParameters, read_page
from api.web.responses import send_json_or_page, send_json_or_redirect
from api.web.row_json import JsonRow, iso_time, make_page_type, make_row_type
from minipacs.catalogue import Patient, Study
from minipacs.errors import BadRequest
from minipacs.groups import membership
from minipacs.groups.membership import GroupedStudy, GroupSummary

blueprint = Blueprint("groups", __name__)
BETWEEN = re.compile(r"[\s,]+")
"""What stands between names that a person typed."""


class GroupJson(TypedDict):
    """A group, who is in it, and how many studies."""

    name: str
    description: str
    created: str | None
    members: list[str]
    """Names of users, and `token:` + names of tokens."""
    studies: int


class GroupList(TypedDict):
    """All groups, by name."""

    groups: list[GroupJson]


class NamedGroup(TypedDict):
    """The group that was changed."""

    name: str


class RemovedGroup(NamedGroup):
    """The group that was removed."""

    removed: bool


class GroupsOfStudy(TypedDict):
    """The groups that a study is in."""

    StudyInstanceUID: str
    groups: list[str]


GroupedStudyRow = make_row_type("GroupedStudy", GroupedStudy, added=str)
GroupedStudyPage = make_page_type("GroupedStudyPage", "studies", GroupedStudyRow)


class GroupFields(BodyFields):
    """A new group."""

    name: str
    """1 to 64 printable characters, no slash; each group has another."""
    description: str = ""
    """What it is for."""


class MemberFields(BodyFields):
    """Users and tokens."""

    members: list[str]
    """Names of users, and `token:` + names of tokens; in one text with commas or spaces between them, too."""


class StudyFields(BodyFields):
    """Studies, by their UIDs or by their patient."""

    studies: list[str] = msgspec.field(default_factory=list)
    """Study Instance UIDs, in the catalogue or not; in one text with commas or spaces between them, too."""
    PatientID: str = ""
    """All studies that the catalogue has of this patient."""


class GroupsFields(BodyFields):
    """The groups of a study."""

    groups: list[str] = msgspec.field(default_factory=list)
    """Their names; the study leaves all others."""


@blueprint.get("/groups")
@requires_role("admin")
@answers(GroupList, page="groups.html")
def show_groups() -> ResponseReturnValue:
    """Every group, who is in it, and how many studies."""
    return send_json_or_page(GroupList(groups=[group_json(one) for one in membership.list_groups(context().database)]))


@blueprint.post("/groups")
@requires_role("admin")
@audits("admin")
@takes_body(GroupFields)
@answers(NamedGroup)
def add_group(body: GroupFields) -> ResponseReturnValue:
    """Make a group (`name`, `description`)."""
    membership.create_group(context().database, body.name.strip(), body.description.strip())
    return send_json_or_redirect(NamedGroup(name=body.name.strip()), "/groups", status=201)


@blueprint.post("/groups/<name>/remove")
@requires_role("admin")
@audits("admin")
@answers(RemovedGroup)
def remove_group(name: str) -> ResponseReturnValue:
    """Remove a group; its studies and members stay, and are in one group less."""
    membership.remove_group(context().database, name)
    return send_json_or_redirect(RemovedGroup(name=name, removed=True), "/groups")


@blueprint.post("/groups/<name>/members")
@requires_role("admin")
@audits("admin")
@takes_body(MemberFields)
@answers(NamedGroup)
def add_members(body: MemberFields, name: str) -> ResponseReturnValue:
    """Put users and tokens (`members`) into a group; they see its studies from the next request on."""
    members = split_names(body.members, is_account)
    for member in members:
        accounts.require_account(context().database, member)
    membership.add_members(context().database, name, members)
    return send_json_or_redirect(NamedGroup(name=name), "/groups")


@blueprint.post("/groups/<name>/members/remove")
@requires_role("admin")
@audits("admin")
@takes_body(MemberFields)
@answers(NamedGroup)
def remove_members(body: MemberFields, name: str) -> ResponseReturnValue:
    """Take users and tokens (`members`) out of a group; it counts from the next request on."""
    present = set(membership.list_members(context().database, name))
    membership.remove_members(context().database, name, split_names(body.members, present.__contains__))
    return send_json_or_redirect(NamedGroup(name=name), "/groups")


@blueprint.get("/groups/<name>/studies")
@requires_role("admin")
@takes_query(PageParameters)
@answers(GroupedStudyPage)
def studies_of_group(query: PageParameters, name: str) -> JsonRow:
    """The studies of a group, a page at a time."""
    with context().database.reading() as session:
        membership.require_group(session, name)
        of_group = select(GroupedStudy).where(GroupedStudy.group_name == name)
        page = read_page(session, of_group, [(GroupedStudy.study_instance_uid, False)], "studies", query)
    for row in page["studies"]:
        row["added"] = iso_time(row["added"])
    return page


@blueprint.post("/groups/<name>/studies")
@requires_role("admin")
@audits("admin")
@takes_body(StudyFields)
@answers(NamedGroup)
def add_studies(body: StudyFields, name: str) -> ResponseReturnValue:
    """Put studies into a group, by `studies` (UIDs) or by `PatientID`."""
    membership.add_studies(context().database, name, find_study_uids(body), g.user.name)
    return send_json_or_redirect(NamedGroup(name=name), "/groups")


@blueprint.post("/groups/<name>/studies/remove")
@requires_role("admin")
@audits("admin")
@takes_body(StudyFields)
@answers(NamedGroup)
def remove_studies(body: StudyFields, name: str) -> ResponseReturnValue:
    """Take studies out of a group, by `studies` (UIDs) or by `PatientID`."""
    membership.remove_studies(context().database, name, find_study_uids(body))
    return send_json_or_redirect(NamedGroup(name=name), "/groups")


@blueprint.get("/studies/<study_instance_uid>/groups")
@requires_role("admin")
@answers(GroupsOfStudy)
def groups_of_study(study_instance_uid: str) -> GroupsOfStudy:
    """The groups that a study is in, be it in the catalogue or not."""
    found = membership.list_groups_of_study(context().database, study_instance_uid)
    return {"StudyInstanceUID": study_instance_uid, "groups": found}


@blueprint.post("/studies/<study_instance_uid>/groups")
@requires_role("admin")
@audits("admin")
@takes_body(GroupsFields)
@answers(GroupsOfStudy)
def change_groups_of_study(body: GroupsFields, study_instance_uid: str) -> ResponseReturnValue:
    """Put a study into these groups (`groups`), and out of all others."""
    membership.set_groups_of_study(context().database, study_instance_uid, body.groups, g.user.name)
    answer = GroupsOfStudy(StudyInstanceUID=study_instance_uid, groups=sorted(set(body.groups)))
    return send_json_or_redirect(answer, f"/studies/{study_instance_uid}")


def group_json(group: GroupSummary) -> GroupJson:
    """A group as JSON."""
    return {
        "name": group.name,
        "description": group.description,
        "created": iso_time(group.created),
        "members": list(group.members),
        "studies": group.studies,
    }


def is_account(name: str) -> bool:
    """Whether a user, or a token after `token:`, has this name."""
    return accounts.find_principal(context().database, name) is not None


def split_names(given: list[str], is_name: Callable[[str], bool]) -> list[str]:
    """Names, one or several in each text; raises `BadRequest` where there is none.

    A text, or a part of it between commas, that is a name itself stays whole: names may have spaces and commas.
    """
    found = []
    for text in given:
        parts = [text] if is_name(text.strip()) else text.split(",")
        for part in map(str.strip, parts):
            found += [part] if is_name(part) else [name for name in part.split() if name]
    if not found:
        raise BadRequest("No name is given.", "Send at least one.")
    return found


def find_study_uids(fields: StudyFields) -> list[str]:
    """The UIDs that a request names, and those of the patient that it names."""
    uids = [uid for text in fields.studies for uid in BETWEEN.split(text) if uid]
    if fields.PatientID:
        of_patient = select(Study.study_instance_uid).join(Patient, Patient.patient_key == Study.patient_key)
        with context().database.reading() as session:
            uids += session.scalars(of_patient.where(Patient.patient_id == fields.PatientID))
    if not uids:
        raise BadRequest("There is no such study.", "Name Study Instance UIDs, or a PatientID of the catalogue.")
    return uids
