"""Which engines there are: every entry point of `minipacs.engines`, ours found as others' are."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from minipacs.errors import EngineUnavailable
from minipacs.jobs.contract import EngineStatus
from minipacs.settings import Settings
from segmentation.engine import Engine, RemoteEngine

GROUP = "minipacs.engines"
PROMPTERS = "minipacs.prompters"
"""Those of them that answer prompts slice by slice (`segmentation.prompter.Prompter`)."""
ABSENT_VERSION = "absent"
"""The version of an engine that is not available: when it becomes so, its work is another one."""


@dataclass(frozen=True)
class EngineFacts:
    """What is known of an engine before it runs; the defaults hold where it does not say."""

    name: str
    version: str
    parameters: Mapping[str, Any]
    needs: str = "cpu"
    stall_s: float | None = None
    takes_prompts: bool = True

    @classmethod
    def from_engine(cls, engine: Engine) -> "EngineFacts":
        """Read the engine's attributes; an engine of another package may lack the last three."""
        return cls(
            engine.name,
            engine.version,
            engine.parameters,
            needs=getattr(engine, "needs", cls.needs),
            stall_s=getattr(engine, "stall_s", cls.stall_s),
            takes_prompts=getattr(engine, "takes_prompts", cls.takes_prompts),
        )


def create_engine(
    name: str, settings: Settings, parameters: Mapping[str, Any] | None = None, group: str = GROUP
) -> Engine:
    """Create the engine of this name, ready to use; raises `EngineUnavailable`.

    `parameters` (a rule's, or the command line's) reach the factory as keyword arguments.
    """
    points = _find_entry_points(group)
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


def read_engine_facts(name: str, settings: Settings, parameters: Mapping[str, Any] | None = None) -> EngineFacts:
    """The facts of the engine of this name; of one that is not available, `ABSENT_VERSION`."""
    try:
        return EngineFacts.from_engine(create_engine(name, settings, parameters))
    except EngineUnavailable:
        return EngineFacts(name, ABSENT_VERSION, {})


def list_engines(settings: Settings) -> list[EngineStatus]:
    """Every installed engine, available or not, by name."""
    return [_read_status(name, settings) for name in list_engine_names()]


def list_engine_names() -> list[str]:
    """Names of all installed engines, available or not."""
    return list(_find_entry_points(GROUP))


def list_prompter_names() -> list[str]:
    """Names of the engines that answer prompts, available or not."""
    return list(_find_entry_points(PROMPTERS))


def _read_status(name: str, settings: Settings) -> EngineStatus:
    status = EngineStatus(name=name, available=False, version="", modalities=[], reason="", hint="")

    try:
        engine = create_engine(name, settings)
        if isinstance(engine, RemoteEngine):
            engine.check()
    except EngineUnavailable as error:
        return {**status, "reason": error.message, "hint": error.hint}

    return {**status, "available": True, "version": engine.version, "modalities": sorted(engine.modalities)}


def _find_entry_points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda p: p.name)}
