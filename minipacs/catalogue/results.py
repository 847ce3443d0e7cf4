"""The table of results: which segmentation was stored, and what replaced it."""

from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from minipacs.tables import Base

__all__ = ["SegmentationResult"]


class SegmentationResult(Base):
    """A segmentation that was stored in the archive: its manifest, and the result that replaced it since.

    Not a projection of the archive's objects, but of the result folders' manifests; a redo writes it anew.
    """

    __tablename__ = "result"
    seg_series_instance_uid: Mapped[str] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(index=True)
    series_instance_uid: Mapped[str]
    """The series that was segmented."""
    engine: Mapped[str]
    version: Mapped[str]
    created: Mapped[str]
    """ISO 8601, UTC."""
    superseded_by: Mapped[str | None]
    """The SEG series of the same engine for what the series holds now."""
    manifest: Mapped[dict[str, Any]] = mapped_column(JSON)
