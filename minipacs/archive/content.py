"""What the archive holds of a study, as values: series, instances, and digests of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

MANUFACTURER = "minipacs"
"""Manufacturer (0008,0070) of every object that minipacs creates: by it we recognise our own objects."""


@dataclass(frozen=True, order=True)
class InstanceContent:
    """What the archive holds of an instance."""

    sop_instance_uid: str
    """Empty where the object's is no UID (PS3.5 9.1)."""
    instance_id: str
    """Orthanc's identifier."""
    content_md5: str = ""
    """MD5 of the DICOM file as it was stored, 32 hexadecimal digits: another one is another content. Where Orthanc
    keeps no MD5 (its option `StoreMD5ForAttachments`), the file's UUID, which is another one for each storing."""
    file_uuid: str = ""
    """Of the file in Orthanc's storage: another one each time that the instance is stored or compressed there."""
    size: int = 0
    """Of the file, in bytes."""

    @property
    def name(self) -> str:
        """The SOP Instance UID; in place of one that is no UID, Orthanc's identifier."""
        return self.sop_instance_uid or self.instance_id


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
    instances: tuple[InstanceContent, ...]
    """Sorted by SOP Instance UID."""

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
        return [instance.name for instance in self.instances]

    @property
    def content_digest(self) -> str:
        """Of what the series holds: an instance that comes, goes, or is stored with other bytes changes it."""
        return compute_content_digest(self.instances)


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

    def content_digest(self, *, include_ours: bool) -> str:
        """Of what the study holds, as of a series; `include_ours`: with the objects that minipacs created."""
        series = [each for each in self.series if include_ours or not each.is_ours]
        return compute_content_digest(instance for each in series for instance in each.instances)


def uids_digest(uids: Iterable[str]) -> str:
    """SHA-256 over the sorted UIDs, one a line; the first 32 hexadecimal digits."""
    return sha256("\n".join(sorted(uids)).encode("ascii", "replace")).hexdigest()[:32]


def compute_content_digest(instances: Iterable[InstanceContent]) -> str:
    """SHA-256 over the sorted lines `identifier:content`; the first 32 hexadecimal digits."""
    lines = sorted(f"{instance.instance_id}:{instance.content_md5}" for instance in instances)
    return sha256("\n".join(lines).encode("ascii")).hexdigest()[:32]
