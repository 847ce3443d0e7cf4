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
from typing import Any

from minipacs.errors import SettingsError
from minipacs.result_paths import RULES_FILE, rules_file
from minipacs.settings import Settings
from segmentation.results.seg_type import DEFAULT_SEG_TYPE, SEG_TYPES

SUPERSEDED = ("keep", "remove")
"""What may become of the results of a series that has changed since."""


@dataclass(frozen=True)
class Rule:
    """One row of the table. Its `repr` enters the keys of jobs, as that of `Rules` does."""

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
    """The whole table. Its `repr` enters the keys of jobs: another name or order of its fields queues all work anew."""

    rules: tuple[Rule, ...]
    superseded: str = "keep"
    type: str = DEFAULT_SEG_TYPE
    mrb: bool = False

    @property
    def needs_body_part(self) -> bool:
        """Whether a header must be read before the rules can be applied."""
        return any(rule.body_part for rule in self.rules)

    @property
    def engines(self) -> list[str]:
        """Every engine named, without the empty one."""
        return sorted({rule.engine for rule in self.rules} - {""})

    def find_rule(self, modality: str, body_part: str, description: str, slices: int) -> Rule:
        """The first rule that fits; the last one fits everything."""
        return next(rule for rule in self.rules if rule.fits(modality, body_part, description, slices))


def read_rules(settings: Settings) -> Rules:
    """The table of HOME/segmentation.toml, if there is one, closed by MINIPACS_ENGINE for the rest."""
    try:
        text = rules_file(settings).read_text("utf-8")
    except FileNotFoundError:
        text = ""
    except UnicodeDecodeError as error:
        raise _make_rules_error(error) from error

    return parse_rules(text, settings.automatic_engine)


def parse_rules(text: str, default_engine: str) -> Rules:
    """The table in this TOML text; a series that no rule fits goes to `default_engine`. Raises `SettingsError`."""
    try:
        table = tomllib.loads(text)
        rules = Rules(
            (*(_parse_rule(row) for row in table.pop("rule", [])), Rule(default_engine)),
            _check_one_of(SUPERSEDED, table.pop("superseded", "keep")),
            _check_one_of(SEG_TYPES, table.pop("type", DEFAULT_SEG_TYPE)),
            bool(table.pop("mrb", False)),
        )
        if table:
            raise ValueError(f"{', '.join(table)} is not known")
    except (ValueError, TypeError, AttributeError, re.error) as error:
        raise _make_rules_error(error) from error

    return rules


def _parse_rule(row: dict[str, Any]) -> Rule:
    if "engine" not in row:
        raise ValueError("a rule names no engine")

    if "slices" in row:
        fewest, most = row["slices"]
        row = {**row, "slices": (int(fewest), int(most))}

    rule = Rule(**row)
    re.compile(rule.description)

    return rule


def _check_one_of(allowed: tuple[str, ...], value: Any) -> str:
    if value not in allowed:
        raise ValueError(f"{value!r} is none of {', '.join(allowed)}")

    return str(value)


def _make_rules_error(error: Exception) -> SettingsError:
    return SettingsError(f"HOME/{RULES_FILE} cannot be used: {error}.", "Correct it; see docs/segmentation.md.")
