"""Which engines there are: every entry point of `minipacs.engines`, ours by the same door as others'."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from minipacs.errors import EngineUnavailable
from minipacs.settings import Settings
from segmentation.engine import Engine, Remote

GROUP = "minipacs.engines"
PROMPTERS = "minipacs.prompters"
"""Those of them that answer prompts slice by slice (`prompting/wish.py`)."""


@dataclass(frozen=True)
class Listing:
    """An engine in the list: available, or why not and what to do."""

    name: str
    available: bool
    version: str = ""
    modalities: tuple[str, ...] = ()
    reason: str = ""
    hint: str = ""


def create(name: str, settings: Settings, parameters: Mapping[str, Any] | None = None, group: str = GROUP) -> Engine:
    """The engine of this name, ready to use; raises `EngineUnavailable`.

    `parameters` (a rule's, or the command line's) reach the factory as keyword arguments.
    """
    points = _points(group)
    if name not in points:
        raise EngineUnavailable(
            f"There is no engine {name!r}.", f"Set MINIPACS_ENGINE to one of: {', '.join(points) or 'none installed'}."
        )
    try:
        factory = points[name].load()
    except ImportError as error:
        raise EngineUnavailable(f"The engine {name} cannot be loaded: {error}.", "Install what is missing.") from error
    try:
        engine: Engine = factory(settings, **(parameters or {}))
    except TypeError as error:
        if not parameters:
            raise
        raise EngineUnavailable(
            f"The engine {name} does not take {', '.join(parameters)}.", "Correct the rule or the option."
        ) from error
    return engine


def listing(settings: Settings) -> list[Listing]:
    """Every installed engine, available or not, by name."""
    return [_listed(name, settings) for name in _points()]


def _listed(name: str, settings: Settings) -> Listing:
    try:
        engine = create(name, settings)
        if isinstance(engine, Remote):
            engine.check()
    except EngineUnavailable as error:
        return Listing(name, False, reason=error.message, hint=error.hint)
    return Listing(name, True, engine.version, tuple(sorted(engine.modalities)))


def prompters() -> list[str]:
    """Names of the engines that answer prompts, available or not."""
    return list(_points(PROMPTERS))


def _points(group: str = GROUP) -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda p: p.name)}
