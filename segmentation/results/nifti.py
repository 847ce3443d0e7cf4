"""A labelmap as NIfTI-1 with its label names, and as a table for programs.

NIfTI's world is RAS mm, and its fastest index is the column.
"""

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from minipacs.formats.nifti import new_image
from segmentation.engine import Labelmap
from segmentation.results.surfaces import described

ECODE = 0
"""As TotalSegmentator writes its label names and looks for them; nibabel cannot unpack Caret's own code, 30."""


def write_nifti(labelmap: Labelmap, path: Path) -> None:
    """`labels.nii.gz`: index (column, row, slice), sform and qform in RAS mm, label names in the header."""
    import nibabel as nib
    from isal import igzip

    image = new_image(labelmap.array, np.asarray(labelmap.geometry.affine))
    image.header["intent_code"] = 1002  # NIFTI_INTENT_LABEL
    image.header["descrip"] = b"minipacs labelmap"
    image.header.extensions.append(nib.nifti1.Nifti1Extension(ECODE, _label_table(labelmap).encode()))
    with igzip.open(path, "wb", compresslevel=1) as stream:
        image.to_file_map({"image": nib.FileHolder(fileobj=stream), "header": nib.FileHolder(fileobj=stream)})


def label_table(labelmap: Labelmap) -> list[dict[str, Any]]:
    """Value, label, codes, colour, voxels and volume (mL) of each segment."""
    millilitres = float(labelmap.geometry.voxel_volume) / 1000
    return [
        {**described(n, segment.of_voxels), "voxels": int(count), "volume_ml": round(int(count) * millilitres, 3)}
        for n, (segment, count) in enumerate(zip(labelmap.segments, labelmap.counts(), strict=True), 1)
    ]


def write_labels(labelmap: Labelmap, path: Path) -> None:
    """`labels.json`: the label table."""
    path.write_text(json.dumps({"labels": label_table(labelmap)}, indent=1), "utf-8")


def _label_table(labelmap: Labelmap) -> str:
    rows = []
    for value, segment in enumerate(labelmap.segments, 1):
        red, green, blue = (quoteattr(f"{channel / 255:.4f}") for channel in segment.color)
        attributes = f'Key="{value}" Red={red} Green={green} Blue={blue} Alpha="1"'
        rows.append(f"<Label {attributes}>{escape(segment.label)}</Label>")
    table = "\n".join(rows)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<CaretExtension><VolumeInformation Index="0">'
        f"<LabelTable>\n{table}\n</LabelTable><VolumeType>Label</VolumeType></VolumeInformation></CaretExtension>\n"
    )
