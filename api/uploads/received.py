"""What becomes of a received file: what the archive gets of it, or why it is refused."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StorableFile:
    """A file that the archive may have."""

    kind: str
    """DICOM or volume."""
    study: str
    """Study Instance UID."""
    instances: tuple[bytes, ...]
    """DICOM files."""
    remark: str = ""


@dataclass(frozen=True)
class RefusedFile:
    """A file of which the archive gets nothing."""

    reason: str
