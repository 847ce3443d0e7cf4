"""What an engine is, what it takes and what it gives: the contract of `segmentation/engines/`.

An engine is made by a factory `(Settings, **parameters) -> Engine` registered under the entry point group
`minipacs.engines`. The factory and the attributes are **light** (the job service reads them for the
identity of work): what is heavy is imported inside `segment`. A factory that cannot deliver raises
`EngineUnavailable` with the reason and, as hint, what to do. `segment` runs in a child process with
a time limit; it raises `EngineFailed` or `WrongPrompts`, never half a result.

Everything here is in patient coordinates, LPS, mm (PS3.3 C.7.6.2.1.1); NIfTI, RAS and foreign axis
orders stay inside engines and exporters.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from segmentation.labelmap import Labelmap, Segment
from segmentation.prompts import Box, Point, Position, Prompt

if TYPE_CHECKING:
    from highdicom import Volume

__all__ = [
    "Box",
    "Engine",
    "Labelmap",
    "Point",
    "Position",
    "Progress",
    "Prompt",
    "RemoteEngine",
    "Segment",
    "no_progress",
]
"""All that the author of an engine needs."""


class Progress(Protocol):
    """Called with how far an engine is: a stage in a word or two, and steps done of `total` where they are known."""

    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None: ...


def no_progress(stage: str, done: int = 0, total: int = 0) -> None:
    """Ignore the progress."""


class Engine(Protocol):
    """A way to segment a volume. Attributes are known without heavy imports.

    An engine of another package may leave out `needs`, `stall_s` and `takes_prompts`; what then counts stands
    with each of them, and `registry.EngineFacts` is the one place that reads it.
    """

    @property
    def name(self) -> str:
        """Name in settings, on the command line, in the results: ManufacturerModelName (0008,1090)."""

    @property
    def version(self) -> str:
        """Changes whenever the same input may give another result; enters the identity of results."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """JSON values that change the result; they enter the identity."""

    @property
    def modalities(self) -> frozenset[str]:
        """Modality (0008,0060) values it takes."""

    @property
    def needs(self) -> str:
        """Resource tag of the worker that can run it: "cpu", or "gpu" where it computes on one. Left out: "cpu"."""

    @property
    def stall_s(self) -> float | None:
        """Seconds it may neither report progress nor use this machine's processor.

        Left out, or None: MINIPACS_ENGINE_STALL_S.
        """

    @property
    def needs_prompts(self) -> bool:
        """Whether it segments nothing without prompts."""

    @property
    def takes_prompts(self) -> bool:
        """Whether prompts may be given; where not, they are refused before it runs.

        Left out: True, and the engine itself refuses what it cannot use.
        """

    def segment(
        self,
        volume: "Volume",
        prompts: Sequence[Prompt] = (),
        progress: Progress = no_progress,
        *,
        modality: str = "CT",
    ) -> Labelmap:
        """Segments of the volume, on its own grid (`volume.get_geometry()`).

        `volume`: `highdicom.Volume`, array (slices, rows, columns), for CT in HU, int16 or float32,
        C-contiguous; any direction cosines, spacing in mm. From DICOM the slices increase along row
        cosine × column cosine; from other files not even that is promised: read the affine.
        `modality`: of the volume, one of `modalities`.
        Raises `EngineFailed`, `WrongPrompts`, `EngineUnavailable`; `NotAVolume` for a series that it
        cannot take (too small a field of view), which is then left out with that reason.
        """


@runtime_checkable
class RemoteEngine(Protocol):
    """An engine on another server, which may be away while its identity is known."""

    def check(self) -> None:
        """Raise `EngineUnavailable` while the server does not answer."""
