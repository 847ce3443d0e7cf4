"""The table of cursors: how far a reader of the archive's change log has come."""

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from minipacs.tables import Base

__all__ = ["CatalogueCursorRow"]


class CatalogueCursorRow(Base):
    """The row that holds the cursor of one reader of the archive's change log."""

    __tablename__ = "cursor"
    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, default=0)
