"""From the images of one series to a folder of results: read, segment, check, write every form.

Runs in the child process (`child.py`). Every form is written from one `Labelmap`, so that SEG, surfaces and
volumes cannot disagree.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from minipacs.errors import EngineFailed, WrongPrompts
from minipacs.signed_files import offering_study
from segmentation.engine import Engine, Progress, no_progress
from segmentation.identity import Identity, digest_parameters
from segmentation.job.request import ResultOptions
from segmentation.labelmap import Labelmap
from segmentation.prompts import Prompt
from segmentation.registry import EngineFacts
from segmentation.results.dicom_seg import encode_seg
from segmentation.results.dicom_sr import encode_sr, measure_segments
from segmentation.results.manifest import Manifest, RunFacts, write_manifest
from segmentation.results.plain_forms import write_plain_forms
from segmentation.results.seg_type import DEFAULT_SEG_TYPE
from segmentation.results.surface_process import start_surface_process
from segmentation.series_volume import (
    Slices,
    is_single_volume_file,
    load_volume,
    read_images,
    read_volume_and_modality,
    stack_images,
)

if TYPE_CHECKING:
    from highdicom import Volume

SAME_GRID_MM = 1e-3
"""Corners of two grids that are the same lie at most so far apart."""


@dataclass(frozen=True)
class SourceVolume:
    """What is segmented."""

    volume: "Volume"
    slices: Slices | None
    """None for a file that is not DICOM: there is nothing a SEG could refer to."""
    modality: str
    name: str
    """Series Instance UID, or the name of the file."""
    study_instance_uid: str = ""
    """Empty for a file that is not DICOM."""


@dataclass
class Stopwatch:
    """Seconds of each stage; surfaces, GLB and seg.nrrd are made at the same time as the others."""

    progress: Progress
    """Called with each stage that begins."""
    began: float = field(default_factory=perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time_stage(self, name: str) -> Iterator[None]:
        """Time the block."""
        self.progress(name)
        began = perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + perf_counter() - began, 3)


def segment_files(
    files: Sequence[Path],
    digest: str,
    engine: Engine,
    out: Path,
    prompts: Sequence[Prompt] = (),
    progress: Progress = no_progress,
    options: ResultOptions | None = None,
) -> Manifest:
    """Segment the series in these DICOM files, or one NIfTI or NRRD file; the manifest, written last.

    Every form goes below `out`. `digest`: of the series' SOP Instance UIDs, as the archive has them,
    or of the file.
    Raises `NotAVolume`, `Unreadable`, `EngineFailed`, `WrongPrompts`.
    """
    options = options or ResultOptions()
    watch = Stopwatch(progress)

    with start_surface_process() as surfaces:
        with watch.time_stage("read"):
            source = _read_source(files, engine, options.get("modality") or "")

        with watch.time_stage("segment"), offering_study(source.study_instance_uid):
            labelmap = run_engine(engine, source.volume, prompts, progress, modality=source.modality)

        identity = make_identity(source.name, digest, engine, prompts)
        out.mkdir(parents=True, exist_ok=True)
        surfaces.send_labelmap(labelmap, out, identity.series_instance_uid, options.get("mrb", False))
        write_dicom_forms(source, labelmap, identity, out, watch, options.get("type") or DEFAULT_SEG_TYPE)
        write_plain_forms(labelmap, source.volume, out, watch.time_stage)
        watch.seconds |= surfaces.wait_for_durations()

    run = RunFacts(dict(engine.parameters), watch.seconds, round(perf_counter() - watch.began, 3))

    return write_manifest(out, identity, labelmap, source.slices, run, has_report=True)


def make_identity(series_instance_uid: str, digest: str, engine: Engine, prompts: Sequence[Prompt] = ()) -> Identity:
    """The identity of what this engine will make of this series."""
    made_of: dict[str, Any] = dict(engine.parameters)
    if prompts:
        made_of["prompts"] = [repr(prompt) for prompt in prompts]

    return Identity(series_instance_uid, digest, engine.name, engine.version, digest_parameters(made_of))


def run_engine(
    engine: Engine,
    volume: "Volume",
    prompts: Sequence[Prompt] = (),
    progress: Progress = no_progress,
    *,
    modality: str = "CT",
) -> Labelmap:
    """What the engine finds, on the volume's grid, without segments that have no voxel.

    Raises `WrongPrompts` for an engine that takes none, `EngineFailed` where it finds nothing or answers on
    another grid.
    """
    if prompts and not EngineFacts.from_engine(engine).takes_prompts:
        raise WrongPrompts(
            f"The engine {engine.name} takes no prompts.", "Leave them out, or choose an engine that does."
        )

    labelmap = engine.segment(volume, prompts, progress, modality=modality)
    check_same_grid(labelmap, volume)

    labelmap = labelmap.compact()
    if not labelmap.segments:
        raise EngineFailed(f"The engine {engine.name} found nothing in this series.")

    return labelmap


def check_same_grid(labelmap: Labelmap, volume: "Volume") -> None:
    """Raise `EngineFailed` unless every corner of the labelmap's grid is the volume's, to `SAME_GRID_MM`."""
    import numpy as np

    found, wanted = labelmap.geometry, volume.get_geometry()
    if found.spatial_shape == wanted.spatial_shape:
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in found.spatial_shape])).reshape(3, -1).T
        apart = found.map_indices_to_reference(corners) - wanted.map_indices_to_reference(corners)
        if np.abs(apart).max() <= SAME_GRID_MM:
            return

    raise EngineFailed("The engine returned another geometry than the series has.")


def write_dicom_forms(
    source: SourceVolume, labelmap: Labelmap, identity: Identity, out: Path, watch: Stopwatch, seg_type: str
) -> None:
    """Write SEG and SR; nothing for a source that is not DICOM."""
    if source.slices is None:
        return

    with watch.time_stage("SEG"):
        seg = encode_seg(labelmap, source.slices, identity, seg_type)
        seg.save_as(out / "seg.dcm")

    with watch.time_stage("SR"):
        measurements = measure_segments(labelmap, source.volume)
        encode_sr(labelmap, measurements, source.slices, seg, identity).save_as(out / "sr.dcm")


def _read_source(files: Sequence[Path], engine: Engine, modality: str) -> SourceVolume:
    """The series, or the one file. `modality`: of a file that is not DICOM, where it is known."""
    if is_single_volume_file(files[0]):
        volume, found = read_volume_and_modality(files[0], engine.modalities, modality)
        return SourceVolume(volume, None, found, files[0].name)

    slices = stack_images(read_images(files), engine.modalities)
    volume = load_volume(slices)
    slices.drop_pixels()

    first = slices.images[0]

    return SourceVolume(
        volume,
        slices,
        str(first.get("Modality", "")),
        str(first.SeriesInstanceUID),
        str(first.get("StudyInstanceUID", "")),
    )
