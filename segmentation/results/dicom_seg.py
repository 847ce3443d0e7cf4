"""A labelmap as DICOM Segmentation (PS3.3 A.51), by highdicom: one object, one series.

Patient and study modules are copied whole from the source, because an archive answers a study-level
query from any one instance of the study.

LABELMAP is 30 times smaller and written several times as fast. BINARY is read by everything; LABELMAP not
yet by 3D Slicer (dcmqi), nor is it known to Debian's dciodvfy. OHIF 3.13 counts a LABELMAP's segments from
the first item of Segment Sequence, so that highdicom's item for the background, number 0, shifts every
color by one. The item says nothing (Pixel Padding Value names the background) and is left out: then OHIF's
colors are right.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from pydicom import DataElement, Dataset
from pydicom import Sequence as DicomSequence
from pydicom.datadict import dictionary_VR
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

import minipacs
from minipacs.archive.content import MANUFACTURER
from segmentation.identity import Identity
from segmentation.labelmap import Labelmap, Segment
from segmentation.results.seg_type import BINARY, LABELMAP
from segmentation.series_volume import Slices
from segmentation.vocabulary.codes import Code

if TYPE_CHECKING:
    import highdicom as hd

SERIES_NUMBER_STEP = 1000
"""Added to the source's series number; measurements: twice that; what was prompted: three times."""

# fmt: off
_NEEDED = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality",
    "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "PositionReferenceIndicator",
)
_LEFT_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)
# fmt: on
_EMPTY = [DataElement(keyword, dictionary_VR(keyword), None) for keyword in _LEFT_EMPTY]


def encode_seg(
    labelmap: Labelmap, slices: Slices, identity: Identity, seg_type: str = LABELMAP, kind: str = "SEG"
) -> "hd.seg.Segmentation":
    """The labelmap, whose slices are those of `slices` in their order, as a DICOM SEG.

    Segments without a voxel must have been left out (`Labelmap.compact`); frames without a voxel are
    left out here. LABELMAP is compressed by JPEG-LS, without loss. All UIDs are derived from
    `identity` and `kind`: encoding twice makes the same object but for its creation time.
    """
    import highdicom as hd

    source = slices.images[0]
    seg = hd.seg.Segmentation(
        source_images=strip_source_images(slices.images),
        pixel_array=labelmap.array,
        segmentation_type=seg_type,
        segment_descriptions=[
            _describe_segment(n, s.without_enclosed_parts, identity) for n, s in enumerate(labelmap.segments, 1)
        ],
        series_instance_uid=identity.derive_uid(f"{kind} series"),
        series_number=SERIES_NUMBER_STEP + read_series_number(source),
        sop_instance_uid=identity.derive_uid(f"{kind} instance"),
        instance_number=1,
        transfer_syntax_uid=ExplicitVRLittleEndian if seg_type == BINARY else JPEGLSLossless,
        content_label="SEGMENTATION",
        content_description=f"Segments by {identity.engine} {identity.version}"[:64],
        specific_character_set=None,
        **make_equipment(identity),
    )
    copy_patient_and_study(seg, source, f"{identity.engine} segmentation")
    seg.SegmentSequence = [item for item in seg.SegmentSequence if item.SegmentNumber > 0]
    organization = identity.derive_uid("dimension organization")

    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization

    return seg


class Equipment(TypedDict):
    """How our own objects are known again, as highdicom's arguments."""

    manufacturer: str
    manufacturer_model_name: str
    software_versions: str
    device_serial_number: str


def make_equipment(identity: Identity) -> Equipment:
    """Engine and version as equipment (PS3.3 C.7.5.1, C.7.5.2)."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": identity.engine[:64],
        "software_versions": identity.version[:64],
        "device_serial_number": "none",
    }


def copy_patient_and_study(result: Any, source: Dataset, description: str) -> None:
    """Copy the source's patient and study to our object, and describe our series by both."""
    if "SpecificCharacterSet" in source:
        result.SpecificCharacterSet = source.SpecificCharacterSet

    result.copy_patient_and_study_information(source)
    result.SoftwareVersions = [str(result.SoftwareVersions), f"minipacs {minipacs.__version__}"]
    if source.get("BodyPartExamined"):
        result.BodyPartExamined = source.BodyPartExamined

    of = str(source.get("SeriesDescription") or source.get("SeriesNumber") or "series")
    result.SeriesDescription = f"{description}: {of}"[:64].strip()  # VR LO


def read_series_number(source: Dataset) -> int:
    """The source's series number, where it is one."""
    number = source.get("SeriesNumber")
    return int(number) if number is not None and 0 <= int(number) < 10**8 else 0


def make_coded_concept(code: Code) -> "hd.sr.CodedConcept":
    """Our code as highdicom's."""
    import highdicom as hd

    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)


def strip_source_images(images: Sequence[Dataset]) -> list[Dataset]:
    """The images with what highdicom needs of them: identity and plane, nothing about the patient.

    It refuses a wrong value in the patient module and would log the name; `copy_patient_and_study` copies the true one.
    """
    return [_strip_image(image) for image in images]


def _strip_image(image: Dataset) -> Dataset:
    stripped = Dataset()
    for element in (*(image[keyword] for keyword in _NEEDED if keyword in image), *_EMPTY):
        stripped.add(DataElement(element.tag, element.VR, element.value, already_converted=True))

    return stripped


def _describe_segment(number: int, segment: Segment, identity: Identity) -> "hd.seg.SegmentDescription":
    """PS3.3 C.8.20.4; the laterality modifies the type and stands within it."""
    import highdicom as hd

    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.label,
        segmented_property_category=make_coded_concept(segment.category),
        segmented_property_type=make_coded_concept(segment.type),
        algorithm_type=segment.algorithm,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=identity.engine,
            version=identity.version,
            family=make_coded_concept(segment.family),
            source=MANUFACTURER,
        ),
        tracking_uid=identity.derive_uid(f"segment {segment.label}"),
        tracking_id=segment.label,
        anatomic_regions=[make_coded_concept(segment.region)] if segment.region else None,
        display_color=hd.color.CIELabColor.from_rgb(*segment.color),
    )
    if segment.laterality:
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = DicomSequence([make_coded_concept(segment.laterality)])

    return description
