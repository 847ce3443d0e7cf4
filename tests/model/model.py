"""What the archive holds: as it says itself (`ArchivedObjects`), and as it must be after all (`ArchiveModel`).

The model is kept by Orthanc's identifiers, for objects of others; ours are what the invariants judge. What Orthanc
makes itself, with UIDs of its own, is read from it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha1
from io import BytesIO
from typing import Any

import httpx
from pydicom import Dataset, dcmread

from minipacs.archive.content import MANUFACTURER

UID = re.compile(r"[0-2](?:\.\d+){5,}")
KEY = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}")
FAMILY_NAME = re.compile(r"\w+q\^")
"""How the names of the persons of `studies` begin: no other word does."""


@dataclass(frozen=True)
class ArchivedObject:
    """An instance, with the identifiers of its parents."""

    key: str
    series_key: str
    study_key: str
    patient_key: str
    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    modality: str
    manufacturer: str
    md5: str
    file_uuid: str

    @property
    def is_ours(self) -> bool:
        """Whether minipacs made it."""
        return self.manufacturer == MANUFACTURER

    @property
    def words(self) -> set[str]:
        """All that it may be known by, without names."""
        uids = {self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid}
        return uids | {self.key, self.series_key, self.study_key}


class FileCache:
    """Reads objects of the archive, each version once."""

    def __init__(self, orthanc: httpx.Client) -> None:
        self._orthanc = orthanc
        self._kept: dict[tuple[str, str], Dataset] = {}

    def read(self, found: ArchivedObject) -> Dataset:
        """The object with its pixels."""
        version = (found.key, found.file_uuid)
        if version not in self._kept:
            self._kept[version] = dcmread(BytesIO(self._orthanc.get(f"/instances/{found.key}/file").content))
        return self._kept[version]


@dataclass(frozen=True)
class ArchivedObjects:
    """Everything that the archive holds at one moment, by Orthanc's identifier."""

    by_key: dict[str, ArchivedObject]
    files: FileCache

    @cached_property
    def foreign(self) -> list[ArchivedObject]:
        """Those that minipacs did not make."""
        return [one for one in self.by_key.values() if not one.is_ours]

    @cached_property
    def ours(self) -> list[ArchivedObject]:
        """Those that minipacs made."""
        return [one for one in self.by_key.values() if one.is_ours]

    @cached_property
    def words(self) -> set[str]:
        """All UIDs and identifiers, and the beginnings of the patients' names."""
        found = {word for one in self.by_key.values() for word in one.words}
        names = (str(self.files.read(one).get("PatientName", "")) for one in self.by_key.values())
        return found | {name for text in names for name in FAMILY_NAME.findall(text)}

    def group_by(self, key: Callable[[ArchivedObject], str]) -> dict[str, list[ArchivedObject]]:
        """All objects in groups."""
        return group(self.by_key.values(), key)


def group(found: Iterable[ArchivedObject], key: Callable[[ArchivedObject], str]) -> dict[str, list[ArchivedObject]]:
    """Objects in groups, in their order."""
    groups: dict[str, list[ArchivedObject]] = {}
    for one in found:
        groups.setdefault(key(one), []).append(one)
    return groups


def read_archive(orthanc: httpx.Client, files: FileCache) -> ArchivedObjects:
    """What Orthanc says that it holds, in five requests."""
    studies = {one["ID"]: one for one in _read_all(orthanc, "studies")}
    series = {one["ID"]: one for one in _read_all(orthanc, "series")}
    instances = list(_read_all(orthanc, "instances"))
    contents = orthanc.post("/minipacs/content", json=[one["ID"] for one in instances]).json()
    found: dict[str, ArchivedObject] = {}
    for one in sorted(instances, key=lambda one: _make_order(series[one["ParentSeries"]], one)):
        parent = series[one["ParentSeries"]]
        study = studies[parent["ParentStudy"]]
        found[one["ID"]] = ArchivedObject(
            key=one["ID"],
            series_key=parent["ID"],
            study_key=study["ID"],
            patient_key=study["ParentPatient"],
            patient_id=study["PatientMainDicomTags"].get("PatientID", ""),
            study_instance_uid=study["MainDicomTags"]["StudyInstanceUID"],
            series_instance_uid=parent["MainDicomTags"]["SeriesInstanceUID"],
            sop_instance_uid=one["MainDicomTags"]["SOPInstanceUID"],
            modality=parent["MainDicomTags"].get("Modality", ""),
            manufacturer=parent["MainDicomTags"].get("Manufacturer", ""),
            md5=str(contents[one["ID"]][0]),
            file_uuid=one["FileUuid"],
        )
    return ArchivedObjects(found, files)


def _read_all(orthanc: httpx.Client, level: str) -> Iterator[dict[str, Any]]:
    yield from orthanc.get(f"/{level}?expand").json()


def _make_order(series: dict[str, Any], instance: dict[str, Any]) -> tuple[str, ...]:
    """An order that does not depend on UIDs of chance, so that a seed chooses the same objects again."""
    numbers = (series["MainDicomTags"].get("SeriesNumber", ""), instance["MainDicomTags"].get("InstanceNumber", ""))
    return (*(number.rjust(8, "0") for number in numbers), instance["ID"])


def compute_key(*parts: str) -> str:
    """Orthanc's identifier of an object: SHA-1 of Patient ID and UIDs, written in five groups."""
    digits = sha1("|".join(parts).encode()).hexdigest()
    return "-".join(digits[start : start + 8] for start in range(0, 40, 8))


@dataclass
class ArchiveModel:
    """What the archive must hold of objects of others: the MD5 of each, by key, in the order in which they came."""

    instances: dict[str, ArchivedObject] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    """All that anything was ever known by in this sequence."""

    def compare(self, archived: ArchivedObjects, came: set[str], gone: Callable[[ArchivedObject], bool]) -> None:
        """Change the model by what was done, and fail where the archive differs: a fault of the model's own.

        `came`: keys of what was sent; what is there already stays as it is. `gone`: says what was deleted.
        """
        left = {key: one.md5 for key, one in self.instances.items() if not gone(one)}
        foreign = {one.key: one for one in archived.foreign}
        assert foreign.keys() == left.keys() | came, "the model does not know what the archive holds"
        changed = [key for key, md5 in left.items() if foreign[key].md5 != md5]
        assert not changed, f"the archive has changed {changed}"
        self.read(archived)

    def read(self, archived: ArchivedObjects) -> None:
        """Take over what the archive holds now."""
        foreign = {one.key: one for one in archived.foreign}
        known = {key: foreign[key] for key in self.instances if key in foreign}
        self.instances = known | foreign
        self.note_words(archived)

    def note_words(self, archived: ArchivedObjects) -> None:
        """Remember what the objects are known by."""
        self.words |= archived.words

    def group_by(self, key: Callable[[ArchivedObject], str]) -> dict[str, list[ArchivedObject]]:
        """The objects of others in groups, in the order in which they came."""
        return group(self.instances.values(), key)
