"""Send a folder to the archive as a modality does: C-STORE (PS3.4 Annex B), by pynetdicom.

An archive that answers late, or is started again meanwhile, is waited for: what it did not confirm is sent
again. Storing an instance twice changes nothing, for Orthanc keeps the first one (`OverwriteInstances: false`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from minipacs.errors import ArchiveRefused, ArchiveUnreachable, BadRequest
from minipacs.settings import Settings

CONTEXTS_MAX = 128
"""Presentation contexts in one association (PS3.8 9.3.2.2: odd numbers 1 to 255)."""
ANSWER_S = 120.0
"""Longest wait for one answer; after that the association is given up and the instance sent again."""
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Pauses before further associations; when none of them brought a confirmation, sending ends."""
ENDINGS_MOST = 3
"""An archive that ends so many associations before it has confirmed anything does not want our instances."""
REJECTED_PERMANENT = 0x01
"""Result of an A-ASSOCIATE-RJ that another attempt would only repeat (PS3.8 9.3.4)."""


@dataclass
class Sent:
    """What became of a folder: studies met, instances stored, files left out with the reason."""

    studies: set[str] = field(default_factory=set)
    stored: int = 0
    left_out: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _File:
    """A file to be sent, and what an association and a person need to know of it."""

    path: Path
    study_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str


def send_folder(
    folder: Path,
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    say: Callable[[str], None] = lambda _sentence: None,
) -> Sent:
    """C-STORE every DICOM file below `folder`; a file that is not DICOM is left out and named.

    `on_progress(done, total)` is called after each answer, `say(sentence)` when something is sent again.
    Raises `ArchiveUnreachable` and `ArchiveRefused` when waiting does not help.
    """
    if not folder.exists():
        raise BadRequest(f"There is no folder {folder}.", "Name a folder with DICOM files.")
    sent = Sent()
    files = [file for path in _paths(folder) if (file := _read_header(path, sent)) is not None]
    if not files:
        raise BadRequest(f"{folder} holds no DICOM file.", "Name a folder with DICOM files.")
    contexts = _presentation_contexts(folder, files)

    waiting: Sequence[_File] = files
    pauses, address, associations = iter(PAUSES_S), (host, settings.dicom_port), 0
    while waiting:
        association = _associate(address, contexts, settings)
        associations += association.is_established
        if not associations:
            raise _unreachable(address)
        before = len(waiting)
        waiting = _send_over(association, waiting, sent, lambda left: on_progress(len(files) - left, len(files)))
        if len(waiting) < before:
            pauses = iter(PAUSES_S)
        if waiting:
            if not sent.stored and associations >= ENDINGS_MOST:
                raise _refusal(sent)
            _wait_before_next(pauses, association, address, sent)
            say(f"the archive did not confirm in time; sending {len(waiting)} of {len(files)} instances again")
    return sent


def _associate(address: tuple[str, int], contexts: list[PresentationContext], settings: Settings) -> Association:
    """An association, established or not; raises `ArchiveRefused` when it was refused for good."""
    entity = AE(ae_title="MINIPACS_DEMO")
    entity.acse_timeout = entity.dimse_timeout = entity.connection_timeout = ANSWER_S
    entity.network_timeout = None  # it would end an association whose answer is late
    association = entity.associate(*address, contexts=contexts, ae_title=settings.aet)
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None and answer.result == REJECTED_PERMANENT:
        raise ArchiveRefused("The archive refused the association.", "Check MINIPACS_AET and MINIPACS_PEERS.")
    return association


def _send_over(
    association: Association, files: Sequence[_File], sent: Sent, on_answer: Callable[[int], None]
) -> Sequence[_File]:
    """Send until the association ends; the files that got no answer. `on_answer` learns how many are left."""
    try:
        for index, file in enumerate(files):
            status = _store(association, file)
            if status is None:
                return files[index:]
            if status == 0:
                sent.stored += 1
                sent.studies.add(file.study_instance_uid)
            else:
                sent.left_out.append((file.path, f"refused with status {status:#06x}"))
            on_answer(len(files) - index - 1)
    finally:
        if association.is_established:
            association.release()
    return []


def _store(association: Association, file: _File) -> int | None:
    """The status of one C-STORE (PS3.4 B.2.3); `None` without an answer."""
    if not association.is_established:
        return None
    try:
        status = association.send_c_store(file.path)
    except RuntimeError:  # the association ended after the line above
        return None
    return int(status.Status) if status else None


def _wait_before_next(pauses: Iterator[float], association: Association, address: tuple[str, int], sent: Sent) -> None:
    """Wait for the archive; raises when it was waited for long enough."""
    pause_s = next(pauses, None)
    if pause_s is not None:
        time.sleep(pause_s)
        return
    if association.is_aborted or association.is_rejected:
        raise _refusal(sent)
    raise _unreachable(address)


def _refusal(sent: Sent) -> ArchiveRefused:
    return ArchiveRefused(
        f"The archive ended the association after {sent.stored} instances.",
        "Check MINIPACS_AET and MINIPACS_PEERS, and the archive's log.",
    )


def _unreachable(address: tuple[str, int]) -> ArchiveUnreachable:
    host, port = address
    return ArchiveUnreachable(f"Nobody answers DICOM at {host}:{port}.", "Start the archive with scripts/up.")


def _presentation_contexts(folder: Path, files: Sequence[_File]) -> list[PresentationContext]:
    """One for each kind of object, with its own transfer syntax alone: nothing is transcoded on the way."""
    pairs = sorted({(file.sop_class_uid, file.transfer_syntax_uid) for file in files})
    if len(pairs) > CONTEXTS_MAX:
        raise BadRequest(f"{folder} mixes {len(pairs)} kinds of objects.", f"Send at most {CONTEXTS_MAX} at once.")
    return [build_context(*pair) for pair in pairs]


def _paths(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.rglob("*") if folder.is_dir() else [folder]) if p.is_file())


def _read_header(path: Path, sent: Sent) -> _File | None:
    """What is to be sent; `None`, and a reason in `sent`, when it cannot be."""
    try:
        ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "SOPInstanceUID"])
    except (InvalidDicomError, EOFError, ValueError):
        sent.left_out.append((path, "not a DICOM file"))
        return None
    meta = ds.file_meta
    if not (ds.get("StudyInstanceUID") and ds.get("SOPInstanceUID") and "TransferSyntaxUID" in meta):
        sent.left_out.append((path, "has no UIDs"))
        return None
    return _File(path, str(ds.StudyInstanceUID), str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
