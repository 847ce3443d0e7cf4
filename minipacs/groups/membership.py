"""Groups (projects): which studies belong together, and who sees them.

A study is in none, one or several groups; a user or an API token sees all studies or those of its groups
(`minipacs.groups.visibility` has the rule). Groups are no projection of the archive: a study is named by its
StudyInstanceUID alone, so that they outlast a catalogue that is dropped and built again, and a study that is
deleted and sent again is in its groups as before.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Double, ForeignKey, Index, delete, false, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from minipacs.catalogue import element
from minipacs.database import Database
from minipacs.errors import BadRequest, NotFound
from minipacs.formats.uids import is_uid
from minipacs.tables import Base

MAX_NAME_CHARACTERS = 64


class StudyGroup(Base):
    """A group of studies and of those who see them."""

    __tablename__ = "study_group"
    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(default="")
    created: Mapped[float] = mapped_column(Double)


class GroupMember(Base):
    """A user or a token that sees the studies of a group."""

    __tablename__ = "group_member"
    member: Mapped[str] = mapped_column(primary_key=True)
    """The user's name, or `token:` and the token's."""
    group_name: Mapped[str] = mapped_column(
        ForeignKey("study_group.name", ondelete="CASCADE"), primary_key=True, index=True
    )
    is_by_claim: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether the provider of the single sign-on said so at the last login; False where an administrator did."""


class GroupedStudy(Base):
    """A study of a group. There need not be such a study: it may come later, or come back."""

    __tablename__ = "grouped_study"
    study_instance_uid: Mapped[str] = element("StudyInstanceUID", primary_key=True)
    group_name: Mapped[str] = mapped_column(ForeignKey("study_group.name", ondelete="CASCADE"), primary_key=True)
    added: Mapped[float] = mapped_column(Double)
    added_by: Mapped[str]
    reserved_until: Mapped[float | None] = mapped_column(Double)
    """While its first object is on its way (`minipacs.groups.reservation`); None where it is here, or planned."""


Index("grouped_study_by_group", GroupedStudy.group_name, GroupedStudy.study_instance_uid)


@dataclass(frozen=True)
class GroupSummary:
    """A group, who is in it, and how many studies."""

    name: str
    description: str
    created: float
    members: tuple[str, ...]
    studies: int


def create_group(database: Database, name: str, description: str = "") -> None:
    """Create a group. A name is used once."""
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS or not name.isprintable() or name != name.strip() or "/" in name:
        rule = f"A group's name has 1 to {MAX_NAME_CHARACTERS} printable characters, no slash, no space at its ends."
        raise BadRequest(rule, "Choose another name.")
    with database.writing() as session:
        values = {"name": name, "description": description, "created": database.now()}
        insert = database.build_insert(StudyGroup).values(**values).on_conflict_do_nothing()
        if session.execute(insert.returning(StudyGroup.name)).first() is None:
            raise BadRequest(f"There is a group {name!r} already.", "Choose another name.")


def remove_group(database: Database, name: str) -> None:
    """Remove a group: its studies and members stay, and are in one group less."""
    with database.writing() as session:
        require_group(session, name)
        session.execute(delete(StudyGroup).where(StudyGroup.name == name))


def list_groups(database: Database) -> list[GroupSummary]:
    """List every group, by name."""
    with database.reading() as session:
        groups = session.scalars(select(StudyGroup).order_by(StudyGroup.name)).all()
        members: dict[str, list[str]] = {group.name: [] for group in groups}
        for one in session.scalars(select(GroupMember).order_by(GroupMember.member)):
            members[one.group_name].append(one.member)
        counted = select(GroupedStudy.group_name, func.count()).group_by(GroupedStudy.group_name)
        studies = {row[0]: row[1] for row in session.execute(counted)}

    return [
        GroupSummary(one.name, one.description, one.created, tuple(members[one.name]), studies.get(one.name, 0))
        for one in groups
    ]


def list_groups_of_member(database: Database, member: str) -> list[str]:
    """The names of the groups that a user or a token is in."""
    with database.reading() as session:
        of_member = select(GroupMember.group_name).where(GroupMember.member == member)
        return list(session.scalars(of_member.order_by(GroupMember.group_name)))


def list_members(database: Database, group: str) -> list[str]:
    """The users and tokens of a group, by name."""
    with database.reading() as session:
        of_group = select(GroupMember.member).where(GroupMember.group_name == group)
        return list(session.scalars(of_group.order_by(GroupMember.member)))


def list_groups_of_study(database: Database, study_instance_uid: str) -> list[str]:
    """The names of the groups that a study is in."""
    with database.reading() as session:
        of_study = select(GroupedStudy.group_name).where(GroupedStudy.study_instance_uid == study_instance_uid)
        return list(session.scalars(of_study.order_by(GroupedStudy.group_name)))


def is_study_of_member(database: Database, study_instance_uid: str, member: str) -> bool:
    """Whether a study is in a group that a user or a token is in."""
    of_study = select(GroupedStudy.group_name).where(GroupedStudy.study_instance_uid == study_instance_uid)
    in_it = of_study.join(GroupMember, GroupMember.group_name == GroupedStudy.group_name)
    with database.reading() as session:
        return session.scalar(in_it.where(GroupMember.member == member).limit(1)) is not None


def add_members(database: Database, group: str, members: Iterable[str]) -> None:
    """Put users and tokens into a group, until they are taken out; who is in it stays."""
    with database.writing() as session:
        require_group(session, group)
        for member in members:
            insert = database.build_insert(GroupMember).values(member=member, group_name=group, is_by_claim=False)
            by_hand = {"is_by_claim": False}
            session.execute(insert.on_conflict_do_update(index_elements=["member", "group_name"], set_=by_hand))


def set_groups_by_claim(database: Database, session: Session, member: str, names: Collection[str]) -> None:
    """Put a user into the groups that there are of these names, and out of those that an earlier claim put it into.

    What an administrator put it into stays.
    """
    known = set(session.scalars(select(StudyGroup.name))) & set(names)
    of_member = GroupMember.member == member
    session.execute(delete(GroupMember).where(of_member, GroupMember.is_by_claim, GroupMember.group_name.not_in(known)))
    for name in sorted(known):
        insert = database.build_insert(GroupMember).values(member=member, group_name=name, is_by_claim=True)
        session.execute(insert.on_conflict_do_nothing())


def remove_members(database: Database, group: str, members: Iterable[str]) -> None:
    """Take users and tokens out of a group; raises `NotFound` where none of those that are named is in it."""
    names = list(members)
    with database.writing() as session:
        require_group(session, group)
        in_group = GroupMember.group_name == group
        removed = session.scalars(
            delete(GroupMember).where(in_group, GroupMember.member.in_(names)).returning(GroupMember.member)
        ).all()
        if names and not removed:
            raise NotFound(f"Nobody of that name is in the group {group!r}.", "GET /groups lists who is.")


def forget_member(session: Session, member: str) -> None:
    """Take a user or a token that is removed out of every group: another of that name is another."""
    session.execute(delete(GroupMember).where(GroupMember.member == member))


def add_studies(database: Database, group: str, study_instance_uids: Iterable[str], added_by: str) -> set[str]:
    """Put studies into a group; those that are in it stay. Returns those that were not."""
    uids = sorted({check_study_uid(uid) for uid in study_instance_uids})
    with database.writing() as session:
        require_group(session, group)
        added: set[str] = set()
        for uid in uids:
            values = {"study_instance_uid": uid, "group_name": group, "added": database.now(), "added_by": added_by}
            insert = database.build_insert(GroupedStudy).values(**values).on_conflict_do_nothing()
            added.update(session.scalars(insert.returning(GroupedStudy.study_instance_uid)))
        _keep_reserved(session, group, uids)
    return added


def _keep_reserved(session: Session, group: str, study_instance_uids: Iterable[str]) -> None:
    """An administrator, or who stored them, put these studies into the group: no reservation ends."""
    for uid in study_instance_uids:
        of_group = (GroupedStudy.group_name == group, GroupedStudy.study_instance_uid == uid)
        is_reserved = GroupedStudy.reserved_until.is_not(None)
        session.execute(update(GroupedStudy).where(*of_group, is_reserved).values(reserved_until=None))


def remove_studies(database: Database, group: str, study_instance_uids: Iterable[str]) -> None:
    """Take studies out of a group."""
    uids = sorted({check_study_uid(uid) for uid in study_instance_uids})
    with database.writing() as session:
        require_group(session, group)
        in_group = GroupedStudy.group_name == group
        session.execute(delete(GroupedStudy).where(in_group, GroupedStudy.study_instance_uid.in_(uids)))


def set_groups_of_study(database: Database, study_instance_uid: str, names: Iterable[str], added_by: str) -> None:
    """Put a study into these groups, and out of all others."""
    uid, wanted = check_study_uid(study_instance_uid), set(names)
    with database.writing() as session:
        for name in wanted:
            require_group(session, name)
        of_study = GroupedStudy.study_instance_uid == uid
        session.execute(delete(GroupedStudy).where(of_study, GroupedStudy.group_name.not_in(wanted)))
        for name in sorted(wanted):
            values = {"study_instance_uid": uid, "group_name": name, "added": database.now(), "added_by": added_by}
            session.execute(database.build_insert(GroupedStudy).values(**values).on_conflict_do_nothing())
            _keep_reserved(session, name, [uid])


def require_group(session: Session, name: str) -> StudyGroup:
    """The group of this name; raises `NotFound`."""
    group = session.get(StudyGroup, name)
    if group is None:
        raise NotFound(f"There is no group {name!r}.", "GET /groups lists them.")
    return group


def check_study_uid(text: str) -> str:
    """A Study Instance UID; raises `BadRequest` for what cannot be one (PS3.5 9.1)."""
    uid = text.strip()
    if not is_uid(uid):
        raise BadRequest("A Study Instance UID has digits and dots, 64 characters at most.", "Correct it.")
    return uid
