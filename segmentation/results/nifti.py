"""`labels.nii.gz`: a labelmap as NIfTI-1 with its label names in the header.

NIfTI's world is RAS mm, and its fastest index is the column.
"""

from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from minipacs.formats.nifti import new_image
from segmentation.labelmap import Labelmap

ECODE = 0
"""As TotalSegmentator writes its label names and looks for them; nibabel cannot unpack Caret's own code, 30."""


def write_nifti(labelmap: Labelmap, path: Path) -> None:
    """Write the labelmap: index (column, row, slice), sform and qform in RAS mm, label names in the header."""
    import nibabel as nib
    from isal import igzip

    image = new_image(labelmap.array, np.asarray(labelmap.geometry.affine))
    image.header["intent_code"] = 1002  # NIFTI_INTENT_LABEL
    image.header["descrip"] = b"minipacs labelmap"
    image.header.extensions.append(nib.nifti1.Nifti1Extension(ECODE, _make_caret_label_table(labelmap).encode()))

    with igzip.open(path, "wb", compresslevel=1) as stream:
        image.to_file_map({"image": nib.FileHolder(fileobj=stream), "header": nib.FileHolder(fileobj=stream)})


def _make_caret_label_table(labelmap: Labelmap) -> str:
    """The label names as XML in Caret's form, which TotalSegmentator and nibabel's users read."""
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
