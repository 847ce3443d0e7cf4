"""The tables of instances, and of what is made of one: its pictures and its segments."""

from datetime import date, datetime, time

from sqlalchemy import JSON, BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from minipacs.catalogue.elements import element
from minipacs.tables import Base

__all__ = ["Instance", "Rendering", "Segment"]


class Instance(Base):
    """A DICOM object, with pixel data or without."""

    __tablename__ = "instance"
    instance_key: Mapped[str] = mapped_column(primary_key=True)
    """Orthanc's identifier of the instance, or the one that Orthanc would give it."""
    sop_instance_uid: Mapped[str] = element("SOPInstanceUID", index=True, nullable=False)
    series_key: Mapped[str] = mapped_column(ForeignKey("series.series_key"), index=True)
    series_instance_uid: Mapped[str] = element("SeriesInstanceUID", index=True, nullable=False)
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
    content_md5: Mapped[str | None]
    """MD5 of the file as the archive keeps it; null for a file of a folder, and until it is catalogued again."""
    file_uuid: Mapped[str | None]
    """Orthanc's name of the file that `content_md5` is of: another one is asked for its MD5."""
    source_size: Mapped[int | None] = mapped_column(BigInteger)
    source_mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    content_checksum: Mapped[int | None] = mapped_column(BigInteger)
    """CRC-32 of the stored values of all frames, or of a file without frames: a copy has the same, a conflict not."""
    rendered_with: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    """Digests of the rendering options under which all pictures exist; an unchanged object is not read again.

    Null for a row of before the keys: it is read again, and its pictures are replaced.
    """
    remarks: Mapped[str | None]
    """Faults of the object that did not keep it from being catalogued, in sentences."""


class Rendering(Base):
    """A PNG of one frame through one window, and everything needed to render it again."""

    __tablename__ = "rendering"
    rendering_id: Mapped[str] = mapped_column(primary_key=True)
    """UUIDv5 of the instance's key, frame and window: the name of the file."""
    instance_key: Mapped[str] = mapped_column(ForeignKey("instance.instance_key", ondelete="CASCADE"), index=True)
    sop_instance_uid: Mapped[str] = element("SOPInstanceUID", index=True, nullable=False)
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
    instance_key: Mapped[str] = mapped_column(ForeignKey("instance.instance_key", ondelete="CASCADE"), primary_key=True)
    segment_number: Mapped[int] = element("SegmentNumber", primary_key=True)
    sop_instance_uid: Mapped[str] = element("SOPInstanceUID", index=True, nullable=False)
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
