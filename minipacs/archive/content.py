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
    modality: str
    manufacturer: str
    description: str
    instances: tuple[tuple[str, str], ...]
    """(SOP Instance UID, Orthanc's identifier) of each instance, sorted by UID."""

    @property
    def is_ours(self) -> bool:
        """Whether minipacs created it: our objects never start a segmentation."""
        return self.manufacturer == MANUFACTURER

    @property
    def digest(self) -> str:
        """Of the sorted SOP Instance UIDs: a late instance changes it, order of arrival does not."""
        return uids_digest(uid for uid, _ in self.instances)


@dataclass(frozen=True)
class StudyContent:
    """What the archive holds of a study, without its pixels."""

    study_id: str
    """Orthanc's identifier."""
    study_instance_uid: str
    series: tuple[SeriesContent, ...]

    def digest(self, *, include_ours: bool) -> str:
        """Of the sorted SOP Instance UIDs; `include_ours`: with the objects that minipacs created."""
        return uids_digest(uid for s in self.series if include_ours or not s.is_ours for uid, _ in s.instances)


def uids_digest(uids: Iterable[str]) -> str:
    """SHA-256 over the sorted UIDs, one a line; the first 32 hexadecimal digits."""
    return sha256("\n".join(sorted(uids)).encode("ascii", "replace")).hexdigest()[:32]
