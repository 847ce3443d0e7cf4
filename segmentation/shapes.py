"""Surfaces and Slicer's scene, made in a process beside: VTK holds Python's lock, SEG needs it.

The process is started when the series has passed the gate, so that Slicer's libraries are loaded while
the engine works; a crash in native code ends it alone and becomes an `EngineFailed`.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import numpy as np

from minipacs.errors import EngineFailed
from segmentation.engine import Labelmap, Segment
from segmentation.mesh import surfaces, write_glb
from segmentation.scene import Scene, warm

HANDED_OVER = ".labels.npy"
STAGES = ("surfaces", "GLB", "seg.nrrd", "mrb")


class Shapes:
    """The process beside, waiting for a labelmap."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool
        self._done: Future[dict[str, float]] | None = None
        self._pool.submit(warm)

    def begin(self, labelmap: Labelmap, out: Path, series: str, bundle: bool = False) -> None:
        """Hand the labelmap over; `model.glb` and `segmentation.seg.nrrd` will be written below `out`.

        `bundle`: the whole scene as `scene.mrb` too.
        """
        np.save(out / HANDED_OVER, labelmap.array)
        affine = np.asarray(labelmap.geometry.affine)
        self._done = self._pool.submit(write_shapes, affine, labelmap.segments, out, series, bundle)

    def end(self) -> dict[str, float]:
        """Wait until they are written; seconds of each stage."""
        if self._done is None:
            raise ValueError("begin comes before end")
        try:
            return self._done.result()
        except BrokenProcessPool as error:
            raise EngineFailed("3D Slicer's libraries crashed while surfaces were made.") from error


@contextmanager
def beside() -> Iterator[Shapes]:
    """The process, for as long as it is needed."""
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    try:
        yield Shapes(pool)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def write_shapes(
    affine: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]",
    segments: tuple[Segment, ...],
    out: Path,
    series: str,
    bundle: bool,
) -> dict[str, float]:
    """Surfaces, GLB and seg.nrrd of the labelmap that lies in `out`; seconds of each stage."""
    from highdicom import VolumeGeometry

    array = np.load(out / HANDED_OVER)
    (out / HANDED_OVER).unlink()
    labelmap = Labelmap(array, VolumeGeometry(affine, array.shape, "PATIENT"), segments)
    times = [perf_counter()]
    meshes = surfaces(labelmap)
    times.append(perf_counter())
    write_glb(out / "model.glb", meshes, labelmap.segments, {"series": series})
    times.append(perf_counter())
    scene = Scene(labelmap, meshes)
    scene.save(out / "segmentation.seg.nrrd")
    times.append(perf_counter())
    if bundle:
        scene.save_bundle(out / "scene.mrb")
        times.append(perf_counter())
    return dict(zip(STAGES, np.diff(times).round(3).tolist(), strict=False))
