"""What a segment measures, and the report of it: DICOM SR, TID 1500 (PS3.16), Comprehensive 3D SR.

Volume in mL; for CT mean, standard deviation, minimum and maximum in HU (UCUM units).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes

from minipacs.archive.content import MANUFACTURER
from segmentation.identity import Identity
from segmentation.labelmap import Labelmap, Segment
from segmentation.results.dicom_seg import (
    SERIES_NUMBER_STEP,
    copy_patient_and_study,
    make_coded_concept,
    make_equipment,
    read_series_number,
    strip_source_images,
)
from segmentation.series_volume import Slices
from segmentation.vocabulary.codes import HOUNSFIELD_UNIT, MILLILITRE, sct

if TYPE_CHECKING:
    import highdicom as hd
    from highdicom import Volume


@dataclass(frozen=True)
class Measurements:
    """Of one segment; the values are those of the images, HU for CT."""

    volume_ml: float
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float


def measure_segments(labelmap: Labelmap, volume: "Volume") -> list[Measurements]:
    """Of each segment, in their order; every segment has voxels (`Labelmap.compact`)."""
    millilitres = float(labelmap.geometry.voxel_volume) / 1000
    measurements = []

    for value, box in enumerate(labelmap.boxes, 1):
        values = volume.array[box][labelmap.array[box] == value]
        mean = float(values.mean(dtype=np.float64))
        spread = float(np.sqrt(max(0.0, np.square(values, dtype=np.float64).mean() - mean**2)))
        low, high = float(values.min()), float(values.max())
        measurements.append(Measurements(values.size * millilitres, mean, spread, low, high))

    return measurements


def encode_sr(
    labelmap: Labelmap, measurements: Sequence[Measurements], slices: Slices, seg: "Dataset", identity: Identity
) -> "hd.sr.Comprehensive3DSR":
    """The report: one measurement group a segment, each referring to its segment of `seg`."""
    import highdicom as hd

    source = slices.images[0]
    observer = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=identity.derive_uid("observer"),
        name=identity.engine,
        manufacturer_name=MANUFACTURER,
        model_name=f"{identity.engine} {identity.version}"[:64],
    )
    context = hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=observer
        )
    )
    groups = [
        _make_measurement_group(number, segment.without_enclosed_parts, values, source, seg, identity)
        for number, (segment, values) in enumerate(zip(labelmap.segments, measurements, strict=True), 1)
    ]
    content = hd.sr.MeasurementReport(
        observation_context=context,
        procedure_reported=_choose_procedure_code(source),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    sr = hd.sr.Comprehensive3DSR(
        evidence=[_make_seg_reference(seg, source), *strip_source_images(slices.images)],
        content=content[0],
        series_instance_uid=identity.derive_uid("SR series"),
        series_number=2 * SERIES_NUMBER_STEP + read_series_number(source),
        sop_instance_uid=identity.derive_uid("SR instance"),
        instance_number=1,
        is_complete=True,
        is_final=False,
        is_verified=False,
        **make_equipment(identity),
    )
    copy_patient_and_study(sr, source, f"{identity.engine} measurements")

    return sr


def _make_measurement_group(
    number: int, segment: Segment, values: Measurements, source: Dataset, seg: Dataset, identity: Identity
) -> "hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations":
    """TID 1411: what is measured, in which segment, and the values."""
    import highdicom as hd

    sites = None
    if segment.laterality:
        sites = [hd.sr.FindingSite(make_coded_concept(segment.type), laterality=make_coded_concept(segment.laterality))]
    elif segment.region:
        sites = [hd.sr.FindingSite(make_coded_concept(segment.region))]

    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(identity.derive_uid(f"segment {segment.label}"), segment.label),
        referenced_segment=hd.sr.ReferencedSegment(
            sop_class_uid=seg.SOPClassUID,
            sop_instance_uid=seg.SOPInstanceUID,
            segment_number=number,
            source_series=hd.sr.SourceSeriesForSegmentation(source.SeriesInstanceUID),
        ),
        finding_category=make_coded_concept(segment.category),
        finding_type=make_coded_concept(segment.type),
        finding_sites=sites,
        measurements=_make_measurements(values, source),
    )


def _make_measurements(values: Measurements, source: Dataset) -> list["hd.sr.Measurement"]:
    import highdicom as hd

    volume = hd.sr.Measurement(
        name=codes.SCT.Volume, value=_round_to_6_digits(values.volume_ml), unit=make_coded_concept(MILLILITRE)
    )
    if source.Modality != "CT":
        return [volume]

    statistics = {
        codes.SCT.Mean: values.mean,
        codes.SCT.StandardDeviation: values.standard_deviation,
        codes.SCT.Minimum: values.minimum,
        codes.SCT.Maximum: values.maximum,
    }
    name, unit = codes.DCM.AttenuationCoefficient, make_coded_concept(HOUNSFIELD_UNIT)

    return [
        volume,
        *(hd.sr.Measurement(name, _round_to_6_digits(v), unit, derivation=d) for d, v in statistics.items()),
    ]


def _round_to_6_digits(value: float) -> float:
    """Few enough digits for VR DS (16 characters)."""
    return float(f"{value:.6g}")


def _choose_procedure_code(source: Dataset) -> Any:
    known = {
        "CT": make_coded_concept(sct("77477000", "Computed tomography")),
        "MR": make_coded_concept(sct("113091000", "Magnetic resonance imaging")),
    }
    return known.get(str(source.get("Modality")), make_coded_concept(sct("363679005", "Imaging procedure")))


def _make_seg_reference(seg: Dataset, source: Dataset) -> Dataset:
    """What evidence needs to know of the SEG; its many frames would only slow it down."""
    reference = strip_source_images([source])[0]
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality"):
        setattr(reference, keyword, seg.get(keyword))

    return reference
