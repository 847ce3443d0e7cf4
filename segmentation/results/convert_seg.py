"""The other form of a result's DICOM SEG, made from its folder: BINARY from LABELMAP, LABELMAP from BINARY.

    python -m segmentation.results.convert_seg FOLDER BINARY|LABELMAP

writes `seg-binary.dcm` or `seg-labelmap.dcm` into the folder, once. It is the same segmentation with
UIDs of its own; it is for download, the archive keeps the one of the settings.
"""

import os
import sys
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread

from minipacs.errors import MinipacsError, NotFound
from minipacs.formats.geometry import reverse_index_order
from minipacs.formats.nifti import read_nifti
from segmentation.identity import Identity
from segmentation.labelmap import Labelmap, Segment
from segmentation.results.dicom_seg import encode_seg
from segmentation.results.label_table import LabelRow, read_labels
from segmentation.results.manifest import Manifest, read_manifest
from segmentation.results.seg_type import SEG_TYPES
from segmentation.series_volume import Slices
from segmentation.vocabulary.codes import ARTIFICIAL_INTELLIGENCE, Code


def main(arguments: list[str]) -> int:
    """0 and the path on standard output, or 1 and a sentence on standard error."""
    if len(arguments) != 2 or arguments[1] not in SEG_TYPES:
        print(__doc__, file=sys.stderr)
        return 2

    try:
        print(convert_seg(Path(arguments[0]), arguments[1]))
    except MinipacsError as error:
        print(error, file=sys.stderr)
        return 1

    return 0


def convert_seg(folder: Path, seg_type: str) -> Path:
    """The path of the SEG of this type: the result's own when it is of it already. Raises `NotFound`."""
    manifest = read_manifest(folder)
    if manifest is None or not (folder / "seg.dcm").is_file():
        raise NotFound(f"There is no DICOM SEG in {folder.name}.", "Segment the series first.")

    own = dcmread(folder / "seg.dcm", stop_before_pixels=True)
    if own.SegmentationType == seg_type:
        return folder / "seg.dcm"

    path = folder / f"seg-{seg_type.lower()}.dcm"
    if not path.is_file():
        labelmap = _read_labelmap(folder)
        slices = _make_source_slices(own, manifest, np.asarray(labelmap.geometry.affine), labelmap.array.shape)
        seg = encode_seg(labelmap, slices, Identity(**manifest["identity"]), seg_type, f"SEG {seg_type}")
        seg.SeriesDescription, seg.SeriesNumber = own.SeriesDescription, own.SeriesNumber
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        seg.save_as(partial)
        partial.replace(path)

    return path


def _read_labelmap(folder: Path) -> Labelmap:
    from highdicom import VolumeGeometry

    with (folder / "labels.nii.gz").open("rb") as stream:
        image = read_nifti(stream)

    array, affine = np.ascontiguousarray(image.array.T), reverse_index_order(image.affine)
    table = read_labels(folder / "labels.json")

    return Labelmap(array, VolumeGeometry(affine, array.shape, "PATIENT"), tuple(_parse_segment(row) for row in table))


def _parse_segment(row: LabelRow) -> Segment:
    red, green, blue = row["color"]

    return Segment(
        row["label"],
        Code(**row["category"]),
        Code(**row["type"]),
        laterality=Code(**row["laterality"]) if "laterality" in row else None,
        region=Code(**row["region"]) if "region" in row else None,
        color=(red, green, blue),
        algorithm=row["algorithm"],
        family=Code(**row["family"]) if "family" in row else ARTIFICIAL_INTELLIGENCE,
    )


def _make_source_slices(own: Dataset, manifest: Manifest, affine: Any, shape: tuple[int, ...]) -> Slices:
    """The source's planes, from the manifest and the geometry; patient and study from our own object."""
    step, along_column, along_row = (affine[:3, axis] for axis in range(3))
    between = [float(np.linalg.norm(vector)) for vector in (step, along_column, along_row)]
    cosines = [*(along_row / between[2]).round(9).tolist(), *(along_column / between[1]).round(9).tolist()]
    images = []

    for k, uid in enumerate(manifest["source"]["sop_instance_uids"]):
        image = Dataset()
        image.update({e.tag: copy(e) for e in own if e.tag.group in (0x0008, 0x0010, 0x0020)})
        image.SOPClassUID, image.SOPInstanceUID = manifest["source"]["sop_class_uid"], uid
        image.SeriesInstanceUID, image.Rows, image.Columns = manifest["series_instance_uid"], shape[1], shape[2]
        image.Modality = ""
        image.ImagePositionPatient = (affine[:3, 3] + k * step).round(6).tolist()
        image.ImageOrientationPatient, image.PixelSpacing = cosines, [between[1], between[2]]
        image.SliceThickness = between[0]
        images.append(image)

    return Slices(tuple(images), affine)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
