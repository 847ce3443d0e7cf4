"""Surfaces and Slicer's scene, made in a process of their own: VTK holds Python's lock, which SEG needs.

The process is started before the series is read, so that Slicer's libraries are loaded while the disk and
the engine work. A crash in native code ends it alone and becomes an `EngineFailed`. It is killed when it is
no longer needed: everything is written then, and taking Slicer's libraries down would only take time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from minipacs.errors import EngineFailed
from segmentation.labelmap import Labelmap, Segment
from segmentation.results.glb import write_glb
from segmentation.results.slicer_scene import SlicerScene, load_slicer
from segmentation.results.surfaces import find_surfaces

LABELS_FILE = ".labels.npy"
"""The label array on its way to the process, below the folder of the results."""


@dataclass(frozen=True)
class SurfaceRequest:
    """What the process is to write; the label array lies in `out`."""

    affine: NDArray[np.float64]
    """(4, 4): (slice, row, column) indices to LPS mm."""
    segments: tuple[Segment, ...]
    out: Path
    series: str
    """Series Instance UID of the source, or the name of its file."""
    bundle: bool
    """Whether 3D Slicer's whole scene is wanted too, `scene.mrb`."""


class SurfaceProcess:
    """The process that waits for a labelmap at the other end of `pipe`."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def send_labelmap(self, labelmap: Labelmap, out: Path, series: str, bundle: bool = False) -> None:
        """Send the labelmap; `model.glb` and `segmentation.seg.nrrd` will be written below `out`.

        `bundle`: the whole scene as `scene.mrb` too.
        """
        np.save(out / LABELS_FILE, labelmap.array)
        affine = np.asarray(labelmap.geometry.affine, np.float64)

        with _translate_broken_pipe():
            self._pipe.send(SurfaceRequest(affine, labelmap.segments, out, series, bundle))

    def wait_for_durations(self) -> dict[str, float]:
        """Wait until everything is written; seconds of each stage. Raises what the process raised."""
        with _translate_broken_pipe():
            answer: dict[str, float] | Exception = self._pipe.recv()

        if isinstance(answer, Exception):
            raise answer

        return answer


@contextmanager
def start_surface_process() -> Iterator[SurfaceProcess]:
    """Start the process, and kill it at the end."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve_one_request, args=(theirs,), daemon=True)
    process.start()
    theirs.close()

    try:
        yield SurfaceProcess(ours)
    finally:
        process.kill()
        process.join()
        ours.close()


@contextmanager
def _translate_broken_pipe() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        raise EngineFailed("3D Slicer's libraries crashed while surfaces were made.") from error


# -- in the process ---------------------------------------------------------------------------------
def serve_one_request(pipe: Connection) -> None:
    """Load the libraries, wait for a request, answer with the seconds of each stage or with the error."""
    load_slicer()
    for library in ("cv2", "fast_simplification", "highdicom"):
        import_module(library)

    try:
        request: SurfaceRequest = pipe.recv()
    except EOFError:  # the parent has gone
        return

    try:
        seconds, _scene = write_surfaces(request)
        pipe.send(seconds)
        pipe.poll(None)  # the scene stays until this process is killed: to take it down would keep two cores busy
    except Exception as error:  # the outermost loop of this process: the parent raises it
        pipe.send(error)


def write_surfaces(request: SurfaceRequest) -> tuple[dict[str, float], SlicerScene]:
    """Write GLB, seg.nrrd and, if wanted, the bundle; seconds of each stage, and the scene."""
    from highdicom import VolumeGeometry

    labels_file = request.out / LABELS_FILE
    array = np.load(labels_file)
    labels_file.unlink()
    labelmap = Labelmap(array, VolumeGeometry(request.affine, array.shape, "PATIENT"), request.segments)

    seconds: dict[str, float] = {}

    with _time_stage("surfaces", seconds):
        surfaces = find_surfaces(labelmap)

    with _time_stage("GLB", seconds):
        write_glb(request.out / "model.glb", surfaces, labelmap.segments, {"series": request.series})

    with _time_stage("seg.nrrd", seconds):
        scene = SlicerScene(labelmap, surfaces)
        scene.save_seg_nrrd(request.out / "segmentation.seg.nrrd")

    if request.bundle:
        with _time_stage("mrb", seconds):
            scene.save_mrb(request.out / "scene.mrb")

    return seconds, scene


@contextmanager
def _time_stage(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    began = perf_counter()
    yield
    seconds[stage] = round(perf_counter() - began, 3)
