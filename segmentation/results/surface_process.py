"""Surfaces and Slicer's scene, made in a process beside: VTK holds Python's lock, SEG needs it.

The process is started before the series is read, so that Slicer's libraries are loaded while the disk and
the engine work. A crash in native code ends it alone and becomes an `EngineFailed`. It is killed when it is
no longer needed: everything is written then, and taking Slicer's libraries down would only take time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import numpy as np

from minipacs.errors import EngineFailed
from segmentation.engine import Labelmap, Segment
from segmentation.results.slicer_scene import Scene, warm
from segmentation.results.surfaces import surfaces, write_glb

HANDED_OVER = ".labels.npy"
STAGES = ("surfaces", "GLB", "seg.nrrd", "mrb")


class Shapes:
    """The process beside, waiting for a labelmap at the other end of `pipe`."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def begin(self, labelmap: Labelmap, out: Path, series: str, bundle: bool = False) -> None:
        """Hand the labelmap over; `model.glb` and `segmentation.seg.nrrd` will be written below `out`.

        `bundle`: the whole scene as `scene.mrb` too.
        """
        np.save(out / HANDED_OVER, labelmap.array)
        with crash_told():
            self._pipe.send((np.asarray(labelmap.geometry.affine), labelmap.segments, out, series, bundle))

    def end(self) -> dict[str, float]:
        """Wait until they are written; seconds of each stage."""
        with crash_told():
            answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


@contextmanager
def crash_told() -> Iterator[None]:
    """A pipe that breaks means that the process is gone."""
    try:
        yield
    except (EOFError, OSError) as error:
        raise EngineFailed("3D Slicer's libraries crashed while surfaces were made.") from error


@contextmanager
def beside() -> Iterator[Shapes]:
    """The process, for as long as it is needed."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Shapes(ours)
    finally:
        process.kill()
        process.join()
        ours.close()


def serve(pipe: Connection) -> None:
    """Load the libraries, wait for a labelmap, answer with the seconds of each stage or with the error."""
    warm()
    for library in ("cv2", "fast_simplification", "highdicom"):
        import_module(library)
    try:
        request = pipe.recv()
    except EOFError:  # nobody waits any more
        return
    try:
        seconds, _kept = write_shapes(*request)
        pipe.send(seconds)
        pipe.poll(None)  # the scene stays until this process is killed: to take it down would keep two cores busy
    except Exception as error:  # the outermost loop of this process: told to the one that waits
        pipe.send(error)


def write_shapes(
    affine: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]",
    segments: tuple[Segment, ...],
    out: Path,
    series: str,
    bundle: bool,
) -> tuple[dict[str, float], Scene]:
    """Surfaces, GLB and seg.nrrd of the labelmap that lies in `out`; seconds of each stage, and the scene."""
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
    return dict(zip(STAGES, np.diff(times).round(3).tolist(), strict=False)), scene
