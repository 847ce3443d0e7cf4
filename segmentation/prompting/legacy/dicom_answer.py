"""The older client's result as DICOM: a SEG that refers to its DICOM image, else a Secondary Capture.

A picture that was not DICOM, or a segment without a pixel, becomes a capture that claims no patient.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from minipacs.jobs.contract import MANUFACTURER
from segmentation.engine import Labelmap, Segment
from segmentation.engines.geodesic.plane_cut import Mask
from segmentation.identity import Identity, derived_uid, parameters_digest
from segmentation.prompting.legacy.picture import RED, Picture
from segmentation.prompting.pixels import Prompter
from segmentation.results.dicom_seg import BINARY, encode
from segmentation.series_volume import Slices
from segmentation.vocabulary import codes

SEGMENT = Segment("Prompted", codes.TISSUE, codes.TISSUE, color=RED, algorithm="SEMIAUTOMATIC")


def dicom(picture: Picture, mask: Mask, prompter: Prompter, asked: Mapping[str, Any], user: str) -> bytes:
    """The result as a DICOM file (PS3.10)."""
    made_of = parameters_digest({"asked": dict(asked), "user": user})
    if picture.image is not None and mask.any():
        image = picture.image
        uids = str(image.SeriesInstanceUID), str(image.SOPInstanceUID)
        made = _seg(image, mask, Identity(*uids, prompter.name, prompter.version, made_of))
    else:
        made = _capture(picture.overlaid(mask), prompter, made_of)
    stream = BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _seg(image: Dataset, mask: Mask, identity: Identity) -> Dataset:
    from highdicom import VolumeGeometry

    geometry = VolumeGeometry(np.eye(4), (1, *mask.shape), "PATIENT")
    labelmap = Labelmap(mask[None].astype(np.uint8), geometry, (SEGMENT,))
    return encode(labelmap, Slices((image,), np.eye(4)), identity, BINARY)  # the older client's readers know no other


def _capture(shown: NDArray[np.uint8], prompter: Prompter, made_of: str) -> Dataset:
    """A Secondary Capture (PS3.3 A.8.1) of no known patient."""
    now, digest = datetime.now(UTC), sha256(shown.tobytes()).hexdigest()
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = SecondaryCaptureImageStorage
    made.SOPInstanceUID = derived_uid(digest, made_of, "capture")
    made.StudyInstanceUID = derived_uid(digest, made_of, "capture study")
    made.SeriesInstanceUID = derived_uid(digest, made_of, "capture series")
    made.PatientName = made.PatientID = made.PatientBirthDate = made.PatientSex = ""
    made.StudyDate = made.StudyTime = made.StudyID = made.AccessionNumber = made.ReferringPhysicianName = ""
    made.ContentDate, made.ContentTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    made.TimezoneOffsetFromUTC = "+0000"
    made.Modality, made.ConversionType = "OT", "WSD"
    made.SeriesNumber, made.InstanceNumber = 1, 1
    made.PatientOrientation = ""
    made.Manufacturer = MANUFACTURER
    made.ManufacturerModelName, made.SoftwareVersions = prompter.name, prompter.version[:64]
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.SeriesDescription = f"{prompter.name} segmentation of a picture"
    made.DerivationDescription = "A received picture without patient; the segment is drawn in red."
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.Rows, made.Columns = shown.shape[:2]
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    content = np.ascontiguousarray(shown).tobytes()
    made.PixelData = content + b"\0" * (len(content) % 2)
    return made
