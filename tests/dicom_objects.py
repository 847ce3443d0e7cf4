"""Small DICOM objects made by code, for tests: anisotropic, never square, complete enough to be catalogued."""

from io import BytesIO
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import BasicTextSRStorage, CTImageStorage, ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.10.1338"


def image(pixels: np.ndarray[Any, Any], /, number: int = 1, **elements: Any) -> Dataset:
    """A CT image of (rows, columns), (frames, rows, columns) or (…, 3); keyword elements win."""
    colour = pixels.ndim >= 3 and pixels.shape[-1] == 3 and pixels.dtype == np.uint8
    dataset = nothing(number, SOPClassUID=CTImageStorage, Modality="CT")
    dataset.Rows, dataset.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    if pixels.ndim - colour == 3:
        dataset.NumberOfFrames = pixels.shape[0]
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.PixelSpacing = [0.5, 0.75]
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    return changed(dataset, elements)


def nothing(number: int = 1, **elements: Any) -> Dataset:
    """An object without pixels: instance `number` of one series."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = BasicTextSRStorage
    dataset.SOPInstanceUID = f"{ROOT}.1.1.{number}"
    dataset.SeriesInstanceUID = f"{ROOT}.1.1"
    dataset.StudyInstanceUID = f"{ROOT}.1"
    dataset.PatientID, dataset.PatientName = "P1", "Test^Object"
    dataset.Modality, dataset.InstanceNumber = "SR", number
    dataset.StudyDate, dataset.StudyTime = "20240229", "235958.5"
    return changed(dataset, elements)


def changed(dataset: Dataset, elements: dict[str, Any]) -> Dataset:
    """Set elements; None removes one."""
    for keyword, value in elements.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return dataset


def as_file(dataset: Dataset) -> bytes:
    """The object as a DICOM file."""
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CTImageStorage)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", f"{ROOT}.0") or f"{ROOT}.0"
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
