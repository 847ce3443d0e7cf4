"""The older client's result as DICOM: a SEG that refers to its DICOM image, else a Secondary Capture.

A picture that was not DICOM, or a segment without a pixel, becomes a capture that claims no patient.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from minipacs.archive.content import MANUFACTURER
from minipacs.formats.dicom_image import ImageUids, encode_file, new_image, set_pixels
from minipacs.formats.sop_classes import SECONDARY_CAPTURE
from segmentation.identity import Identity, derive_uid, digest_parameters
from segmentation.labelmap import Labelmap, Segment
from segmentation.prompter import Mask, Prompter
from segmentation.prompting.legacy.picture import RED, Picture
from segmentation.results.dicom_seg import encode_seg
from segmentation.results.seg_type import BINARY
from segmentation.series_volume import Slices
from segmentation.vocabulary import codes

SEGMENT = Segment("Prompted", codes.TISSUE, codes.TISSUE, color=RED, algorithm="SEMIAUTOMATIC")


def encode_dicom_answer(picture: Picture, mask: Mask, prompter: Prompter, sent: Mapping[str, Any], user: str) -> bytes:
    """The result as a DICOM file (PS3.10). `sent`: the request's prompts, which enter the UIDs."""
    made_of = digest_parameters({"asked": dict(sent), "user": user})

    if picture.image is not None and mask.any():
        image = picture.image
        uids = str(image.SeriesInstanceUID), str(image.SOPInstanceUID)
        answer = _encode_seg(image, mask, Identity(*uids, prompter.name, prompter.version, made_of))
    else:
        answer = _encode_secondary_capture(picture.draw_overlay(mask), prompter, made_of)

    return encode_file(answer)


def _encode_seg(image: Dataset, mask: Mask, identity: Identity) -> Dataset:
    from highdicom import VolumeGeometry

    geometry = VolumeGeometry(np.eye(4), (1, *mask.shape), "PATIENT")
    labelmap = Labelmap(mask[None].astype(np.uint8), geometry, (SEGMENT,))
    slices = Slices((image,), np.eye(4))

    return encode_seg(labelmap, slices, identity, BINARY)  # the older client's readers know no other


def _encode_secondary_capture(shown: NDArray[np.uint8], prompter: Prompter, made_of: str) -> Dataset:
    """A Secondary Capture (PS3.3 A.8.1) of no known patient."""
    now, digest = datetime.now(UTC), sha256(shown.tobytes()).hexdigest()

    uids = ImageUids(
        sop_class=SECONDARY_CAPTURE,
        instance=derive_uid(digest, made_of, "capture"),
        series=derive_uid(digest, made_of, "capture series"),
        study=derive_uid(digest, made_of, "capture study"),
    )

    image = new_image(
        uids,
        ContentDate=f"{now:%Y%m%d}",
        ContentTime=f"{now:%H%M%S}",
        TimezoneOffsetFromUTC="+0000",
        Modality="OT",
        ConversionType="WSD",
        SeriesNumber=1,
        SeriesDescription=f"{prompter.name} segmentation of a picture",
        InstanceNumber=1,
        PatientOrientation="",
        Manufacturer=MANUFACTURER,
        ManufacturerModelName=prompter.name,
        SoftwareVersions=prompter.version[:64],
        ImageType=["DERIVED", "SECONDARY"],
        DerivationDescription="A received picture without patient; the segment is drawn in red.",
    )
    set_pixels(image, shown)

    return image
