"""Columns that hold a data element: type, name and comment come from the keyword."""

from typing import Any

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from sqlalchemy import JSON, BigInteger, Date, DateTime, Double, Integer, String, Time
from sqlalchemy.orm import MappedColumn, mapped_column
from sqlalchemy.types import TypeEngine

__all__ = ["TYPES", "counter", "element"]

TYPES: dict[str, type[TypeEngine[Any]]] = {
    **dict.fromkeys(("DS", "FL", "FD"), Double),
    **dict.fromkeys(("IS", "US", "SS", "SL"), Integer),
    **dict.fromkeys(("UL", "SV", "UV"), BigInteger),
    **{"DA": Date, "TM": Time, "DT": DateTime},
}
"""Column type by VR (PS3.5 6.2); every other VR is text."""


def element(keyword: str, *options: Any, single_value: bool = False, **named: Any) -> MappedColumn[Any]:
    """A column that holds this data element. `single_value`: one value, though the element may have several."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is not a keyword of PS3.6")
    several = dictionary_VM(tag) != "1" and not single_value
    kind = JSON(none_as_null=True) if several else TYPES.get(dictionary_VR(tag).partition(" ")[0], String)()
    named.setdefault("nullable", not named.get("primary_key", False))
    return mapped_column(kind, *options, info={"keyword": keyword}, comment=f"{tag:08X} {keyword}", **named)


def counter(keyword: str) -> MappedColumn[Any]:
    """A column that holds a kept count; `keyword` is its name in QIDO-RS (PS3.18 table 10.6.3-3)."""
    return mapped_column(Integer, default=0, nullable=False, comment=f"kept: {keyword}")
