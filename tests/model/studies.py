"""Twelve small studies of invented persons, made by code; the same numbers make the same bytes.

Among the persons: two who share a Patient ID, two with one ID of different issuers, one without an ID, and one whose
ID begins with a space. Family names are words that stand nowhere else, so that they can be searched for.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_objects import ROOT, as_file, image, nothing

SLICES, ROWS, COLUMNS = 12, 24, 32
"""A volume needs 10 slices; the first row of the first slice holds the checksum of `checksum_engine`."""
REPORT = 3
"""Number of the series that is a structured report; the series 1 and 2 are CT."""


@dataclass(frozen=True)
class Person:
    """What the header says of a patient."""

    patient_id: str
    name: str
    issuer: str = ""
    sex: str = "O"
    birth_date: str = "19700101"


PERSONS = (
    Person("M-01", "Abernaq^Anna", sex="F"),
    Person("M-01", "Abernaq^Anna", sex="F"),
    Person("M-02", "Brolliq^Bob", sex="M"),
    Person("M-03", "Cranzeq^Carl", sex="M", birth_date="19500505"),
    Person("M-03", "Dunvarq^Dora", sex="F", birth_date="19810118"),
    Person("", "Elmsarq^Eve"),
    Person("M-05", "Fjordiq^Finn", issuer="NORTH"),
    Person("M-05", "Gallowq^Gina", issuer="SOUTH"),
    Person(" M-06", "Hutzenq^Hugo"),
    Person("M-06", "Ickworq^Ida"),
    Person("M-07", "Jarlsoq^Jan"),
    Person("M-08", "Köhlerq^Käthe"),
)
"""The patient of each study."""


@dataclass(frozen=True)
class SeriesVersion:
    """A series of one of the studies, as somebody sends it: `shift` moves what the pixels show, `person` the header."""

    study: int
    series: int
    person: Person
    shift: int = 0

    @property
    def study_instance_uid(self) -> str:
        """Study Instance UID."""
        return f"{ROOT}.15.{self.study + 1}"

    @property
    def series_instance_uid(self) -> str:
        """Series Instance UID."""
        return f"{self.study_instance_uid}.{self.series}"

    def correct(self, **changes: Any) -> "SeriesVersion":
        """The same UIDs with another header: keywords are fields of `Person`."""
        return replace(self, person=replace(self.person, **changes))

    def move(self, shift: int) -> "SeriesVersion":
        """The same UIDs with other pixels."""
        return replace(self, shift=shift)


def describe_series(study: int, series: int) -> SeriesVersion:
    """A series as it is first sent."""
    return SeriesVersion(study, series, PERSONS[study])


@lru_cache(maxsize=200)
def make_files(version: SeriesVersion) -> tuple[bytes, ...]:
    """The DICOM files of a series."""
    if version.series == REPORT:
        return (as_file(nothing(1, **_make_header(version, 1))),)
    pixels = make_pixels(version)
    return tuple(as_file(image(pixels[k], **_make_image_header(version, k))) for k in range(SLICES))


def make_pixels(version: SeriesVersion) -> NDArray[np.uint16]:
    """Stored values (slices, rows, columns), HU + 1024: an ellipsoid of soft tissue in air, not in the middle."""
    z, y, x = np.mgrid[0:SLICES, 0:ROWS, 0:COLUMNS].astype(float)
    inside = ((z - 5) / 5) ** 2 + ((y - 13) / 8) ** 2 + ((x - 12 - version.shift % 7) / 9) ** 2 < 1
    values = np.where(inside, 1064 + 10 * version.series + version.study, 24)
    return values.astype(np.uint16)


def _make_header(version: SeriesVersion, number: int) -> dict[str, Any]:
    person = version.person
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "StudyInstanceUID": version.study_instance_uid,
        "SeriesInstanceUID": version.series_instance_uid,
        "SOPInstanceUID": f"{version.series_instance_uid}.{number}",
        "PatientID": person.patient_id,
        "PatientName": person.name,
        "PatientSex": person.sex,
        "PatientBirthDate": person.birth_date,
        "IssuerOfPatientID": person.issuer,
        "StudyID": str(version.study + 1),
        "AccessionNumber": f"A{version.study + 1:02d}",
        "ReferringPhysicianName": "",
        "StudyDescription": f"Study {version.study + 1}",
        "SeriesDescription": f"Series {version.series}",
        "SeriesNumber": version.series,
        "InstanceNumber": number,
        "Manufacturer": "Invented",
    }


def _make_image_header(version: SeriesVersion, k: int) -> dict[str, Any]:
    """Axial slices, 5 mm apart, pixels of 3 × 2 mm."""
    return {
        **_make_header(version, k + 1),
        "FrameOfReferenceUID": f"{version.study_instance_uid}.99",
        "PositionReferenceIndicator": "",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImagePositionPatient": [-30.0, -40.0, 5.0 * k],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [3.0, 2.0],
        "SliceThickness": 5.0,
        "KVP": 120,
        "BitsStored": 12,
        "HighBit": 11,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "RescaleType": "HU",
        "WindowCenter": 40,
        "WindowWidth": 400,
    }
