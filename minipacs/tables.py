"""The base class of every table, and the import of the modules that have tables."""

from importlib.metadata import entry_points

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """Base class of every table of the product."""


def load_tables() -> MetaData:
    """Import every module that has tables (entry points `minipacs.tables`); the metadata of all of them."""
    for point in entry_points(group="minipacs.tables"):
        point.load()
    return Base.metadata
