"""An engine whose answer says which pixels it was given: a threshold, and a checksum of the volume in its first row.

It is used in the process of the test, in place of all engines that are installed (`use_checksum_engine`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from minipacs.settings import Settings
from segmentation import registry
from segmentation.engine import Labelmap, Progress, Prompt, Segment, no_progress
from segmentation.job import child, parent
from segmentation.results.surface_process import SurfaceProcess
from segmentation.vocabulary import codes

if TYPE_CHECKING:
    from highdicom import Volume

NAME = "checksum"
CHECKSUM_BITS = 32
BODY_HU = 0
ONE = Segment("Bone", codes.TISSUE, codes.BONE)
ZERO = Segment("Soft tissue", codes.TISSUE, codes.SOFT_TISSUE, region=codes.TRUNK)


class ChecksumEngine:
    """What is denser than water, and the checksum: a bit a voxel, 1 as bone, 0 as soft tissue."""

    name, version = NAME, "1"
    parameters: Mapping[str, Any] = {}
    modalities = frozenset({"CT"})
    needs, stall_s, needs_prompts, takes_prompts = "cpu", None, False, False

    def segment(
        self,
        volume: "Volume",
        _prompts: Sequence[Prompt] = (),
        _progress: Progress = no_progress,
        *,
        modality: str = "CT",
    ) -> Labelmap:
        """See the class."""
        checksum = compute_checksum(volume.array)
        RUNS.append(checksum)
        labels = np.where(volume.array > BODY_HU, 2, 0).astype(np.uint8)
        labels[0, 0, :CHECKSUM_BITS] = [1 if checksum >> bit & 1 else 2 for bit in range(CHECKSUM_BITS)]
        return Labelmap(labels, volume.get_geometry(), (ONE, ZERO))


RUNS: list[int] = []
"""The checksum of each volume that was segmented since this was emptied."""


def compute_checksum(hounsfield: NDArray[Any]) -> int:
    """Of an array (slices, rows, columns) in HU, whatever its type."""
    return crc32(np.ascontiguousarray(hounsfield, np.float32).tobytes())


def read_checksum(labels: NDArray[Any]) -> int:
    """The checksum in the first row of a labelmap."""
    return sum(int(value == 1) << bit for bit, value in enumerate(labels[0, 0, :CHECKSUM_BITS]))


def create(_settings: Settings, **_parameters: Any) -> ChecksumEngine:
    """The factory, as of the entry point group `minipacs.engines`."""
    return ChecksumEngine()


class NoSurfaces(SurfaceProcess):
    """Makes no surfaces: they take 2 s a series, and say nothing of identity."""

    def __init__(self) -> None: ...

    def send_labelmap(self, *_: Any) -> None:
        """Make nothing of it."""

    def wait_for_durations(self) -> dict[str, float]:
        """There is nothing to wait for."""
        return {}


@contextmanager
def use_checksum_engine() -> Iterator[None]:
    """Have every segmentation of this process done here, by this engine, without surfaces."""
    point = EntryPoint(NAME, f"{__name__}:create", registry.GROUP)

    def find_entry_points(_group: str) -> dict[str, EntryPoint]:
        return {NAME: point}

    def run_here(request: Any, settings: Settings, progress: Progress, _log: Any) -> Any:
        return child.run_request(request, settings, progress)

    @contextmanager
    def start_no_surfaces() -> Iterator[SurfaceProcess]:
        yield NoSurfaces()

    with (
        patch.object(registry, "_find_entry_points", find_entry_points),
        patch.object(parent, "run_in_child", run_here),
        patch("segmentation.job.pipeline.start_surface_process", start_no_surfaces),
    ):
        yield
