"""From the images of one series to a folder of results: gate, engine, check, every form.

Runs in the child process (`child.py`). Everything below one `Labelmap`: what a form says it has from
there, so that SEG, surfaces and volumes cannot disagree.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from minipacs.errors import EngineFailed
from segmentation.engine import Engine, Labelmap, Progress, Prompt, no_progress
from segmentation.identity import Identity, parameters_digest
from segmentation.job.rules import DEFAULT_TYPE
from segmentation.results import manifest
from segmentation.results.dicom_seg import encode
from segmentation.results.dicom_sr import measure, report
from segmentation.results.nifti import write_labels, write_nifti
from segmentation.results.preview import write_preview
from segmentation.results.surface_process import beside
from segmentation.series_volume import Slices, gate, is_image_file, load, load_file, read_images

if TYPE_CHECKING:
    from highdicom import Volume


@dataclass(frozen=True)
class Result:
    """What there is to write from: the source, its voxels, the labelmap on them, and who made it."""

    slices: Slices | None
    """None for a file that is not DICOM: there is nothing a SEG could refer to."""
    volume: "Volume"
    labelmap: Labelmap
    identity: Identity


@dataclass
class Stopwatch:
    """Seconds of each stage; surfaces, GLB and seg.nrrd are made beside the others. Tells `progress` what begins."""

    progress: Progress
    began: float = field(default_factory=perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what stands below."""
        self.progress(name)
        began = perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + perf_counter() - began, 3)


def identify(series_instance_uid: str, digest: str, engine: Engine, prompts: Sequence[Prompt] = ()) -> Identity:
    """The identity of what this engine will make of this series."""
    made_of: dict[str, Any] = dict(engine.parameters)
    if prompts:
        made_of["prompts"] = [repr(prompt) for prompt in prompts]
    return Identity(series_instance_uid, digest, engine.name, engine.version, parameters_digest(made_of))


def segment_files(
    files: Sequence[Path],
    digest: str,
    engine: Engine,
    out: Path,
    prompts: Sequence[Prompt] = (),
    progress: Progress = no_progress,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Segment the series in these DICOM files, or one NIfTI or NRRD file; the manifest, written last.

    Every form goes below `out`. `digest`: of the series' SOP Instance UIDs, as the archive has them,
    or of the file. `options`: `type` (BINARY, LABELMAP), `modality` (of a file that is not DICOM), `mrb` (3D Slicer's
    scene too).
    Raises `NotAVolume`, `Unreadable`, `EngineFailed`, `WrongPrompts`.
    """
    options = options or {}
    watch = Stopwatch(progress)
    with beside() as shapes:
        with watch.stage("read"):
            volume, slices, modality, name = _read(files, engine, options)
        identity = identify(name, digest, engine, prompts)
        with watch.stage("segment"):
            found = engine.segment(volume, prompts, progress, modality=modality)
            labelmap = checked(found, volume).compact()
        if not labelmap.segments:
            raise EngineFailed(f"The engine {engine.name} found nothing in this series.")
        result = Result(slices, volume, labelmap, identity)
        out.mkdir(parents=True, exist_ok=True)
        shapes.begin(labelmap, out, identity.series_instance_uid, bool(options.get("mrb")))
        write_objects(result, out, watch, str(options.get("type") or DEFAULT_TYPE))
        watch.seconds |= shapes.end()
    return manifest.write(
        *(out, identity, labelmap, slices),
        parameters=dict(engine.parameters),
        durations_s=watch.seconds,
        seconds=round(perf_counter() - watch.began, 3),
    )


def _read(
    files: Sequence[Path], engine: Engine, options: Mapping[str, Any]
) -> tuple["Volume", Slices | None, str, str]:
    """Voxels, images (of DICOM), modality and the series' UID or the file's name."""
    if is_image_file(files[0]):
        volume, modality = load_file(files[0], engine.modalities, str(options.get("modality") or ""))
        return volume, None, modality, files[0].name
    slices = gate(read_images(files), engine.modalities)
    volume = load(slices)
    for image in slices.images:  # decoded: the file's bytes are no longer needed
        del image.PixelData
    first = slices.images[0]
    return volume, slices, str(first.get("Modality", "")), str(first.SeriesInstanceUID)


def checked(labelmap: Labelmap, volume: "Volume") -> Labelmap:
    """The labelmap, if it lies on the volume's own grid to 1e-3 mm at every corner; else `EngineFailed`."""
    import numpy as np

    own, given = labelmap.geometry, volume.get_geometry()
    if own.spatial_shape == given.spatial_shape:
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in own.spatial_shape])).reshape(3, -1).T
        apart = own.map_indices_to_reference(corners) - given.map_indices_to_reference(corners)
        if np.abs(apart).max() <= 1e-3:
            return labelmap
    raise EngineFailed("The engine returned another geometry than the series has.")


def write_objects(result: Result, out: Path, watch: Stopwatch, type: str) -> None:
    """SEG, SR, NIfTI and the picture: made by Python and numpy."""
    labelmap, slices, identity = result.labelmap, result.slices, result.identity
    if slices is not None:
        with watch.stage("SEG"):
            seg = encode(labelmap, slices, identity, type)
            seg.save_as(out / "seg.dcm")
        with watch.stage("SR"):
            measured = measure(labelmap, result.volume)
            report(labelmap, measured, slices, seg, identity).save_as(out / "sr.dcm")
    for name, content in labelmap.files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    with watch.stage("NIfTI"):
        write_nifti(labelmap, out / "labels.nii.gz")
        write_labels(labelmap, out / "labels.json")
    with watch.stage("preview"):
        write_preview(labelmap, result.volume, out / "preview.png")
