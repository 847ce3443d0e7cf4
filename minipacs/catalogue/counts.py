"""The kept counts, and reading them in constant time."""

from dataclasses import dataclass

from sqlalchemy import BigInteger, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from minipacs.catalogue.parents import Patient
from minipacs.tables import Base

__all__ = ["CatalogueCounts", "RowCount", "read_catalogue_counts", "read_patient_counts"]


class RowCount(Base):
    """How many rows a table has: kept, never scanned."""

    __tablename__ = "total"
    name: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, default=0)


@dataclass(frozen=True)
class CatalogueCounts:
    """How many there are. `images` are instances of any kind, as the older clients' routes call them."""

    patients: int = 0
    studies: int = 0
    series: int = 0
    images: int = 0


def read_catalogue_counts(session: Session) -> CatalogueCounts:
    """The counts of the whole catalogue, in constant time."""
    found = {total.name: total.number for total in session.scalars(select(RowCount))}
    return CatalogueCounts(*(found.get(name, 0) for name in ("patient", "study", "series", "instance")))


def read_patient_counts(session: Session, patient_id: str) -> CatalogueCounts | None:
    """The counts of one patient, in constant time; None when there is no such patient."""
    patient = session.get(Patient, patient_id)
    if patient is None:
        return None
    return CatalogueCounts(
        1,
        patient.number_of_patient_related_studies,
        patient.number_of_patient_related_series,
        patient.number_of_patient_related_instances,
    )
