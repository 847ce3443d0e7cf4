"""What foreign bytes may take in memory once they are unpacked: one object, one frame, one volume; and of time.

A file of a megabyte can claim, or unpack to, many gigabytes. So every reader compares the claim of the header with
these limits before memory is taken for it, and counts again while it unpacks. They fit the machine unless the
settings say otherwise.
"""

from dataclasses import dataclass

from minipacs.errors import ExceedsMemory
from minipacs.memory.machine_memory import read_memory_bytes
from minipacs.settings import Settings

__all__ = [
    "SizeLimits",
    "apply_size_limits",
    "check_frame_size",
    "check_object_size",
    "check_volume_size",
    "current_limits",
    "derive_size_limits",
    "use_size_limits",
]

MB = 2**20
OBJECT_SETTING, FRAME_SETTING, VOLUME_SETTING = "MINIPACS_OBJECT_MB", "MINIPACS_FRAME_MB", "MINIPACS_VOLUME_MB"
RENDER_SETTING, DEFAULT_RENDER_S = "MINIPACS_RENDER_LIMIT_S", 900
OBJECT_SHARE, MIN_OBJECT_BYTES = 8, 256 * MB
FRAME_SHARE, MIN_FRAME_BYTES = 32, 96 * MB
VOLUME_SHARE, MIN_VOLUME_BYTES = 12, 256 * MB
"""By default an object, a frame and a volume may take one of so many parts of the memory, and at least so much."""


@dataclass(frozen=True)
class SizeLimits:
    """The most bytes of memory for what is unpacked or decoded."""

    object_bytes: int
    """An object as a file, unpacked."""
    frame_bytes: int
    """The pixels of one frame, decoded."""
    volume_bytes: int
    """The voxels of one volume, as they are stored."""
    render_s: int = DEFAULT_RENDER_S
    """Seconds that all pictures of one object may take."""


def derive_size_limits(settings: Settings | None = None) -> SizeLimits:
    """The limits of the settings; where they are 0, those that fit this machine's memory."""
    memory = read_memory_bytes()
    wanted = settings or Settings()
    return SizeLimits(
        object_bytes=wanted.object_mb * MB or max(MIN_OBJECT_BYTES, memory // OBJECT_SHARE),
        frame_bytes=wanted.frame_mb * MB or max(MIN_FRAME_BYTES, memory // FRAME_SHARE),
        volume_bytes=wanted.volume_mb * MB or max(MIN_VOLUME_BYTES, memory // VOLUME_SHARE),
        render_s=wanted.render_limit_s,
    )


_applied: list[SizeLimits] = []
"""The limits of this process, once they are known."""


def apply_size_limits(settings: Settings) -> None:
    """Use the limits of these settings in this process; each command does so when it starts."""
    use_size_limits(derive_size_limits(settings))


def use_size_limits(limits: SizeLimits) -> None:
    """Use these limits in this process."""
    _applied[:] = [limits]


def current_limits() -> SizeLimits:
    """The limits of this process: those that were applied, else those that fit the machine."""
    if not _applied:
        _applied.append(derive_size_limits())
    return _applied[0]


def check_object_size(size: int, what: str = "The object") -> None:
    """Raise `ExceedsMemory` for an object of more bytes than one may take."""
    _check(size, current_limits().object_bytes, what, "an object", OBJECT_SETTING)


def check_frame_size(size: int, what: str = "The frame") -> None:
    """Raise `ExceedsMemory` for a decoded frame of more bytes than one may take."""
    _check(size, current_limits().frame_bytes, what, "a frame", FRAME_SETTING)


def check_volume_size(size: int, what: str = "The volume") -> None:
    """Raise `ExceedsMemory` for a volume of more bytes than one may take."""
    _check(size, current_limits().volume_bytes, what, "a volume", VOLUME_SETTING)


def _check(size: int, limit: int, what: str, kind: str, setting: str) -> None:
    if size <= limit:
        return
    raise ExceedsMemory(
        f"{what} takes {_as_mb(size)} MB of memory; {kind} may take {_as_mb(limit)} MB.",
        f"If it is meant to be so large, raise {setting}, on a machine that has the memory.",
        setting=setting,
        limit_value=limit,
    )


def _as_mb(size: int) -> int:
    """Whole MB, rounded up."""
    return -(-size // MB)
