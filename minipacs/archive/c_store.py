"""Send a folder to the archive as a modality does: C-STORE (PS3.4 Annex B), by pynetdicom."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError
from pynetdicom import AE
from pynetdicom.presentation import build_context

from minipacs.errors import ArchiveRefused, ArchiveUnreachable, BadRequest
from minipacs.settings import Settings

CONTEXTS_MAX = 128
"""Presentation contexts in one association (PS3.8 9.3.2.2: odd numbers 1 to 255)."""


@dataclass
class Sent:
    """What became of a folder: studies met, instances stored, files left out with the reason."""

    studies: set[str] = field(default_factory=set)
    stored: int = 0
    left_out: list[tuple[Path, str]] = field(default_factory=list)


def send_folder(
    folder: Path,
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    told: Callable[[int, int], None] = lambda _done, _total: None,
) -> Sent:
    """C-STORE every DICOM file below `folder`; a file that is not DICOM is left out and named."""
    if not folder.exists():
        raise BadRequest(f"There is no folder {folder}.", "Name a folder with DICOM files.")
    sent = Sent()
    files = [(path, ds) for path in _paths(folder) if (ds := _header(path, sent)) is not None]
    if not files:
        raise BadRequest(f"{folder} holds no DICOM file.", "Name a folder with DICOM files.")
    pairs = sorted(
        {(str(ds.file_meta.MediaStorageSOPClassUID), str(ds.file_meta.TransferSyntaxUID)) for _, ds in files}
    )
    if len(pairs) > CONTEXTS_MAX:
        raise BadRequest(f"{folder} mixes {len(pairs)} kinds of objects.", f"Send at most {CONTEXTS_MAX} at once.")
    entity = AE(ae_title="MINIPACS_DEMO")
    association = entity.associate(
        host, settings.dicom_port, contexts=[build_context(*pair) for pair in pairs], ae_title=settings.aet
    )
    if not association.is_established:
        if association.is_rejected:
            raise ArchiveRefused("The archive refused the association.", "Check MINIPACS_AET and MINIPACS_PEERS.")
        raise ArchiveUnreachable(
            f"Nobody answers DICOM at {host}:{settings.dicom_port}.", "Start the archive with scripts/up."
        )
    try:
        for index, (path, header) in enumerate(files, 1):
            status = association.send_c_store(path)
            if not status:  # aborted, or no answer in time
                raise ArchiveRefused(
                    f"The archive ended the association after {sent.stored} instances.",
                    "Check MINIPACS_AET and MINIPACS_PEERS, and the archive's log.",
                )
            if status.Status == 0:
                sent.stored += 1
                sent.studies.add(str(header.StudyInstanceUID))
            else:
                sent.left_out.append((path, f"refused with status {status.Status:#06x}"))
            told(index, len(files))
    finally:
        association.release()
    return sent


def _paths(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.rglob("*") if folder.is_dir() else [folder]) if p.is_file())


def _header(path: Path, sent: Sent) -> pydicom.Dataset | None:
    """What an association and a person need to know of a file; `None` when it cannot be sent."""
    try:
        ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "SOPInstanceUID"])
    except (InvalidDicomError, EOFError, ValueError):
        sent.left_out.append((path, "not a DICOM file"))
        return None
    if not (ds.get("StudyInstanceUID") and ds.get("SOPInstanceUID") and "TransferSyntaxUID" in ds.file_meta):
        sent.left_out.append((path, "has no UIDs"))
        return None
    return ds
