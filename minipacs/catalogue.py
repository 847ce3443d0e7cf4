"""The catalogue: what the archive holds, described once, in tables that people can open and query.

    patient ─< study ─< series ─< instance ─< rendering (a PNG)
                                       └───< segment   (of a SEG object)
    rejection: what could not be catalogued or rendered, and why        cursor: how far a reader has come
    total: the four global counts

A column takes its type from the VR (PS3.6) of the DICOM keyword it names; its name is that keyword in
snake_case. More values than one (VM) are a JSON array. `etl` writes; everyone may read. Counters are
kept in the transaction that adds or removes a row, so that a count never scans.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Integer,
    String,
    Time,
    and_,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, MappedColumn, Session, mapped_column
from sqlalchemy.types import TypeEngine

from minipacs.tables import Base

ARCHIVE_PREFIX = "archive:"
"""Before Orthanc's identifier in the column `source`."""
AFTER_ARCHIVE_PREFIX = "archive;"
"""The first text after all that begin with it."""

TYPES: dict[str, type[TypeEngine[Any]]] = {
    **dict.fromkeys(("DS", "FL", "FD"), Double),
    **dict.fromkeys(("IS", "US", "SS", "SL"), Integer),
    **dict.fromkeys(("UL", "SV", "UV"), BigInteger),
    **{"DA": Date, "TM": Time, "DT": DateTime},
}
"""Column type by VR (PS3.5 6.2); every other VR is text."""


def element(keyword: str, *options: Any, single_value: bool = False, **named: Any) -> MappedColumn[Any]:
    """A column that holds this data element. `single_value`: one value, though the element may have several."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is not a keyword of PS3.6")
    several = dictionary_VM(tag) != "1" and not single_value
    kind = JSON(none_as_null=True) if several else TYPES.get(dictionary_VR(tag).partition(" ")[0], String)()
    named.setdefault("nullable", not named.get("primary_key", False))
    return mapped_column(kind, *options, info={"keyword": keyword}, comment=f"{tag:08X} {keyword}", **named)


def counter(keyword: str) -> MappedColumn[Any]:
    """A column that holds a kept count; `keyword` is its name in QIDO-RS (PS3.18 table 10.6.3-3)."""
    return mapped_column(Integer, default=0, nullable=False, comment=f"kept: {keyword}")


class Patient(Base):
    """A person, by PatientID. Objects without one are not merged: each such study has a patient of its own."""

    __tablename__ = "patient"
    patient_key: Mapped[str] = mapped_column(primary_key=True)
    """PatientID, or `study:` + StudyInstanceUID when the object has none."""
    patient_id: Mapped[str | None] = element("PatientID", index=True)
    patient_name: Mapped[str | None] = element("PatientName")
    patient_birth_date: Mapped[date | None] = element("PatientBirthDate")
    patient_sex: Mapped[str | None] = element("PatientSex")
    issuer_of_patient_id: Mapped[str | None] = element("IssuerOfPatientID")
    number_of_patient_related_studies: Mapped[int] = counter("NumberOfPatientRelatedStudies")
    number_of_patient_related_series: Mapped[int] = counter("NumberOfPatientRelatedSeries")
    number_of_patient_related_instances: Mapped[int] = counter("NumberOfPatientRelatedInstances")


class Study(Base):
    """A study of one patient."""

    __tablename__ = "study"
    study_instance_uid: Mapped[str] = element("StudyInstanceUID", primary_key=True)
    patient_key: Mapped[str] = mapped_column(ForeignKey("patient.patient_key"), index=True)
    study_id: Mapped[str | None] = element("StudyID")
    study_date: Mapped[date | None] = element("StudyDate", index=True)
    study_time: Mapped[time | None] = element("StudyTime")
    study_description: Mapped[str | None] = element("StudyDescription")
    accession_number: Mapped[str | None] = element("AccessionNumber", index=True)
    referring_physician_name: Mapped[str | None] = element("ReferringPhysicianName")
    patient_age: Mapped[str | None] = element("PatientAge")
    patient_size: Mapped[float | None] = element("PatientSize")
    patient_weight: Mapped[float | None] = element("PatientWeight")
    number_of_study_related_series: Mapped[int] = counter("NumberOfStudyRelatedSeries")
    number_of_study_related_instances: Mapped[int] = counter("NumberOfStudyRelatedInstances")


class Series(Base):
    """A series of one study: one modality, one piece of equipment."""

    __tablename__ = "series"
    series_instance_uid: Mapped[str] = element("SeriesInstanceUID", primary_key=True)
    study_instance_uid: Mapped[str] = element("StudyInstanceUID", ForeignKey("study.study_instance_uid"), index=True)
    modality: Mapped[str | None] = element("Modality", index=True)
    series_number: Mapped[int | None] = element("SeriesNumber")
    series_date: Mapped[date | None] = element("SeriesDate")
    series_time: Mapped[time | None] = element("SeriesTime")
    series_description: Mapped[str | None] = element("SeriesDescription")
    protocol_name: Mapped[str | None] = element("ProtocolName")
    body_part_examined: Mapped[str | None] = element("BodyPartExamined")
    laterality: Mapped[str | None] = element("Laterality")
    patient_position: Mapped[str | None] = element("PatientPosition")
    frame_of_reference_uid: Mapped[str | None] = element("FrameOfReferenceUID")
    manufacturer: Mapped[str | None] = element("Manufacturer")
    manufacturer_model_name: Mapped[str | None] = element("ManufacturerModelName")
    software_versions: Mapped[list[str] | None] = element("SoftwareVersions")
    institution_name: Mapped[str | None] = element("InstitutionName")
    station_name: Mapped[str | None] = element("StationName")
    number_of_series_related_instances: Mapped[int] = counter("NumberOfSeriesRelatedInstances")


class Instance(Base):
    """A DICOM object, with pixel data or without."""

    __tablename__ = "instance"
    sop_instance_uid: Mapped[str] = element("SOPInstanceUID", primary_key=True)
    series_instance_uid: Mapped[str] = element(
        "SeriesInstanceUID", ForeignKey("series.series_instance_uid"), index=True
    )
    sop_class_uid: Mapped[str | None] = element("SOPClassUID")
    transfer_syntax_uid: Mapped[str | None] = element("TransferSyntaxUID")
    specific_character_set: Mapped[list[str] | None] = element("SpecificCharacterSet")
    instance_number: Mapped[int | None] = element("InstanceNumber")
    image_type: Mapped[list[str] | None] = element("ImageType")
    content_date: Mapped[date | None] = element("ContentDate")
    content_time: Mapped[time | None] = element("ContentTime")
    acquisition_date: Mapped[date | None] = element("AcquisitionDate")
    acquisition_time: Mapped[time | None] = element("AcquisitionTime")
    acquisition_date_time: Mapped[datetime | None] = element("AcquisitionDateTime")
    acquisition_number: Mapped[int | None] = element("AcquisitionNumber")
    number_of_frames: Mapped[int | None] = element("NumberOfFrames")
    rows: Mapped[int | None] = element("Rows")
    columns: Mapped[int | None] = element("Columns")
    samples_per_pixel: Mapped[int | None] = element("SamplesPerPixel")
    photometric_interpretation: Mapped[str | None] = element("PhotometricInterpretation")
    bits_allocated: Mapped[int | None] = element("BitsAllocated")
    bits_stored: Mapped[int | None] = element("BitsStored")
    pixel_representation: Mapped[int | None] = element("PixelRepresentation")
    pixel_spacing: Mapped[list[float] | None] = element("PixelSpacing")
    imager_pixel_spacing: Mapped[list[float] | None] = element("ImagerPixelSpacing")
    pixel_aspect_ratio: Mapped[list[int] | None] = element("PixelAspectRatio")
    slice_thickness: Mapped[float | None] = element("SliceThickness")
    slice_location: Mapped[float | None] = element("SliceLocation")
    image_position_patient: Mapped[list[float] | None] = element("ImagePositionPatient")
    image_orientation_patient: Mapped[list[float] | None] = element("ImageOrientationPatient")
    window_center: Mapped[list[float] | None] = element("WindowCenter")
    window_width: Mapped[list[float] | None] = element("WindowWidth")
    window_center_width_explanation: Mapped[list[str] | None] = element("WindowCenterWidthExplanation")
    voi_lut_function: Mapped[str | None] = element("VOILUTFunction")
    rescale_slope: Mapped[float | None] = element("RescaleSlope")
    rescale_intercept: Mapped[float | None] = element("RescaleIntercept")
    rescale_type: Mapped[str | None] = element("RescaleType")
    presentation_lut_shape: Mapped[str | None] = element("PresentationLUTShape")
    lossy_image_compression: Mapped[str | None] = element("LossyImageCompression")
    burned_in_annotation: Mapped[str | None] = element("BurnedInAnnotation")
    content_label: Mapped[str | None] = element("ContentLabel")
    document_title: Mapped[str | None] = element("DocumentTitle")
    source: Mapped[str] = mapped_column(index=True)
    """`archive:` + Orthanc's identifier, or the path of the file."""
    source_size: Mapped[int | None] = mapped_column(BigInteger)
    source_mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    content_checksum: Mapped[int | None] = mapped_column(BigInteger)
    """CRC-32 of the stored values of all frames, or of a file without frames: a copy has the same, a conflict not."""
    rendered_with: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    """Digests of the rendering options under which all pictures exist; an unchanged object is not read again."""
    remarks: Mapped[str | None]
    """Faults of the object that did not keep it from being catalogued, in sentences."""


class Rendering(Base):
    """A PNG of one frame through one window, and everything needed to render it again."""

    __tablename__ = "rendering"
    rendering_id: Mapped[str] = mapped_column(primary_key=True)
    """UUIDv5 of SOPInstanceUID, frame and window: the name of the file."""
    sop_instance_uid: Mapped[str] = element(
        "SOPInstanceUID", ForeignKey("instance.sop_instance_uid", ondelete="CASCADE"), index=True
    )
    frame_number: Mapped[int]
    """From 1, as DICOM counts frames."""
    split: Mapped[str] = mapped_column(index=True)
    """train, validation or test: by patient."""
    png_path: Mapped[str]
    sha256: Mapped[str]
    bytes: Mapped[int]
    bit_depth: Mapped[int]
    """8: as shown on a screen; 16: modality values, = value × `rescale_slope` + `rescale_intercept`."""
    rows: Mapped[int] = element("Rows", nullable=False)
    columns: Mapped[int] = element("Columns", nullable=False)
    window_center: Mapped[float | None] = element("WindowCenter", single_value=True)
    window_width: Mapped[float | None] = element("WindowWidth", single_value=True)
    voi_lut_function: Mapped[str | None] = element("VOILUTFunction")
    window_source: Mapped[str]
    """Where the window came from: header, lut, given, computed, or none (colour, modality values)."""
    window_number: Mapped[int | None]
    """Which of the header's windows (or VOI LUTs), from 1."""
    window_explanation: Mapped[str | None]
    rescale_slope: Mapped[float | None] = element("RescaleSlope")
    rescale_intercept: Mapped[float | None] = element("RescaleIntercept")
    modality_lut: Mapped[bool] = mapped_column(default=False)
    """Whether a Modality LUT Sequence was used instead of slope and intercept."""
    inverted: Mapped[bool] = mapped_column(default=False)
    """MONOCHROME1 or Presentation LUT Shape INVERSE: the picture shows low values white."""
    pixel_aspect: Mapped[float] = mapped_column(default=1.0)
    """Height of a pixel divided by its width: the PNG has pixels as stored."""
    rules: Mapped[int]
    """Version of the rendering rules (docs/catalogue.md)."""


class Segment(Base):
    """A segment of a SEG object (PS3.3 C.8.20.4)."""

    __tablename__ = "segment"
    sop_instance_uid: Mapped[str] = element(
        "SOPInstanceUID", ForeignKey("instance.sop_instance_uid", ondelete="CASCADE"), primary_key=True
    )
    segment_number: Mapped[int] = element("SegmentNumber", primary_key=True)
    segment_label: Mapped[str | None] = element("SegmentLabel")
    category_code: Mapped[str | None]
    """Coded category as `scheme:value`, for example SCT:123037004."""
    category_meaning: Mapped[str | None]
    type_code: Mapped[str | None] = mapped_column(index=True)
    type_meaning: Mapped[str | None]
    laterality: Mapped[str | None]
    segment_algorithm_type: Mapped[str | None] = element("SegmentAlgorithmType")
    segment_algorithm_name: Mapped[str | None] = element("SegmentAlgorithmName")
    volume_ml: Mapped[float | None]
    """Volume in mL: voxels above zero (FRACTIONAL: their sum of fractions) × voxel volume."""


class SegmentationResult(Base):
    """A segmentation that was stored in the archive: its manifest, and the result that replaced it since.

    Not a projection of the archive's objects, but of the result folders' manifests; a redo writes it anew.
    """

    __tablename__ = "result"
    seg_series_instance_uid: Mapped[str] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(index=True)
    series_instance_uid: Mapped[str]
    """The series that was segmented."""
    engine: Mapped[str]
    version: Mapped[str]
    created: Mapped[str]
    """ISO 8601, UTC."""
    superseded_by: Mapped[str | None]
    """The SEG series of the same engine for what the series holds now."""
    manifest: Mapped[dict[str, Any]] = mapped_column(JSON)


class Rejection(Base):
    """A file or instance that could not be catalogued or rendered, and why."""

    __tablename__ = "rejection"
    source: Mapped[str] = mapped_column(primary_key=True)
    sop_instance_uid: Mapped[str | None] = element("SOPInstanceUID", index=True)
    code: Mapped[str] = mapped_column(index=True)
    """The kind of fault in one word, for counting."""
    reason: Mapped[str]
    """A sentence: the thing and the rule it breaks."""
    remedy: Mapped[str]
    source_size: Mapped[int | None] = mapped_column(BigInteger)
    source_mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    options: Mapped[str | None]
    """Digest of the rendering options under which it was rejected; null where it is to be looked at again."""
    limit_setting: Mapped[str | None]
    """The setting whose limit it broke, null for every other fault."""
    limit_value: Mapped[int | None] = mapped_column(BigInteger)
    """The largest that this limit was when it was looked at, in bytes or seconds."""


class CatalogueCursorRow(Base):
    """The row that holds the cursor of one reader of the archive's change log."""

    __tablename__ = "cursor"
    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, default=0)


class RowCount(Base):
    """How many rows a table has: kept, never scanned."""

    __tablename__ = "total"
    name: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, default=0)


@dataclass(frozen=True)
class CatalogueCounts:
    """How many there are. `images` are instances of any kind, as the older clients' routes call them."""

    patients: int = 0
    studies: int = 0
    series: int = 0
    images: int = 0


def read_catalogue_counts(session: Session) -> CatalogueCounts:
    """The counts of the whole catalogue, in constant time."""
    found = {total.name: total.number for total in session.scalars(select(RowCount))}
    return CatalogueCounts(*(found.get(name, 0) for name in ("patient", "study", "series", "instance")))


def read_archive_sources(session: Session) -> set[str]:
    """Orthanc's identifiers of the instances that have a row or a rejection."""
    tables: tuple[type[Instance] | type[Rejection], ...] = (Instance, Rejection)
    found: set[str] = set()
    for table in tables:
        sources = select(table.source).where(table.source.between(ARCHIVE_PREFIX, AFTER_ARCHIVE_PREFIX))
        found.update(source.removeprefix(ARCHIVE_PREFIX) for source in session.scalars(sources))
    return found


def find_rejections_below_limits(session: Session, limits: Mapping[str, int]) -> set[str]:
    """Sources of what was rejected by a lower limit than today's; `limits`: bytes by setting."""
    conditions = [_is_below(setting, limit) for setting, limit in limits.items()]
    return set(session.scalars(select(Rejection.source).where(or_(*conditions))))


def repeat_rejections(session: Session, limits: Mapping[str, int], sources: Collection[str]) -> None:
    """Have those of these sources looked at again, once, that were rejected by a lower limit than today's."""
    for setting, limit in limits.items():
        repeated = update(Rejection).where(Rejection.source.in_(sources), _is_below(setting, limit))
        session.execute(repeated.values(options=None, limit_value=limit))


def _is_below(setting: str, limit: int) -> ColumnElement[bool]:
    return and_(Rejection.limit_setting == setting, Rejection.limit_value < limit)


def read_patient_counts(session: Session, patient_id: str) -> CatalogueCounts | None:
    """The counts of one patient, in constant time; None when there is no such patient."""
    patient = session.get(Patient, patient_id)
    if patient is None:
        return None
    return CatalogueCounts(
        1,
        patient.number_of_patient_related_studies,
        patient.number_of_patient_related_series,
        patient.number_of_patient_related_instances,
    )


def patient_key(patient_id: str | None, study_instance_uid: str) -> str:
    """The key of the patient an object belongs to: its PatientID, or `study:` + its study when it has none."""
    return patient_id.strip() if patient_id and patient_id.strip() else f"study:{study_instance_uid}"
