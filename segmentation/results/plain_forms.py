"""The plain forms of a labelmap, the same for every result: what needs neither a DICOM source nor VTK.

A new form of this kind is one line here; segmentations and accepted prompts then both have it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmentation.labelmap import Labelmap
from segmentation.results.label_table import write_labels
from segmentation.results.nifti import write_nifti
from segmentation.results.preview import write_preview

if TYPE_CHECKING:
    from highdicom import Volume


def write_plain_forms(
    labelmap: Labelmap,
    volume: "Volume",
    folder: Path,
    time_stage: Callable[[str], AbstractContextManager[Any]] = nullcontext,
) -> None:
    """Write NIfTI, label table, preview and the engine's own files into the folder.

    `volume`: what was segmented, for the preview. `time_stage`: entered around each form, with its name.
    """
    for name, content in labelmap.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    with time_stage("NIfTI"):
        write_nifti(labelmap, folder / "labels.nii.gz")
        write_labels(labelmap, folder / "labels.json")

    with time_stage("preview"):
        write_preview(labelmap, volume, folder / "preview.png")
