"""`manifest.json`: what a result was made of, by which engine and software; the same for every result."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import minipacs
from minipacs.result_paths import MANIFEST_FILE
from segmentation.identity import Identity

if TYPE_CHECKING:
    from segmentation.labelmap import Labelmap
    from segmentation.results.label_table import LabelRow
    from segmentation.series_volume import Slices

PACKAGES = ("highdicom", "pydicom", "numpy", "vtk", "slicer-core", "SimpleITK")
"""Whose versions a manifest names."""


class SourceImages(TypedDict):
    """The images of the series that was segmented, in the labelmap's order of slices."""

    sop_class_uid: str
    sop_instance_uids: list[str]


class PromptProvenance(TypedDict):
    """Who prompted, with what, and the answer's digest: enough to prompt the same again."""

    user: str
    prompts: list[dict[str, Any]]
    propagate: bool
    window: list[float] | None
    answer: str


class Manifest(TypedDict):
    """The content of `manifest.json`. Study, source and object UIDs are absent where the source is not DICOM."""

    identity: dict[str, str]
    parameters: dict[str, Any]
    durations_s: dict[str, float]
    """Seconds of each stage, by its name."""
    seconds: float
    prompted: NotRequired[PromptProvenance]
    series_instance_uid: str
    shape: list[int]
    """(slices, rows, columns)."""
    segments: "list[LabelRow]"
    software: dict[str, str]
    """Version by name of package."""
    created: str
    """ISO 8601, UTC."""
    files: list[str]
    """Relative to the result's folder; the manifest itself is left out."""
    study_instance_uid: NotRequired[str]
    images: NotRequired[int]
    source: NotRequired[SourceImages]
    seg_series_instance_uid: NotRequired[str]
    seg_sop_instance_uid: NotRequired[str]
    sr_series_instance_uid: NotRequired[str]
    sr_sop_instance_uid: NotRequired[str]
    supersedes: NotRequired[list[str]]
    """Series Instance UIDs of our objects that this result takes the place of."""


@dataclass(frozen=True)
class RunFacts:
    """What only the maker of a result knows: the engine's parameters, the times, and who prompted."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    durations_s: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    prompted: PromptProvenance | None = None


def write_manifest(
    folder: Path, identity: Identity, labelmap: "Labelmap", slices: "Slices | None", run: RunFacts, *, has_report: bool
) -> Manifest:
    """Describe the files that lie below the folder, and save the manifest there.

    `slices`: the source, if it is DICOM; then there is a SEG, and an SR if `has_report`, whose UIDs follow
    from the identity.
    """
    from segmentation.results.label_table import make_label_rows  # here: who only reads a manifest needs no arrays

    manifest: Manifest = {
        "identity": identity.as_json(),
        "parameters": dict(run.parameters),
        "durations_s": dict(run.durations_s),
        "seconds": run.seconds,
        "series_instance_uid": identity.series_instance_uid,
        "shape": list(labelmap.array.shape),
        "segments": make_label_rows(labelmap),
        "software": read_software_versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()),
    }

    if run.prompted is not None:
        manifest["prompted"] = run.prompted

    if slices is not None:
        first = slices.images[0]
        manifest["study_instance_uid"] = str(first.StudyInstanceUID)
        manifest["images"] = len(slices.images)
        manifest["source"] = {
            "sop_class_uid": str(first.SOPClassUID),
            "sop_instance_uids": [str(image.SOPInstanceUID) for image in slices.images],
        }
        manifest["seg_series_instance_uid"] = identity.derive_uid("SEG series")
        manifest["seg_sop_instance_uid"] = identity.derive_uid("SEG instance")
        if has_report:
            manifest["sr_series_instance_uid"] = identity.derive_uid("SR series")
            manifest["sr_sop_instance_uid"] = identity.derive_uid("SR instance")

    save_manifest(folder, manifest)

    return manifest


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest into a result's folder."""
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1), "utf-8")


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a result's folder; None when there is none."""
    try:
        manifest: Manifest = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))
    except FileNotFoundError:
        return None

    return manifest


def read_software_versions() -> dict[str, str]:
    """Versions of the packages that took part, of those that are installed."""
    versions = {"minipacs": minipacs.__version__}

    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue

    return versions
