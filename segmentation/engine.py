"""What an engine is, what it takes and what it gives: the contract of `segmentation/engines/`.

An engine is made by a factory `(Settings) -> Engine` registered under the entry point group
`minipacs.engines`. The factory and the attributes are **light** (the job service asks them for the
identity of work): what is heavy is imported inside `segment`. A factory that cannot deliver raises
`EngineUnavailable` with the reason and, as hint, what to do. `segment` runs in a child process with
a time limit; it raises `EngineFailed` or `WrongPrompts`, never half a result.

Everything here is in patient coordinates, LPS, mm (PS3.3 C.7.6.2.1.1); NIfTI, RAS and foreign axis
orders stay inside engines and exporters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from minipacs.errors import EngineFailed
from segmentation.vocabulary.codes import ARTIFICIAL_INTELLIGENCE, TISSUE, Code

if TYPE_CHECKING:
    import numpy as np
    from highdicom import Volume, VolumeGeometry
    from numpy.typing import NDArray

Position = tuple[float, float, float]
"""A point in patient coordinates: LPS, mm."""


@dataclass(frozen=True)
class Point:
    """A click: `positive` belongs to the segment, otherwise it does not."""

    position: Position
    positive: bool = True
    label: str = ""
    """Which segment is meant, where an engine knows several; empty: the one asked for."""


@dataclass(frozen=True)
class Box:
    """Two opposite corners of a box with edges along the volume's axes; equal corners along one axis: a rectangle."""

    corner: Position
    opposite: Position
    label: str = ""


Prompt = Point | Box


@dataclass(frozen=True)
class Segment:
    """What one value of a labelmap means."""

    label: str
    category: Code
    type: Code
    laterality: Code | None = None
    """Modifier of `type` (PS3.16 CID 244)."""
    region: Code | None = None
    """Anatomic region, where the type does not say it (fat *of the trunk*)."""
    color: tuple[int, int, int] = (128, 174, 128)
    """sRGB, 0 to 255."""
    algorithm: str = "AUTOMATIC"
    """AUTOMATIC, SEMIAUTOMATIC (made from prompts) or MANUAL (PS3.3 C.8.20.2)."""
    family: Code = ARTIFICIAL_INTELLIGENCE
    """Kind of algorithm (PS3.16 CID 7162)."""
    surface: bool = True
    """Whether a surface of it shows something: not of fat or of what is left over."""
    encloses: bool = False
    """The labelmap holds what is left of it; its surface is drawn around all segments together (body)."""

    @property
    def whole_label(self) -> str:
        """The name of its surface: of a segment that encloses others, without the word for what is left."""
        return self.label.removesuffix(" (remainder)") if self.encloses else self.label

    @property
    def of_voxels(self) -> "Segment":
        """What the labelmap's voxels alone are: of a segment that encloses others, some tissue within it."""
        return replace(self, category=TISSUE, type=TISSUE, laterality=None, region=self.type) if self.encloses else self

    def __post_init__(self) -> None:
        if not 0 < len(self.label) <= 64:  # Segment Label (0062,0005), VR LO
            raise ValueError(f"a segment's label has 1 to 64 characters, not {self.label!r}")
        if self.algorithm not in ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"):
            raise ValueError(f"Segment Algorithm Type cannot be {self.algorithm!r}")
        if any(not 0 <= channel <= 255 for channel in self.color):
            raise ValueError(f"a colour is three integers 0 to 255, not {self.color}")


@dataclass(frozen=True, eq=False)
class Labelmap:
    """Exclusive segments on a volume's grid: value n of `array` is `segments[n - 1]`, 0 is background.

    `array`: (slices, rows, columns), uint8 or uint16, on `geometry`'s indices. A wrong labelmap
    cannot be made: it raises `EngineFailed`.
    """

    array: "NDArray[np.uint8] | NDArray[np.uint16]"
    geometry: "VolumeGeometry"
    segments: tuple[Segment, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What the engine made besides, to be kept beside the results: name (may hold a folder) → content."""

    def __post_init__(self) -> None:
        if self.array.dtype.name not in ("uint8", "uint16"):
            raise EngineFailed(f"A labelmap must be uint8 or uint16, not {self.array.dtype}.")
        if self.array.shape != tuple(self.geometry.spatial_shape):
            raise EngineFailed(
                f"A labelmap must have its volume's shape {tuple(self.geometry.spatial_shape)}, not {self.array.shape}."
            )
        highest = int(self.array.max(initial=0))
        if highest > len(self.segments):
            raise EngineFailed(f"A labelmap holds the value {highest}, but describes {len(self.segments)} segments.")

    def counts(self) -> "NDArray[np.int64]":
        """Voxels of each segment, in the order of `segments`."""
        return self._counts

    @cached_property
    def _counts(self) -> "NDArray[np.int64]":
        from segmentation.extents import counts

        return counts(self.array, len(self.segments))

    @cached_property
    def boxes(self) -> "list[tuple[slice, slice, slice] | None]":
        """The part of `array` in which each segment lies; nothing for a segment without a voxel."""
        from segmentation.extents import boxes

        return boxes(self.array, len(self.segments))

    def compact(self) -> "Labelmap":
        """Without the segments that have no voxel; the others are numbered anew in their order."""
        import numpy as np

        counts = self.counts()
        if counts.all():
            return self
        kept = np.flatnonzero(counts)
        table = np.zeros(len(self.segments) + 1, self.array.dtype)
        table[kept + 1] = np.arange(1, len(kept) + 1)
        return replace(self, array=table[self.array], segments=tuple(self.segments[i] for i in kept))


class Progress(Protocol):
    """Told how far an engine is: a stage in a word or two, and steps done of `total` where they are known."""

    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None: ...


def no_progress(stage: str, done: int = 0, total: int = 0) -> None:
    """Nobody listens."""


class Engine(Protocol):
    """A way to segment a volume. Attributes are known without heavy imports.

    It may have two more: `needs`, "gpu" where it computes on one (else "cpu"), and `stall_s`, seconds it
    may neither tell progress nor use this machine's processor (else MINIPACS_ENGINE_STALL_S).
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
    def needs_prompts(self) -> bool:
        """Whether it segments nothing without prompts."""

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
class Remote(Protocol):
    """An engine on another server, which may be away while its identity is known."""

    def check(self) -> None:
        """Raises `EngineUnavailable` while it cannot be asked."""
