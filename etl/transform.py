"""A DICOM file to rows: patient, study, series, instance, renderings and segments, or a rejection."""

import logging
import struct
import warnings
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from isal import isal_zlib
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, MediaStorageDirectoryStorage

from etl.dicom_scan import CHARACTER_SET, scan
from etl.element_values import Column, Raw, columns_of, row
from etl.options import Options
from etl.rendering import render
from etl.rendering.frames import PIXELS, is_image
from etl.segments import segments
from etl.split import split
from minipacs.catalogue import Instance, Patient, Series, Study, patient_key
from minipacs.database import Base
from minipacs.errors import NoPicture

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings may hold a patient's name; remarks do not
COLUMNS: dict[type[Base], list[Column]] = {table: columns_of(table) for table in (Patient, Study, Series, Instance)}
NEEDED = """
SpecificCharacterSet PhotometricInterpretation HighBit PlanarConfiguration PixelPaddingValue
PixelPaddingRangeLimit ModalityLUTSequence VOILUTSequence PresentationLUTShape SharedFunctionalGroupsSequence
PerFrameFunctionalGroupsSequence NominalScannedPixelSpacing SegmentSequence SegmentationType
MaximumFractionalValue ExtendedOffsetTable ExtendedOffsetTableLengths RedPaletteColorLookupTableDescriptor
GreenPaletteColorLookupTableDescriptor BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData
GreenPaletteColorLookupTableData BluePaletteColorLookupTableData SegmentedRedPaletteColorLookupTableData
SegmentedGreenPaletteColorLookupTableData SegmentedBluePaletteColorLookupTableData PaletteColorLookupTableUID
AlphaPaletteColorLookupTableDescriptor SmallestImagePixelValue SpacingBetweenSlices ImageOrientationPatient
"""
TAGS: list[Any] = sorted({column.tag for columns in COLUMNS.values() for column in columns})
TAGS += [pydicom.datadict.tag_for_keyword(keyword) for keyword in (*NEEDED.split(), *PIXELS)]
"""What is read of a file: the rest is skipped, which halves the time."""
WANTED = frozenset(int(tag) for tag in TAGS)


@dataclass(frozen=True)
class Found:
    """A file or archived instance, as a source found it: unread."""

    source: str
    """`archive:` + Orthanc's identifier, or a path: what the catalogue calls it."""
    size: int | None = None
    mtime_ns: int | None = None


@dataclass
class Outcome:
    """What became of one source: rows for the catalogue, a rejection, or (picture missing) both."""

    found: Found
    patient: dict[str, Any] = field(default_factory=dict)
    study: dict[str, Any] = field(default_factory=dict)
    series: dict[str, Any] = field(default_factory=dict)
    instance: dict[str, Any] = field(default_factory=dict)
    segments: list[dict[str, Any]] = field(default_factory=list)
    renderings: list[dict[str, Any]] = field(default_factory=list)
    rejection: dict[str, Any] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        """SOP Instance UID; empty when the source is none."""
        return str(self.instance.get("sop_instance_uid", ""))

    def reject(self, code: str, reason: str, remedy: str) -> "Outcome":
        """Say why; one word for counting, two sentences for people."""
        self.rejection = {"code": code, "reason": reason, "remedy": remedy, "sop_instance_uid": self.uid or None}
        return self


def transformed(found: Found, data: bytes, options: Options, folder: Path) -> Outcome:
    """Read, describe and render one file; its PNGs lie in `folder`, not yet in their place."""
    outcome = Outcome(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what pydicom merely warns of, we remark upon or reject
        try:
            dataset, raw = scan(data, WANTED) or (read(data), None)
        except Unread as error:
            return outcome.reject("not_dicom", str(error), "Remove it, or send it again.")
        except Cut as error:
            return outcome.reject("truncated", str(error), "Send the object again.")
        if not described(dataset, outcome, raw):
            return outcome
        _rendered(dataset, data, outcome, options, folder)
    return outcome


class Unread(ValueError):
    """Not a DICOM file."""


class Cut(ValueError):
    """A DICOM file that ends too early."""


def read(data: bytes) -> Dataset:
    """The elements we need of a file (PS3.10), with or without preamble and meta information."""
    if not data:
        raise Unread("The file is empty.")
    marked = data[128:132] == b"DICM"
    try:
        dataset = pydicom.dcmread(BytesIO(data), force=not marked, specific_tags=TAGS)
    except (InvalidDicomError, EOFError) as error:
        if marked:
            raise Cut("The file ends within its header (PS3.10 7): it is cut off.") from error
        raise Unread("The file is not DICOM (PS3.10 7.1).") from error
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OSError, struct.error, MemoryError,
            OverflowError, RecursionError, LookupError) as error:  # fmt: skip
        # a header that is none breaks pydicom's reader in many ways
        kind = Cut if marked else Unread
        raise kind(f"The header cannot be read ({type(error).__name__}).") from error
    if not marked and "SOPInstanceUID" not in dataset and "SOPClassUID" not in dataset:
        raise Unread("The file is not DICOM (PS3.10 7.1): no DICM mark, no SOP Class.")
    if marked and dataset.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise Unread("The file is a DICOMDIR: a list of files (PS3.10 8), no object itself.")
    if marked and not len(dataset):
        raise Cut("The file ends after its preamble and meta information (PS3.10 7): it is cut off.")
    return dataset


def described(dataset: Dataset, outcome: Outcome, raw: Raw = None) -> bool:
    """Fill in the rows of patient, study, series and instance; False when identity is missing."""
    remarks: list[str] = []
    patient, study, series = (_same_row(dataset, table, remarks, raw) for table in (Patient, Study, Series))
    instance = row(dataset, COLUMNS[Instance], remarks, raw)
    needed = {
        "SOP Instance UID": instance["sop_instance_uid"],
        "Series Instance UID": series["series_instance_uid"],
        "Study Instance UID": study["study_instance_uid"],
    }
    missing = [name for name, uid in needed.items() if not uid]
    if missing:
        rule = "a Type 1 element must have a value (PS3.5 7.4.1)"
        outcome.instance = {"sop_instance_uid": instance["sop_instance_uid"] or ""}
        outcome.reject("no_uid", f"{' and '.join(missing)} missing or empty: {rule}.", "Send it with UIDs.")
        outcome.instance = {}
        return False
    key = patient_key(patient["patient_id"], study["study_instance_uid"])
    if key != patient["patient_id"]:
        remarks.append("No Patient ID: not merged with others; the study stands for the patient, in the split too.")
    meta = getattr(dataset, "file_meta", None)
    instance["transfer_syntax_uid"] = str(meta.get("TransferSyntaxUID") or "") or None if meta else None
    outcome.patient = {**patient, "patient_key": key}
    outcome.study = {**study, "patient_key": key}
    outcome.series = series
    outcome.instance = {
        **instance,
        "source": outcome.found.source,
        "source_size": outcome.found.size,
        "source_mtime_ns": outcome.found.mtime_ns,
        "content_checksum": None,
        "remarks": remarks,
    }
    return True


_rows: dict[type[Base], tuple[object, dict[str, Any], list[str]]] = {}
"""The last row of each table, and of which values it was made: the next object mostly says the same."""


def _same_row(dataset: Dataset, table: type[Base], remarks: list[str], raw: Raw) -> dict[str, Any]:
    """The row of patient, study or series; made anew only when the object says something else."""
    if raw is None:
        return row(dataset, COLUMNS[table], remarks)
    said = (raw.get(CHARACTER_SET), *(raw.get(column.tag) for column in COLUMNS[table]))
    before, values, found = _rows.get(table, (None, {}, []))
    if said != before:
        found = []
        values = row(dataset, COLUMNS[table], found, raw)
        _rows[table] = (said, values, found)
    remarks += found
    return dict(values)


def _rendered(dataset: Dataset, data: bytes, outcome: Outcome, options: Options, folder: Path) -> None:
    """Pictures of an image, segments of a SEG; a picture that cannot be made is a rejection beside the row."""
    remarks: list[str] = outcome.instance["remarks"]
    sums = [0]
    if is_image(dataset):
        chosen = split(outcome.patient["patient_key"], options.ratios, options.seed)
        aspect = render.aspect(dataset)
        try:
            for picture in render.rendered(dataset, options, remarks, sums):
                rendering = render.written(picture, outcome.uid, folder, aspect)
                outcome.renderings.append({**rendering, "split": chosen})
        except NoPicture as error:
            for rendering in outcome.renderings:
                (folder / rendering["rendering_id"]).unlink(missing_ok=True)
            outcome.renderings = []
            outcome.reject("no_picture", error.message, error.hint)
    elif sop_class_name(outcome.instance["sop_class_uid"]).endswith("Image Storage"):
        outcome.reject(
            "no_pixels", "An image must have pixel data (PS3.3 C.7.6.3): it is incomplete.", "Send it again."
        )
    outcome.segments = segments(dataset, remarks)
    outcome.instance["content_checksum"] = sums[0] or isal_zlib.crc32(data)
    outcome.instance["remarks"] = " ".join(dict.fromkeys(remarks)) or None
    outcome.instance["rendered_with"] = [options.digest]


def sop_class_name(uid: str | None) -> str:
    """The name of a SOP class, for people; the UID itself when it is unknown."""
    return str(UID(uid or "").name)
