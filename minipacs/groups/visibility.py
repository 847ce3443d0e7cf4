"""Who sees which study: the one rule, and what it means for every table.

A member (a user or a token that does not see all) sees the studies that are in one of its groups, and of
every table the rows that are about them. `VISIBLE` says for each table with something about studies which
rows those are; `api` reads through connections where views of the tables' own names hide all others
(`minipacs.groups.restricted_database`), so that no query can forget it. A table must be in `VISIBLE` or in
`WITHOUT_STUDIES`: a test holds it.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, false, func, literal, select, union_all

from minipacs.catalogue import Instance, Patient, Series, Study
from minipacs.groups.membership import GroupedStudy, GroupMember
from minipacs.tables import Base

Condition = Callable[[Any, ColumnElement[str]], ColumnElement[bool]]
"""From the columns of a table and the member's name to: the member may see this row."""


def table_of(entity: type[Base]) -> Table:
    """The table of a class."""
    return Base.metadata.tables[entity.__tablename__]


grouped, members = table_of(GroupedStudy), table_of(GroupMember)
patient, study, series, instance = map(table_of, (Patient, Study, Series, Instance))


def is_in_a_group_of(study_instance_uid: ColumnElement[str], member: ColumnElement[str]) -> ColumnElement[bool]:
    """The rule: the study is in one of the member's groups."""
    return select_visible_studies(member).where(grouped.c.study_instance_uid == study_instance_uid).exists()


def select_visible_studies(member: ColumnElement[str]) -> Select[Any]:
    """The member's studies; `exists()` of it, with a condition that names the study."""
    joined = grouped.join(members, members.c.group_name == grouped.c.group_name)
    return select(literal(1)).select_from(joined).where(members.c.member == member)


def is_of_visible_study(columns: Any, member: ColumnElement[str]) -> ColumnElement[bool]:
    """The row names its study."""
    return is_in_a_group_of(columns.study_instance_uid, member)


def is_of_visible_series(columns: Any, member: ColumnElement[str]) -> ColumnElement[bool]:
    """The row names its series."""
    statement = select_visible_studies(member).join(series, series.c.study_instance_uid == grouped.c.study_instance_uid)
    return statement.where(series.c.series_key == columns.series_key).exists()


def is_of_visible_instance(columns: Any, member: ColumnElement[str]) -> ColumnElement[bool]:
    """The row names its instance."""
    statement = select_visible_studies(member).join(series, series.c.study_instance_uid == grouped.c.study_instance_uid)
    statement = statement.join(instance, instance.c.series_key == series.c.series_key)
    return statement.where(instance.c.instance_key == columns.instance_key).exists()


def is_rejection_of_visible_study(columns: Any, member: ColumnElement[str]) -> ColumnElement[bool]:
    """The rejected object is of a study that the member sees."""
    statement = select_visible_studies(member).join(study, study.c.study_instance_uid == grouped.c.study_instance_uid)
    return statement.where(study.c.study_key == columns.study_key).exists()


def has_visible_study(columns: Any, member: ColumnElement[str]) -> ColumnElement[bool]:
    """The patient has a study that the member sees."""
    statement = select_visible_studies(member).join(study, study.c.study_instance_uid == grouped.c.study_instance_uid)
    return statement.where(study.c.patient_key == columns.patient_key).exists()


def is_of_visible_job(columns: Any, member: ColumnElement[str]) -> ColumnElement[bool]:
    """The row names its job."""
    job = Base.metadata.tables["job"]
    statement = select_visible_studies(member).join(job, job.c.study_instance_uid == grouped.c.study_instance_uid)
    return statement.where(job.c.id == columns.job_id).exists()


def is_in_group_of_member(columns: Any, member: ColumnElement[str]) -> ColumnElement[bool]:
    """The row names a group that the member is in."""
    own = members.alias("own")
    return select(literal(1)).where(own.c.group_name == columns.group_name, own.c.member == member).exists()


def is_own_membership(columns: Any, member: ColumnElement[str]) -> ColumnElement[bool]:
    """The row is the member's own."""
    is_own: ColumnElement[bool] = columns.member == member
    return is_own


def is_group_of_member(columns: Any, member: ColumnElement[str]) -> ColumnElement[bool]:
    """The row is a group that the member is in."""
    own = members.alias("own")
    return select(literal(1)).where(own.c.group_name == columns.name, own.c.member == member).exists()


def is_hidden_from_members(columns: Any, member: ColumnElement[str]) -> ColumnElement[bool]:
    """No row: an entry names studies of several groups, and administrators see all."""
    return false()


VISIBLE: dict[str, Condition] = {
    "study": is_of_visible_study,
    "series": is_of_visible_study,
    "instance": is_of_visible_series,
    "rendering": is_of_visible_instance,
    "segment": is_of_visible_instance,
    "rejection": is_rejection_of_visible_study,
    "patient": has_visible_study,
    "result": is_of_visible_study,
    "job": is_of_visible_study,
    "followed_study": is_of_visible_study,
    "notification": is_of_visible_job,
    "api_audit": is_hidden_from_members,
    "grouped_study": is_in_group_of_member,
    "group_member": is_own_membership,
    "study_group": is_group_of_member,
}
"""Which rows of a table a member sees. A rejection whose study is not in the catalogue is of no known study."""

TOTALS = "total"
"""The kept counts of the whole catalogue: a member gets those of its own studies in their place."""

WITHOUT_STUDIES = frozenset(
    (
        *("api_user", "api_token", "api_session", "api_login_failure", "api_audit_chain", "api_audit_spool"),
        *("cursor", "letter_box", "notification_watermark"),
    )
)
"""Tables with nothing about studies."""

NAMED_IN_JSON = frozenset(["api_share"])
"""Tables that name studies where no condition reaches; their one reader looks at each row (`api.results.shares`)."""


def select_visible(table: Table, member: ColumnElement[str]) -> Select[Any]:
    """All columns of the rows that a member sees; the counts of a patient are those of its visible studies."""
    columns: list[ColumnElement[Any]] = list(table.c)
    if table is patient:
        columns = [count_of_patient(column, member) if "_related_" in column.name else column for column in columns]
    return select(*columns).where(VISIBLE[table.name](table.c, member))


def count_of_patient(column: ColumnElement[Any], member: ColumnElement[str]) -> ColumnElement[Any]:
    """In the place of a kept count of a patient: the same count over the studies that the member sees."""
    numbers = {
        Patient.number_of_patient_related_studies.key: func.count(),
        Patient.number_of_patient_related_series.key: func.sum(study.c.number_of_study_related_series),
        Patient.number_of_patient_related_instances.key: func.sum(study.c.number_of_study_related_instances),
    }
    of_patient = select(numbers[str(column.key)]).select_from(study).where(study.c.patient_key == patient.c.patient_key)
    return of_patient.where(is_of_visible_study(study.c, member)).scalar_subquery().label(str(column.key))


def select_visible_totals(member: ColumnElement[str]) -> Any:
    """Rows as those of the table `total`, counted over the studies that a member sees."""
    visible = is_of_visible_study(study.c, member)
    numbers = {
        Patient.__tablename__: func.count(study.c.patient_key.distinct()),
        Study.__tablename__: func.count(),
        Series.__tablename__: func.coalesce(func.sum(study.c.number_of_study_related_series), 0),
        Instance.__tablename__: func.coalesce(func.sum(study.c.number_of_study_related_instances), 0),
    }
    rows = [
        select(literal(name).label("name"), number.label("number")).select_from(study).where(visible)
        for name, number in numbers.items()
    ]
    return union_all(*rows)
