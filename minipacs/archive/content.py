"""What the archive holds of a study, as values: series, instances, and digests of their UIDs."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

MANUFACTURER = "minipacs"
"""Manufacturer (0008,0070) of every object we make: how our own objects are known again."""


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
    def ours(self) -> bool:
        """Whether we made it: our objects never trigger segmentation."""
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

    def digest(self, *, ours: bool) -> str:
        """Of the sorted SOP Instance UIDs; `ours` says whether objects we made count."""
        return uids_digest(uid for s in self.series if ours or not s.ours for uid, _ in s.instances)


def uids_digest(uids: Iterable[str]) -> str:
    """SHA-256 over the sorted UIDs, one a line; the first 32 hexadecimal digits."""
    return sha256("\n".join(sorted(uids)).encode("ascii", "replace")).hexdigest()[:32]
