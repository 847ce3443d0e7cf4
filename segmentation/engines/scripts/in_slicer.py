"""Runs in the Python of a full 3D Slicer, started with `--python-script`: segment one volume by TotalSegmentator.

    Slicer --no-main-window --no-splash --python-script in_slicer.py FOLDER

FOLDER holds `volume.nii.gz` and `request.json` (`task`, `quality`, `cpu`, `open_anatomy`); it gets
`labels.nrrd` on the volume's own grid and, last of all, `answer.json`. Only what comes with Slicer is imported.
"""

import json
import sys
import traceback
from pathlib import Path
from typing import Any

import slicer
from vtk import reference, vtkStringArray

Json = dict[str, Any]
NOT_INSTALLED = "This 3D Slicer has no extension TotalSegmentator."
INSTALL = "Install it: in Slicer's Extensions Manager, TotalSegmentator and PyTorch; then run it once."


def segment_volume(folder: Path) -> Json:
    """Segment, and say how it went; never raises, so that Slicer always ends."""
    request = json.loads((folder / "request.json").read_text("utf-8"))
    try:
        from TotalSegmentator import TotalSegmentatorLogic
    except ImportError:
        return {"error": NOT_INSTALLED, "hint": INSTALL, "unavailable": True}

    try:
        volume = slicer.util.loadVolume(str(folder / "volume.nii.gz"))
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
        logic = TotalSegmentatorLogic()
        logic.logCallback = print
        # `quality` replaced `fast` in 2025: normal, fast or faster
        logic.process(volume, segmentation, quality=request["quality"], cpu=request["cpu"], task=request["task"])
        answer: Json = {"segments": save_labels(segmentation, volume, folder / "labels.nrrd"), "files": []}
        if request["open_anatomy"]:
            answer["files"] = export_gltf(segmentation, folder / "open_anatomy")
    except Exception as error:  # whatever an extension raises becomes the answer, and Slicer ends
        traceback.print_exc()
        return {"error": f"TotalSegmentator in 3D Slicer failed: {error}"}

    return answer


def save_labels(segmentation: Any, volume: Any, path: Path) -> list[Json]:
    """Every segment, numbered from 1 in the segmentation's order, on the volume's grid; a row for each."""
    inside = segmentation.GetSegmentation()
    identifiers = vtkStringArray()
    rows = []

    for number in range(inside.GetNumberOfSegments()):
        identifiers.InsertNextValue(inside.GetNthSegmentID(number))
        segment = inside.GetNthSegment(number)
        color = [round(255 * channel) for channel in segment.GetColor()]
        rows.append({"value": number + 1, "label": segment.GetName(), "color": color, **read_codes(segment)})

    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    logic = slicer.modules.segmentations.logic()
    if not logic.ExportSegmentsToLabelmapNode(segmentation, identifiers, labels, volume):
        raise RuntimeError("the segments could not be exported")

    if not slicer.util.saveNode(labels, str(path)):
        raise RuntimeError("the labels could not be written")

    return rows


def read_codes(segment: Any) -> dict[str, list[str]]:
    """Codes of a segment's terminology entry: context~category~type~modifier~context~region~modifier."""
    tag = reference("")
    if not segment.GetTag("TerminologyEntry", tag):
        return {}

    parts = [*str(tag).split("~"), "", "", "", "", "", ""]
    named = {"category": parts[1], "type": parts[2], "laterality": parts[3], "region": parts[5]}
    codes = {name: part.split("^") for name, part in named.items()}

    return {name: [code[1], code[0], code[2]] for name, code in codes.items() if len(code) == 3 and all(code)}


def export_gltf(segmentation: Any, folder: Path) -> list[str]:
    """OpenAnatomy's glTF of all segments, where that extension is installed; the files' names."""
    try:
        from OpenAnatomyExport import OpenAnatomyExportLogic
    except ImportError:
        print("The extension SlicerOpenAnatomy is not installed: no glTF of its own.")
        return []

    folder.mkdir()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(segmentation)
    OpenAnatomyExportLogic().exportModel(item, str(folder), 0.9, "glTF")

    return [f"{folder.name}/{file.name}" for file in sorted(folder.iterdir())]


if __name__ == "__main__":
    here = Path(sys.argv[-1])
    answer = segment_volume(here)
    (here / "answer.json").write_text(json.dumps(answer), "utf-8")
    slicer.util.exit(0 if "error" not in answer else 1)
