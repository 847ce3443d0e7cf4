"""`manifest.json`: what was made of what, by whom and with what; the same for every result, however it came to be."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import minipacs
from segmentation.identity import Identity

if TYPE_CHECKING:
    from segmentation.engine import Labelmap
    from segmentation.series_volume import Slices

NAME = "manifest.json"
PACKAGES = ("highdicom", "pydicom", "numpy", "vtk", "slicer-core", "SimpleITK")


def write(
    out: Path,
    identity: Identity,
    labelmap: "Labelmap",
    slices: "Slices | None",
    objects: Sequence[str] = ("SEG", "SR"),
    **more: Any,
) -> dict[str, Any]:
    """Describe the files that lie below `out`, and keep it there; the manifest.

    `slices`: the source, if it is DICOM; `objects` of it were made, whose UIDs follow from the identity.
    `more`: what only the maker knows (parameters, times, prompts).
    """
    from segmentation.results.nifti import label_table  # here: who only reads a manifest needs no arrays

    manifest: dict[str, Any] = {
        "identity": identity.as_json(),
        **more,
        "series_instance_uid": identity.series_instance_uid,
        "shape": list(labelmap.array.shape),
        "segments": label_table(labelmap),
        "software": software(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": sorted(f.relative_to(out).as_posix() for f in out.rglob("*") if f.is_file()),
    }
    if slices is not None:
        first = slices.images[0]
        manifest |= {"study_instance_uid": str(first.StudyInstanceUID), "images": len(slices.images)}
        manifest["source"] = {
            "sop_class_uid": str(first.SOPClassUID),
            "sop_instance_uids": [str(image.SOPInstanceUID) for image in slices.images],
        }
        for kind in objects:
            manifest[f"{kind.lower()}_series_instance_uid"] = identity.uid(f"{kind} series")
            manifest[f"{kind.lower()}_sop_instance_uid"] = identity.uid(f"{kind} instance")
    keep(out, manifest)
    return manifest


def keep(folder: Path, manifest: dict[str, Any]) -> None:
    """Write it into a result's folder."""
    (folder / NAME).write_text(json.dumps(manifest, indent=1), "utf-8")


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest of a result's folder; nothing when there is none."""
    try:
        return dict(json.loads((folder / NAME).read_text("utf-8")))
    except FileNotFoundError:
        return None


def software() -> dict[str, str]:
    """Versions of what took part."""
    versions = {"minipacs": minipacs.__version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
