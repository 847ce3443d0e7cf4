"""The group of what is stored: named by who stores it, or the one group of a user who sees no more than that.

Who sees the studies of groups alone adds to those, or brings new ones; an object of a study that is not visible
is refused, because stored it would be in sight of another group. The refusal says no more than its UID did.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import g

from api.auth.accounts import Principal
from api.context import context, shared_context
from minipacs.errors import ArchiveError, BadRequest, NotAllowed, NotFound
from minipacs.groups import membership, reservation


def choose_group(name: str) -> str:
    """The group that new studies of this request go into; empty for none.

    Raises `NotFound` for a group the user has no part in, `BadRequest` where one of several must be named.
    """
    user: Principal = g.user
    if user.sees_all and not name:
        return ""

    known = list_groups_to_store_in()
    if name and name not in known:
        raise NotFound(f"There is no group {name!r}.", "Name one of yours.")
    if name:
        return name
    if not known:
        raise NotAllowed("You are in no group, so that you would not see what you store.", "Ask an administrator.")
    return known[0] if len(known) == 1 else ""


def list_groups_to_store_in() -> list[str]:
    """The groups that the user may put studies into, by name."""
    user: Principal = g.user
    if user.restricted_to is None:
        return [group.name for group in membership.list_groups(context().database)]
    return membership.list_groups_of_member(context().database, user.restricted_to)


@contextmanager
def assign_to_group(study_instance_uid: str, group: str) -> Iterator[None]:
    """While an object is stored, its study is in the group; raises where the user may not add to the study.

    The study leaves the group again where this put it there and the archive has no such study afterwards: nobody
    keeps what is yet to come. Where this process is killed, it leaves the group by and by (`RESERVED_S`).
    """
    database, user = shared_context().database, g.user
    is_new = reserve_for_group(study_instance_uid, group)
    try:
        yield
    finally:
        if is_new and is_study_archived(study_instance_uid):
            reservation.confirm_reservation(database, group, study_instance_uid, user.name)
        elif is_new:
            reservation.cancel_reservation(database, group, study_instance_uid)


def reserve_for_group(study_instance_uid: str, group: str) -> bool:
    """Put the study of an object into the group, and whether it was not there; raises where the user may not."""
    user: Principal = g.user
    shared = shared_context()
    if user.sees_all:
        return bool(group) and reservation.reserve_study(shared.database, group, study_instance_uid, user.name)

    if context().is_study_visible(study_instance_uid):
        return False
    if not group:
        raise BadRequest("You are in several groups, and the study is new.", "Name its group in the field `group`.")
    if is_study_known(study_instance_uid):
        raise NotAllowed("Its study is not one of your groups'.", "Ask an administrator to put it into one.")
    return reservation.reserve_study(shared.database, group, study_instance_uid, user.name)


def is_study_archived(study_instance_uid: str) -> bool:
    """Whether the archive says that it has this study."""
    try:
        return bool(shared_context().archive.find_ids("Study", study_instance_uid))
    except ArchiveError:
        return False


def is_study_known(study_instance_uid: str) -> bool:
    """Whether anybody has this study: a group, or the archive."""
    shared = shared_context()
    is_grouped = membership.list_groups_of_study(shared.database, study_instance_uid)
    return bool(is_grouped) or bool(shared.archive.find_ids("Study", study_instance_uid))
