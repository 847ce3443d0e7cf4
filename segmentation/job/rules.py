"""Which engine segments which series: an optional table in HOME/segmentation.toml.

    superseded = "keep"          # or "remove": results of a series that has changed since
    type = "LABELMAP"            # or "BINARY": the form of the DICOM SEG
    mrb = false                  # true: 3D Slicer's whole scene as scene.mrb too

    [[rule]]                     # the first rule that fits decides; what is not said fits everything
    modality = "CT"
    body_part = "CHEST"          # Body Part Examined (0018,0015)
    description = "(?i)thorax"   # a regular expression, found anywhere in Series Description (0008,103E)
    slices = [30, 2000]          # at least, at most
    engine = "slicer"            # "" to skip
    parameters = { }

A series that no rule fits goes to MINIPACS_ENGINE.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minipacs.errors import SettingsError
from minipacs.settings import Settings

FILE = "segmentation.toml"
SUPERSEDED = ("keep", "remove")
TYPES = ("BINARY", "LABELMAP")
DEFAULT_TYPE = "LABELMAP"


@dataclass(frozen=True)
class Rule:
    """One row of the table."""

    engine: str
    modality: str = ""
    body_part: str = ""
    description: str = ""
    slices: tuple[int, int] = (0, 10**9)
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, modality: str, body_part: str, description: str, slices: int) -> bool:
        """Whether all that the rule says is true of the series."""
        return (
            (not self.modality or self.modality == modality)
            and (not self.body_part or self.body_part.upper() == body_part.upper())
            and bool(re.search(self.description, description))
            and self.slices[0] <= slices <= self.slices[1]
        )


@dataclass(frozen=True)
class Rules:
    """The whole table."""

    rules: tuple[Rule, ...]
    superseded: str = "keep"
    type: str = DEFAULT_TYPE
    mrb: bool = False

    @property
    def need_body_part(self) -> bool:
        """Whether a header must be read before the rules can be asked."""
        return any(rule.body_part for rule in self.rules)

    @property
    def engines(self) -> list[str]:
        """Every engine named, without the empty one."""
        return sorted({rule.engine for rule in self.rules} - {""})

    def of(self, modality: str, body_part: str, description: str, slices: int) -> Rule:
        """The first rule that fits; the last one fits everything."""
        return next(rule for rule in self.rules if rule.fits(modality, body_part, description, slices))


def read_rules(settings: Settings) -> Rules:
    """The table of HOME/segmentation.toml, if there is one, closed by MINIPACS_ENGINE for the rest."""
    file = settings.home / FILE
    last = Rule(settings.automatic_engine)
    if not file.is_file():
        return Rules((last,))
    try:
        table = tomllib.loads(file.read_text("utf-8"))
        rules = Rules(
            (*(_rule(row) for row in table.pop("rule", [])), last),
            _one_of(SUPERSEDED, table.pop("superseded", "keep")),
            _one_of(TYPES, table.pop("type", DEFAULT_TYPE)),
            bool(table.pop("mrb", False)),
        )
        if table:
            raise ValueError(f"{', '.join(table)} is not known")
    except (ValueError, TypeError, AttributeError, re.error) as error:
        raise SettingsError(
            f"{_name(file)} cannot be used: {error}.", "Correct it; see docs/segmentation.md."
        ) from error
    return rules


def _rule(row: dict[str, Any]) -> Rule:
    if "engine" not in row:
        raise ValueError("a rule names no engine")
    if "slices" in row:
        least, most = row["slices"]
        row = {**row, "slices": (int(least), int(most))}
    rule = Rule(**row)
    re.compile(rule.description)
    return rule


def _one_of(allowed: tuple[str, ...], value: Any) -> str:
    if value not in allowed:
        raise ValueError(f"{value!r} is none of {', '.join(allowed)}")
    return str(value)


def _name(file: Path) -> str:
    return f"HOME/{file.name}"
