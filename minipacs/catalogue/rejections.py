"""The table of what could not be catalogued or rendered, and when it is looked at again."""

from collections.abc import Collection, Mapping

from sqlalchemy import BigInteger, ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from minipacs.catalogue.elements import element
from minipacs.tables import Base

__all__ = ["Rejection", "find_rejections_below_limits", "repeat_rejections"]


class Rejection(Base):
    """A file or instance that could not be catalogued or rendered, and why."""

    __tablename__ = "rejection"
    source: Mapped[str] = mapped_column(primary_key=True)
    sop_instance_uid: Mapped[str | None] = element("SOPInstanceUID", index=True)
    instance_key: Mapped[str | None] = mapped_column(index=True)
    """Of the object that it would be; null where nobody knows."""
    series_key: Mapped[str | None]
    study_key: Mapped[str | None] = mapped_column(index=True)
    code: Mapped[str] = mapped_column(index=True)
    """The kind of fault in one word, for counting."""
    reason: Mapped[str]
    """A sentence: the thing and the rule it breaks."""
    remedy: Mapped[str]
    source_size: Mapped[int | None] = mapped_column(BigInteger)
    source_mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    options: Mapped[str | None]
    """Digest of the rendering options under which it was rejected; null where it is to be looked at again."""
    limit_setting: Mapped[str | None]
    """The setting whose limit it broke, null for every other fault."""
    limit_value: Mapped[int | None] = mapped_column(BigInteger)
    """The largest that this limit was when it was looked at, in bytes or seconds."""


def find_rejections_below_limits(session: Session, limits: Mapping[str, int]) -> set[str]:
    """Sources of what was rejected by a lower limit than today's; `limits`: bytes by setting."""
    conditions = [_is_below(setting, limit) for setting, limit in limits.items()]
    return set(session.scalars(select(Rejection.source).where(or_(*conditions))))


def repeat_rejections(session: Session, limits: Mapping[str, int], sources: Collection[str]) -> None:
    """Have those of these sources looked at again, once, that were rejected by a lower limit than today's."""
    for setting, limit in limits.items():
        repeated = update(Rejection).where(Rejection.source.in_(sources), _is_below(setting, limit))
        session.execute(repeated.values(options=None, limit_value=limit))


def _is_below(setting: str, limit: int) -> ColumnElement[bool]:
    return and_(Rejection.limit_setting == setting, Rejection.limit_value < limit)
