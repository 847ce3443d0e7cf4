"""A synthetic CT series of any geometry, and engines of our own that work, lie, crash or hang."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from minipacs.settings import Settings

AXIAL = (1, 0, 0, 0, 1, 0)
STUDY = "1.2.826.0.1.3680043.8.498.1"


@dataclass(frozen=True)
class Series:
    """A series to be made: oblique, anisotropic and not square unless told otherwise."""

    shape: tuple[int, int, int] = (12, 20, 28)
    """(slices, rows, columns)"""
    spacing: tuple[float, float, float] = (3.0, 0.75, 1.25)
    """mm between slices, rows, columns"""
    orientation: tuple[float, ...] = AXIAL
    """row cosine (along a row), column cosine; LPS"""
    first: tuple[float, float, float] = (-31.5, 12.25, -140.0)
    """LPS mm of the first voxel of slice 0"""
    reverse: bool = False
    """slices against row × column"""
    uid: str = f"{STUDY}.2"
    header: dict[str, Any] = field(default_factory=dict)

    @property
    def axes(self) -> np.ndarray:
        """Columns: mm steps of slice, row, column index."""
        along_row, along_column = np.array(self.orientation[:3], float), np.array(self.orientation[3:], float)
        normal = np.cross(along_row, along_column) * (-1 if self.reverse else 1)
        return np.stack([normal, along_column, along_row], 1) * np.array(self.spacing)

    def images(self, hounsfield: np.ndarray) -> list[Dataset]:
        """Axis 0 of `hounsfield` is the order of acquisition."""
        return [self._image(k, plane) for k, plane in enumerate(hounsfield)]

    def _image(self, k: int, plane: np.ndarray) -> Dataset:
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, f"{self.uid}.{k + 1}"
        image.StudyInstanceUID, image.SeriesInstanceUID = STUDY, self.uid
        image.FrameOfReferenceUID, image.PositionReferenceIndicator = f"{STUDY}.9", ""
        image.PatientID, image.PatientName, image.PatientBirthDate, image.PatientSex = "P1", "Doe^Jane", "19500101", "F"
        image.StudyID, image.StudyDate, image.StudyTime = "1", "20200101", "101112"
        image.AccessionNumber, image.ReferringPhysicianName = "A1", "Roe^Richard"
        image.StudyDescription, image.PatientWeight, image.Manufacturer = "Thorax", 70, "Phantom Makers"
        image.Modality, image.SeriesNumber, image.SeriesDescription = "CT", 4, "1.25 mm soft"
        image.InstanceNumber, image.ImageType = k + 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.Rows, image.Columns = plane.shape
        image.ImageOrientationPatient = [round(c, 9) for c in self.orientation]
        image.ImagePositionPatient = [round(float(p), 6) for p in np.array(self.first) + k * self.axes[:, 0]]
        image.PixelSpacing, image.SliceThickness = list(self.spacing[1:]), self.spacing[0]
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, -1024, "HU"
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.PixelData = (plane.astype(np.int32) + 1024).astype("<u2").tobytes()
        for keyword, value in self.header.items():
            setattr(image, keyword, value)
        return image


def make_phantom(series: Series) -> np.ndarray:
    """HU: air, a soft-tissue ellipsoid off the centre, and a bony corner block without any symmetry."""
    indices = np.stack(np.meshgrid(*[np.arange(n) for n in series.shape], indexing="ij"), -1)
    centre, radius = np.array(series.shape) * (0.55, 0.45, 0.5), np.array(series.shape) * (0.35, 0.4, 0.38)
    hounsfield = np.full(series.shape, -1000, np.int16)
    hounsfield[(((indices - centre) / radius) ** 2).sum(-1) < 1] = 40
    hounsfield[3:6, 8:11, 6:13] = 700
    hounsfield[5, 8, 6] = 40
    return hounsfield


@pytest.fixture
def series() -> type[Series]:
    """How to describe a series."""
    return Series


@pytest.fixture
def phantom() -> Callable[[Series], np.ndarray]:
    """Its voxels."""
    return make_phantom


@pytest.fixture
def write_images(tmp_path: Path) -> Callable[..., list[Path]]:
    """Write images as files; their paths."""

    def write(images: list[Dataset], folder: str = "dicom") -> list[Path]:
        (tmp_path / folder).mkdir(exist_ok=True)
        files = [tmp_path / folder / f"{n:03d}.dcm" for n in range(len(images))]
        for file, image in zip(files, images, strict=True):
            image.save_as(file, enforce_file_format=True)
        return files

    return write


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings below a temporary folder, with the threshold engine."""
    return Settings(home=tmp_path / "home", engine="threshold", engine_limit_s=60).complete()


ENGINES = """
import os, signal, time
from segmentation.vocabulary import codes
from segmentation.engine import Labelmap, Segment, no_progress

BONE = Segment("Bone", codes.TISSUE, codes.BONE, color=(241, 214, 145))
SOFT = Segment("Soft tissue", codes.TISSUE, codes.SOFT_TISSUE, color=(230, 130, 120), region=codes.TRUNK)
LUNG = Segment("Left lung", codes.ANATOMICAL_STRUCTURE, codes.LUNG, codes.LEFT, color=(197, 165, 145))

class Threshold:
    version, modalities, needs_prompts = "1.2", frozenset({"CT"}), False
    def __init__(self, name, bone=300, mischief=None):
        self.name, self.parameters, self.mischief = name, {"bone": bone}, mischief
    def segment(self, volume, prompts=(), progress=no_progress, *, modality="CT"):
        import numpy as np
        progress("threshold", 1, 2)
        print("engines print", flush=True)
        values, geometry = volume.array, volume.get_geometry()
        if self.mischief:
            geometry = self.mischief(volume) or geometry
        labels = np.where(values > self.parameters["bone"], 1, np.where(values > -200, 2, 0)).astype(np.uint8)
        return Labelmap(labels, geometry, (BONE, SOFT, LUNG))

def crash(volume): os.kill(os.getpid(), signal.SIGSEGV)
def hang(volume): time.sleep(100_000)
def work(volume):
    while True: pass
def stumble(volume): raise ValueError("Doe^Jane")
def elsewhere(volume): return volume.flip_spatial(0).get_geometry()
def leave(volume): os._exit(3)

def threshold(settings, **parameters): return Threshold("threshold", **parameters)
def crashing(settings): return Threshold("crashing", mischief=crash)
def hanging(settings): return Threshold("hanging", mischief=hang)
def busy(settings): return Threshold("busy", mischief=work)
def stumbling(settings): return Threshold("stumbling", mischief=stumble)
def lying(settings): return Threshold("lying", mischief=elsewhere)
def leaving(settings): return Threshold("leaving", mischief=leave)
def absent(settings):
    from minipacs.errors import EngineUnavailable
    raise EngineUnavailable("Its weights are not here.", "Put them there.")
"""


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Engines of our own, found by entry points here and in child processes."""
    folder = tmp_path / "installed"
    (folder / "mischief-1.dist-info").mkdir(parents=True)
    (folder / "mischief_engines.py").write_text(ENGINES)
    names = ["threshold", "crashing", "hanging", "busy", "stumbling", "lying", "leaving", "absent"]
    (folder / "mischief-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mischief\nVersion: 1\n")
    points = "".join(f"{name} = mischief_engines:{name}\n" for name in names)
    (folder / "mischief-1.dist-info" / "entry_points.txt").write_text(f"[minipacs.engines]\n{points}")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    return names


@pytest.fixture
def new_uid() -> Callable[[], str]:
    """A UID nobody else has."""
    return generate_uid
