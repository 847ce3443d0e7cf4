"""Studies that are put into a group while their first object is on its way, and leave it where none arrives.

A process that is killed meanwhile leaves the reservation; it has a time, after which the study leaves the group
unless the archive has it. So a study that comes later, from elsewhere, is in no group of somebody who once sent
something under its UID.
"""

from collections.abc import Callable

from sqlalchemy import delete, select, update

from minipacs.database import Database
from minipacs.groups.membership import GroupedStudy, add_studies, check_study_uid, require_group

RESERVED_S = 3600.0
"""So long an upload may take until its study leaves the group; it is put in again at the end of the upload."""


def reserve_study(database: Database, group: str, study_instance_uid: str, added_by: str) -> bool:
    """Put a study into a group until it was stored; whether it was not in the group before."""
    uid = check_study_uid(study_instance_uid)
    with database.writing() as session:
        require_group(session, group)
        values = {"study_instance_uid": uid, "group_name": group, "added": database.now(), "added_by": added_by}
        insert = database.build_insert(GroupedStudy).values(**values, reserved_until=database.now() + RESERVED_S)
        added = session.execute(insert.on_conflict_do_nothing().returning(GroupedStudy.study_instance_uid))
        return added.first() is not None


def confirm_reservation(database: Database, group: str, study_instance_uid: str, added_by: str) -> None:
    """Keep a study that was stored in its group: also where the reservation ended, unless others have it now."""
    of_study = GroupedStudy.study_instance_uid == study_instance_uid
    with database.writing() as session:
        kept = update(GroupedStudy).where(of_study, GroupedStudy.group_name == group).values(reserved_until=None)
        session.execute(kept)
        is_grouped = session.scalar(select(GroupedStudy.group_name).where(of_study).limit(1)) is not None
    if not is_grouped:
        add_studies(database, group, [study_instance_uid], added_by)


def cancel_reservation(database: Database, group: str, study_instance_uid: str) -> None:
    """Take a study out of a group, where it is but reserved: nothing was stored."""
    of_study = GroupedStudy.study_instance_uid == study_instance_uid
    with database.writing() as session:
        is_reserved = GroupedStudy.reserved_until.is_not(None)
        session.execute(delete(GroupedStudy).where(of_study, GroupedStudy.group_name == group, is_reserved))


def settle_reservations(database: Database, is_archived: Callable[[str], bool]) -> int:
    """End reservations whose time is over: what the archive has stays in its group; how many studies left theirs."""
    with database.reading() as session:
        is_over = GroupedStudy.reserved_until <= database.now()
        found = session.execute(select(GroupedStudy.group_name, GroupedStudy.study_instance_uid).where(is_over)).all()

    left = 0
    for group, study_instance_uid in found:
        if is_archived(study_instance_uid):
            confirm_reservation(database, group, study_instance_uid, "")
        else:
            cancel_reservation(database, group, study_instance_uid)
            left += 1
    return left
