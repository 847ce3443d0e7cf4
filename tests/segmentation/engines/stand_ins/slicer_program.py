"""Stands in for the program of a full 3D Slicer: its arguments, its Python's modules, and two extensions.

Nodes, segments, terminology and the storage of volumes are 3D Slicer's own, from slicer-core; what needs its
desktop (loading by file name, the modules' list) is the few lines below. The extension TotalSegmentator has
today's signature, and finds what is bright. STAND_IN says what goes wrong: crash, hang, elsewhere, absent.
"""

import os
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

MISCHIEF = os.environ.get("STAND_IN", "")
TERMINOLOGY = "Any list~SCT^123037004^Anatomical Structure~SCT^71341001^Femur~SCT^24028007^Right~Any~^^~^^"


def main(arguments):
    """As the program understands its arguments; anything else is an error."""
    if "--version" in arguments:
        print("Slicer 5.10.0")
        return
    assert arguments[:3] == ["--no-main-window", "--no-splash", "--python-script"], arguments
    script, rest = arguments[3], arguments[4:]
    install()
    if MISCHIEF == "crash":
        os.abort()
    if MISCHIEF == "hang":
        time.sleep(100_000)
    sys.argv = [script, *rest]
    exec(compile(Path(script).read_text(), script, "exec"), {"__name__": "__main__"})


def install():
    """`slicer` and `vtk` as the script expects them, and the extensions' modules."""
    import slicer
    import vtkmodules.all
    from vtkmodules.vtkCommonCore import reference

    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLApplicationLogic(application)
    logic.SetMRMLScene(scene)
    slicer.mrmlScene = scene
    slicer.modules = SimpleNamespace(segmentations=SimpleNamespace(logic=lambda: logic))
    slicer.util = SimpleNamespace(loadVolume=load_volume, saveNode=save_node, exit=sys.exit)
    vtkmodules.all.reference = reference
    sys.modules["vtk"] = vtkmodules.all
    if MISCHIEF != "absent":
        sys.modules["TotalSegmentator"] = ModuleType("TotalSegmentator")
        sys.modules["TotalSegmentator"].TotalSegmentatorLogic = TotalSegmentatorLogic
        sys.modules["OpenAnatomyExport"] = ModuleType("OpenAnatomyExport")
        sys.modules["OpenAnatomyExport"].OpenAnatomyExportLogic = OpenAnatomyExportLogic


def storage(node):
    """A storage node for volumes, in the scene."""
    import slicer

    made = slicer.vtkMRMLVolumeArchetypeStorageNode()
    slicer.mrmlScene.AddNode(made)
    return made


def load_volume(path):
    """A scalar volume from a file."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "volume")
    reader = storage(node)
    reader.SetFileName(path)
    if not reader.ReadData(node):
        raise RuntimeError(f"{path} could not be loaded")
    return node


def save_node(node, path):
    """A volume to a file."""
    writer = storage(node)
    writer.SetFileName(path)
    return bool(writer.WriteData(node))


class TotalSegmentatorLogic:
    """What is brighter than 200 is a right femur; the rest above -200 has a name and no code."""

    logCallback = None

    def process(
        self, inputVolume, outputSegmentation, quality=None, cpu=False, task=None, subset=None, interactive=False
    ):
        """The extension's signature of 2026."""
        import numpy as np
        import slicer
        from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy

        assert quality in ("normal", "fast", "faster")
        self.logCallback(f"task {task}")
        image = inputVolume.GetImageData()
        values = vtk_to_numpy(image.GetPointData().GetScalars())
        oriented = slicer.vtkOrientedImageData()
        oriented.SetDimensions(image.GetDimensions())
        labels = np.where(values > 200, 1, np.where(values > -200, 2, 0)).astype(np.uint8)
        oriented.GetPointData().SetScalars(numpy_to_vtk(labels, deep=1))
        matrix = slicer.vtkMRMLScene and sys.modules["vtk"].vtkMatrix4x4()
        inputVolume.GetIJKToRASMatrix(matrix)
        oriented.SetImageToWorldMatrix(matrix)
        segmentation = outputSegmentation.GetSegmentation()
        segmentation.SetSourceRepresentationName("Binary labelmap")
        for value, name in ((1, "right femur"), (2, "something soft")):
            segment = slicer.vtkSegment()
            segment.SetName(name)
            segment.SetColor(0.2 * value, 0.4, 0.6)
            segment.SetLabelValue(value)
            if value == 1:
                segment.SetTag("TerminologyEntry", TERMINOLOGY)
            segment.AddRepresentation("Binary labelmap", oriented)
            segmentation.AddSegment(segment, f"Segment_{value}")
        if MISCHIEF == "elsewhere":
            inputVolume.SetOrigin(7, 7, 7)


class OpenAnatomyExportLogic:
    """Writes a file where it is told."""

    def exportModel(self, inputItem, outputFolder=None, reductionFactor=None, outputFormat=None):
        """The extension's signature."""
        assert outputFormat == "glTF"
        Path(outputFolder, "segmentation.gltf").write_text("{}")


if __name__ == "__main__":
    main(sys.argv[1:])
