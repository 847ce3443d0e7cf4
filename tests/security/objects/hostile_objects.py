"""Objects that break rules, for tests of robustness: chosen faults, and mutants of real-like objects of many kinds."""

import random
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from pydicom import Dataset, Sequence, config
from pydicom.uid import (
    EncapsulatedPDFStorage,
    EnhancedMRImageStorage,
    MRImageStorage,
    RLELossless,
    RTStructureSetStorage,
    SegmentationStorage,
)

from dicom_objects import ROOT, as_file, image, nothing

ITEM_TAG = b"\xfe\xff\x00\xe0"
SEQUENCE_END = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
ITEM_END = b"\xfe\xff\x0d\xe0\x00\x00\x00\x00"
UNDEFINED = b"\xff\xff\xff\xff"
PIXELS = (np.arange(20 * 24, dtype=np.int16) * 7 % 2000 - 1000).reshape(20, 24)


# -- chosen faults ----------------------------------------------------------------------------------
def deeply_nested_sequence(depth: int = 3000) -> bytes:
    """A file whose sequences of undefined length hold each other."""
    begin = b"\x08\x00\x15\x11SQ\x00\x00" + UNDEFINED + ITEM_TAG + UNDEFINED
    nested = begin * depth + (ITEM_END + SEQUENCE_END) * depth
    file = as_file(nothing(901, StudyDate=None, StudyTime=None, Modality=None))
    at = file.index(b"\x10\x00\x10\x00PN")
    return file[:at] + nested + file[at:]


def short_binary_value() -> bytes:
    """A file whose Rows has three bytes: unpacking them is a `struct.error`."""
    file = as_file(image(PIXELS, 902))
    at = file.index(b"\x28\x00\x10\x00US\x02\x00")
    return file[:at] + b"\x28\x00\x10\x00US\x03\x00\x14\x00\x00" + file[at + 10 :]


def broken_nifti_headers() -> Iterator[bytes]:
    """NIfTI headers that nibabel refuses, each in another way."""
    import nibabel as nib

    whole = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)).to_bytes()
    for at, value in (
        (40, b"\xff\xff"),
        (70, b"\x99\x99"),
        (108, b"\xff\xff\xff\xff"),
        (344, b"abc\0"),
    ):
        yield whole[:at] + value + whole[at + len(value) :]
    yield whole[:200]
    yield whole[:4] + b"\xff" * 344 + whole[348:]


HOSTILE_UIDS = (
    "../../../../outside",
    "/tmp/outside",
    "1.2.3/../../outside",
    "..",
    "1.2\n3",
    "1.2\x1b[31m3",
    "1.2;touch outside",
    "-rf",
    "CON",
    "C:\\outside",
    "1.2'; DROP TABLE study; --",
    "<script>alert(1)</script>",
    "1." * 40 + "1",
    "9" * 5000,
    "1.2.%s%n",
    "1.2.é",
)
"""What senders may put where a UID belongs."""


def write_uid(file: bytes, old: str, new: str) -> bytes:
    """The file with other bytes in place of a UID, which pydicom would not write."""
    raw = new.encode()
    raw += b"\0" * (len(raw) % 2)
    at = file.rindex(b"UI" + len(old + "\0" * (len(old) % 2)).to_bytes(2, "little") + old.encode())
    return file[: at + 2] + len(raw).to_bytes(2, "little") + raw + file[at + 4 + len(old) + len(old) % 2 :]


# -- real-like objects ------------------------------------------------------------------------------
def make_objects() -> dict[str, bytes]:
    """One file of each kind: CT, MR, RLE, enhanced MR, SEG, SR, RTSTRUCT, PDF."""
    return {
        "CT": as_file(_make_ct()),
        "MR": as_file(
            image(
                abs(PIXELS),
                2,
                SOPClassUID=MRImageStorage,
                Modality="MR",
                WindowCenter=["40", "300"],
                WindowWidth=["80", "900"],
            )
        ),
        "CT RLE": as_file(_make_compressed_ct()),
        "enhanced MR": as_file(_make_enhanced_mr()),
        "SEG": as_file(_make_seg()),
        "SR": as_file(_make_sr()),
        "RTSTRUCT": as_file(_make_rtstruct()),
        "PDF": as_file(_make_pdf()),
    }


def _make_ct(number: int = 1) -> Dataset:
    return image(
        PIXELS, number, ImagePositionPatient=["-1.5", "2", "3.25"],
        ImageOrientationPatient=["1", "0", "0", "0", "1", "0"], FrameOfReferenceUID=f"{ROOT}.9",
        RescaleSlope="1", RescaleIntercept="-1024", WindowCenter="40", WindowWidth="400",
        PatientBirthDate="19700101", PatientSex="O", SeriesNumber="1", BodyPartExamined="CHEST", SliceThickness="2",
        SpecificCharacterSet="ISO_IR 192", SeriesDescription="Thorax späte Phase",
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
    )  # fmt: skip


def _make_compressed_ct() -> Dataset:
    compressed = _make_ct(3)
    compressed.compress(RLELossless, generate_instance_uid=False)
    return compressed


def _make_enhanced_mr() -> Dataset:
    enhanced = image(
        np.stack([abs(PIXELS)] * 3), 4, SOPClassUID=EnhancedMRImageStorage, Modality="MR", PixelSpacing=None
    )
    shared, measures = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["0.5", "0.75"], "2"
    shared.PixelMeasuresSequence = Sequence([measures])
    enhanced.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for index in range(3):
        group, position, window = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = ["0", "0", str(index * 2)]
        window.WindowCenter, window.WindowWidth = "40", "400"
        group.PlanePositionSequence, group.FrameVOILUTSequence = Sequence([position]), Sequence([window])
        groups.append(group)
    enhanced.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return enhanced


def _make_code(value: str, meaning: str) -> Sequence:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", meaning
    return Sequence([code])


def _make_seg() -> Dataset:
    seg = image(
        np.zeros((2, 20, 24), np.uint8), 5, SOPClassUID=SegmentationStorage, Modality="SEG", SegmentationType="BINARY"
    )
    seg.BitsAllocated = seg.BitsStored = 1
    seg.HighBit = 0
    seg.PixelData = np.packbits(np.ones((2, 20, 24), np.uint8).ravel(), bitorder="little").tobytes()
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel, segment.SegmentAlgorithmType = 1, "Liver", "MANUAL"
    segment.SegmentedPropertyCategoryCodeSequence = _make_code("123037004", "Body structure")
    segment.SegmentedPropertyTypeCodeSequence = _make_code("10200004", "Liver")
    seg.SegmentSequence = Sequence([segment])
    groups = []
    for index in range(2):
        group, identification, position = Dataset(), Dataset(), Dataset()
        identification.ReferencedSegmentNumber = 1
        position.ImagePositionPatient = ["0", "0", str(index)]
        group.SegmentIdentificationSequence = Sequence([identification])
        group.PlanePositionSequence = Sequence([position])
        groups.append(group)
    seg.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return seg


def _make_sr() -> Dataset:
    report = nothing(
        6, CompletionFlag="COMPLETE", VerificationFlag="UNVERIFIED", ContentDate="20240229", ContentTime="12"
    )
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", "A finding, in words."
    item.ConceptNameCodeSequence = _make_code("121071", "Finding")
    report.ContentSequence = Sequence([item])
    return report


def _make_rtstruct() -> Dataset:
    structure = nothing(7, SOPClassUID=RTStructureSetStorage, Modality="RTSTRUCT", StructureSetLabel="Plan")
    contour, roi = Dataset(), Dataset()
    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 3
    contour.ContourData = ["0", "0", "0", "10", "0", "0", "0", "10.5", "0"]
    roi.ReferencedROINumber, roi.ContourSequence = 1, Sequence([contour])
    structure.ROIContourSequence = Sequence([roi])
    return structure


def _make_pdf() -> Dataset:
    return nothing(
        8, SOPClassUID=EncapsulatedPDFStorage, Modality="DOC", DocumentTitle="Letter",
        MIMETypeOfEncapsulatedDocument="application/pdf",
        EncapsulatedDocument=b"%PDF-1.4\n%%EOF\n\0", BurnedInAnnotation="YES",
    )  # fmt: skip


# -- mutants ----------------------------------------------------------------------------------------
def mutate(file: bytes, seed: int, start: int = 132) -> bytes:
    """The file with a few faults from `start` on: bits, bytes, lengths, cut or repeated pieces; the same by seed."""
    chance = random.Random(seed)
    mutant = bytearray(file)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(start, max(start + 8, len(mutant)))
        match chance.randrange(8):
            case 0:
                mutant[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                mutant[at : at + 1] = bytes([(mutant[at] if at < len(mutant) else 0) ^ 1 << chance.randrange(8)])
            case 2:
                mutant[at : at + chance.randrange(1, 9)] = bytes(
                    chance.randrange(256) for _ in range(chance.randrange(9))
                )
            case 3:
                mutant[at : at + 4] = chance.choice((UNDEFINED, b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\xfe\xff\xff\xff"))
            case 4:
                del mutant[at : at + chance.randrange(1, 200)]
            case 5:
                piece = mutant[at : at + chance.randrange(1, 200)]
                mutant[at:at] = piece
            case 6:
                del mutant[chance.randrange(max(start, len(mutant) // 4), max(start, len(mutant)) + 1) :]
            case _:
                mutant[at : at + 2] = chance.choice(
                    (b"SQ", b"UN", b"OB", b"DS", b"PN", b"??", b"UI", b"US", b"FD", b"UV")
                )
    return bytes(mutant)


VALUES = (
    b"../..",
    b"\x1b[2J",
    b"\0\0",
    b"\\\\",
    b"-1",
    b"1e400",
    b"NaN",
    b"=1+1",
    b"\xff\xfe",
    b"9" * 16,
    b"'--",
    b"\r\nX:",
)


def mutate_values(file: bytes, seed: int) -> bytes:
    """The file with other bytes in a few of its values, nested ones too: every length and tag stays as it is."""
    import pydicom

    chance = random.Random(seed)
    places: list[tuple[int, int]] = []

    def collect(dataset: Dataset) -> None:
        for tag in list(dataset.keys()):
            raw = dataset.get_item(tag)
            length = getattr(raw, "length", 0)
            if raw is not None and getattr(raw, "value_tell", 0) and 0 < length < 2**31:
                places.append((raw.value_tell, length))
        for element in dataset:
            for item in element.value if element.VR == "SQ" else ():
                collect(item)

    collect(pydicom.dcmread(BytesIO(file)))
    mutant = bytearray(file)
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        at, length = chance.choice(places)
        value = chance.choice((bytes(chance.randrange(256) for _ in range(8)), chance.choice(VALUES)))[:length]
        begin = at + chance.randrange(length - len(value) + 1)
        mutant[begin : begin + len(value)] = value
    return bytes(mutant)


def with_new_identity(file: bytes, number: int) -> bytes:
    """The object with UIDs of its own, so that the archive does not take its mutants for repeats of one another."""
    import pydicom

    dataset = pydicom.dcmread(BytesIO(file))
    dataset.StudyInstanceUID = f"{ROOT}.7.{number // 20}"
    dataset.SeriesInstanceUID = f"{ROOT}.7.{number // 20}.{number % 4}"
    dataset.SOPInstanceUID = f"{ROOT}.7.{number // 20}.{number % 4}.{number}"
    dataset.PatientID = f"M{number // 100}"
    return as_file(dataset)


def write_text_everywhere(dataset: Dataset, text: str, *kept: str) -> Dataset:
    """Put a text into every element of text, sequences included, but for UIDs, what decoders need, and `kept`."""
    kept += ("SpecificCharacterSet", "Modality", "PhotometricInterpretation", "SegmentationType")

    def put(_: Dataset, element: Any) -> None:
        if element.keyword not in kept and element.VR in ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"):
            element.value = text if element.VR not in ("AE", "CS", "UR") else text.encode("ascii", "replace").decode()

    dataset.SpecificCharacterSet = "ISO_IR 192"
    with config.disable_value_validation():
        dataset.walk(put)
    return dataset
