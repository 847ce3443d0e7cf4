"""A labelmap as DICOM Segmentation (PS3.3 A.51), by highdicom: one object, one series.

Patient and study modules are copied whole from the source, because an archive answers a study-level
query from any one instance of the study.

LABELMAP is 30 times smaller and written several times as fast. BINARY is read by everything; LABELMAP not
yet by 3D Slicer (dcmqi), nor is it known to Debian's dciodvfy. OHIF 3.13 counts a LABELMAP's segments from
the first item of Segment Sequence, so that highdicom's item for the background, number 0, shifts every
colour by one. The item says nothing (Pixel Padding Value names the background) and is left out: then OHIF's
colours are right.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydicom import DataElement, Dataset
from pydicom import Sequence as DicomSequence
from pydicom.datadict import dictionary_VR
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

import minipacs
from minipacs.archive.content import MANUFACTURER
from segmentation.engine import Labelmap, Segment
from segmentation.identity import Identity
from segmentation.series_volume import Slices
from segmentation.vocabulary.codes import Code

if TYPE_CHECKING:
    import highdicom as hd

BINARY, LABELMAP = "BINARY", "LABELMAP"
SERIES_NUMBER = 1000
"""Added to the source's series number; measurements: twice that; what was prompted: three times."""

# fmt: off
_PLANE = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality",
    "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "PositionReferenceIndicator",
)
_UNSAID = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)
# fmt: on
_EMPTY = [DataElement(keyword, dictionary_VR(keyword), None) for keyword in _UNSAID]


def encode(
    labelmap: Labelmap, slices: Slices, identity: Identity, type: str = LABELMAP, kind: str = "SEG"
) -> "hd.seg.Segmentation":
    """The labelmap, whose slices are those of `slices` in their order, as a DICOM SEG.

    Segments without a voxel must have been left out (`Labelmap.compact`); frames without a voxel are
    left out here. LABELMAP is compressed by JPEG-LS, without loss. All UIDs are derived from
    `identity` and `kind`: encoding twice makes the same object but for its creation time.
    """
    import highdicom as hd

    source = slices.images[0]
    seg = hd.seg.Segmentation(
        source_images=plain_sources(slices.images),
        pixel_array=labelmap.array,
        segmentation_type=type,
        segment_descriptions=[_description(n, s.of_voxels, identity) for n, s in enumerate(labelmap.segments, 1)],
        series_instance_uid=identity.uid(f"{kind} series"),
        series_number=SERIES_NUMBER + series_number(source),
        sop_instance_uid=identity.uid(f"{kind} instance"),
        instance_number=1,
        transfer_syntax_uid=ExplicitVRLittleEndian if type == BINARY else JPEGLSLossless,
        content_label="SEGMENTATION",
        content_description=f"Segments by {identity.engine} {identity.version}"[:64],
        specific_character_set=None,
        **equipment(identity),
    )
    adopt(seg, source, f"{identity.engine} segmentation")
    seg.SegmentSequence = [item for item in seg.SegmentSequence if item.SegmentNumber > 0]
    organization = identity.uid("dimension organization")
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    return seg


def equipment(identity: Identity) -> dict[str, Any]:
    """How our own objects are known again (PS3.3 C.7.5.1, C.7.5.2)."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": identity.engine[:64],
        "software_versions": identity.version[:64],
        "device_serial_number": "none",
    }


def adopt(result: Any, source: Dataset, description: str) -> None:
    """Give our object the source's patient and study, and a series description that names both."""
    if "SpecificCharacterSet" in source:
        result.SpecificCharacterSet = source.SpecificCharacterSet
    result.copy_patient_and_study_information(source)
    result.SoftwareVersions = [str(result.SoftwareVersions), f"minipacs {minipacs.__version__}"]
    if source.get("BodyPartExamined"):
        result.BodyPartExamined = source.BodyPartExamined
    of = str(source.get("SeriesDescription") or source.get("SeriesNumber") or "series")
    result.SeriesDescription = f"{description}: {of}"[:64].strip()  # VR LO


def series_number(source: Dataset) -> int:
    """The source's series number, where it is one."""
    number = source.get("SeriesNumber")
    return int(number) if number is not None and 0 <= int(number) < 10**8 else 0


def concept(code: Code) -> "hd.sr.CodedConcept":
    """Our code as highdicom's."""
    import highdicom as hd

    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)


def plain_sources(images: Sequence[Dataset]) -> list[Dataset]:
    """The images as highdicom needs to see them: identity and plane, nothing about the patient.

    It refuses a wrong value in the patient module and would log the name; `adopt` copies the true one.
    """
    return [_plane(image) for image in images]


def _plane(image: Dataset) -> Dataset:
    plane = Dataset()
    for element in (*(image[keyword] for keyword in _PLANE if keyword in image), *_EMPTY):
        plane.add(DataElement(element.tag, element.VR, element.value, already_converted=True))
    return plane


def _description(number: int, segment: Segment, identity: Identity) -> "hd.seg.SegmentDescription":
    """PS3.3 C.8.20.4; the laterality modifies the type and stands within it."""
    import highdicom as hd

    described = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.label,
        segmented_property_category=concept(segment.category),
        segmented_property_type=concept(segment.type),
        algorithm_type=segment.algorithm,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=identity.engine, version=identity.version, family=concept(segment.family), source=MANUFACTURER
        ),
        tracking_uid=identity.uid(f"segment {segment.label}"),
        tracking_id=segment.label,
        anatomic_regions=[concept(segment.region)] if segment.region else None,
        display_color=hd.color.CIELabColor.from_rgb(*segment.color),
    )
    if segment.laterality:
        kind = described.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = DicomSequence([concept(segment.laterality)])
    return described
