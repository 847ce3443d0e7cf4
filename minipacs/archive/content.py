"""What the archive holds of a study, as values: series, instances, and digests of their UIDs."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

MANUFACTURER = "minipacs"
"""Manufacturer (0008,0070) of every object that minipacs creates: by it we recognise our own objects."""


@dataclass(frozen=True)
class SeriesContent:
    """What the archive holds of a series, without its pixels."""

    series_id: str
    """Orthanc's identifier."""
    series_instance_uid: str
    """Empty where the object's is no UID (PS3.5 9.1): such a series is never segmented."""
    modality: str
    manufacturer: str
    description: str
    instances: tuple[tuple[str, str], ...]
    """(SOP Instance UID, Orthanc's identifier) of each instance, sorted by UID; one that is no UID is empty."""

    @property
    def is_ours(self) -> bool:
        """Whether minipacs created it: our objects never start a segmentation."""
        return self.manufacturer == MANUFACTURER

    @property
    def digest(self) -> str:
        """Of the sorted SOP Instance UIDs: a late instance changes it, order of arrival does not."""
        return uids_digest(self.instance_names)

    @property
    def instance_names(self) -> list[str]:
        """The SOP Instance UID of each instance; in place of one that is no UID, Orthanc's identifier."""
        return [uid or instance_id for uid, instance_id in self.instances]


@dataclass(frozen=True)
class StudyContent:
    """What the archive holds of a study, without its pixels."""

    study_id: str
    """Orthanc's identifier. A Study Instance UID that two patients have is two studies of Orthanc's."""
    study_instance_uid: str
    """Empty where the object's is no UID (PS3.5 9.1): such a study has rejections, and nothing else is made of it."""
    series: tuple[SeriesContent, ...]

    def digest(self, *, include_ours: bool) -> str:
        """Of the sorted SOP Instance UIDs; `include_ours`: with the objects that minipacs created."""
        return uids_digest(name for s in self.series if include_ours or not s.is_ours for name in s.instance_names)


def uids_digest(uids: Iterable[str]) -> str:
    """SHA-256 over the sorted UIDs, one a line; the first 32 hexadecimal digits."""
    return sha256("\n".join(sorted(uids)).encode("ascii", "replace")).hexdigest()[:32]
