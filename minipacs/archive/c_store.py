"""Send a folder to the archive as a modality does: C-STORE (PS3.4 Annex B), by pynetdicom.

An archive that answers late, or is started again meanwhile, is waited for: what it did not confirm is sent
again. Storing an instance twice changes nothing, for Orthanc keeps the first one (`OverwriteInstances: false`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from minipacs.archive.dicom_tls import make_client_tls
from minipacs.errors import ArchiveRefused, ArchiveUnreachable, BadRequest, Unreadable
from minipacs.formats.dicom_file import read_dicom
from minipacs.settings import Settings

MAX_CONTEXTS = 128
"""Presentation contexts in one association (PS3.8 9.3.2.2: odd numbers 1 to 255)."""
ANSWER_TIMEOUT_S = 120.0
"""Longest wait for one answer; then the association is ended and the instance sent again."""
RETRY_DELAYS_S = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Waits before further associations; when the last of them brought no confirmation either, sending ends."""
MAX_UNCONFIRMED_ASSOCIATIONS = 3
"""An archive that ends so many associations before it has confirmed anything does not want our instances."""
REJECTED_PERMANENT = 0x01
"""Result of an A-ASSOCIATE-RJ that another attempt would only repeat (PS3.8 9.3.4)."""


@dataclass
class SendReport:
    """The outcome of sending a folder: studies sent, instances stored, files left out with the reason."""

    studies: set[str] = field(default_factory=set)
    stored: int = 0
    left_out: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _FileToSend:
    """A DICOM file that will be sent, and the UIDs that its association needs."""

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
) -> SendReport:
    """C-STORE every DICOM file below `folder`; a file that is not DICOM is left out and named.

    `on_progress(done, total)` is called after each answer, `say(sentence)` when something is sent again.
    Raises `ArchiveUnreachable` and `ArchiveRefused` when waiting does not help.
    """
    if not folder.exists():
        raise BadRequest(f"There is no folder {folder}.", "Name a folder with DICOM files.")
    report = SendReport()
    files = [file for path in _find_files(folder) if (file := _read_header(path, report)) is not None]
    if not files:
        raise BadRequest(f"{folder} holds no DICOM file.", "Name a folder with DICOM files.")
    contexts = _build_presentation_contexts(folder, files)

    waiting: Sequence[_FileToSend] = files
    delays, address, associations = iter(RETRY_DELAYS_S), (host, settings.dicom_port), 0
    while waiting:
        association = _associate(address, contexts, settings)
        associations += association.is_established
        if not associations:
            raise _unreachable_error(address)
        before = len(waiting)
        waiting = _send_files(association, waiting, report, lambda left: on_progress(len(files) - left, len(files)))
        if len(waiting) < before:
            delays = iter(RETRY_DELAYS_S)
        if waiting:
            if not report.stored and associations >= MAX_UNCONFIRMED_ASSOCIATIONS:
                raise _refused_error(report)
            _wait_before_next_association(delays, association, address, report)
            say(f"the archive did not confirm in time; sending {len(waiting)} of {len(files)} instances again")
    return report


def _associate(address: tuple[str, int], contexts: list[PresentationContext], settings: Settings) -> Association:
    """Request an association, which is established or not; raises `ArchiveRefused` when it is refused for good."""
    entity = AE(ae_title="MINIPACS_DEMO")
    entity.acse_timeout = entity.dimse_timeout = entity.connection_timeout = ANSWER_TIMEOUT_S
    entity.network_timeout = None  # it would end an association whose answer is late
    association = entity.associate(
        *address, contexts=contexts, ae_title=settings.aet, tls_args=make_client_tls(settings, address[0])
    )
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None and answer.result == REJECTED_PERMANENT:
        raise ArchiveRefused("The archive refused the association.", "Check MINIPACS_AET and MINIPACS_PEERS.")
    return association


def _send_files(
    association: Association, files: Sequence[_FileToSend], report: SendReport, on_answer: Callable[[int], None]
) -> Sequence[_FileToSend]:
    """Send files until the association ends; those without an answer. `on_answer` gets how many are left."""
    try:
        for index, file in enumerate(files):
            status = _store(association, file)
            if status is None:
                return files[index:]
            if status == 0:
                report.stored += 1
                report.studies.add(file.study_instance_uid)
            else:
                report.left_out.append((file.path, f"refused with status {status:#06x}"))
            on_answer(len(files) - index - 1)
    finally:
        if association.is_established:
            association.release()
    return []


def _store(association: Association, file: _FileToSend) -> int | None:
    """Send one file; the status of its C-STORE (PS3.4 B.2.3), `None` without an answer."""
    if not association.is_established:
        return None
    try:
        status = association.send_c_store(file.path)
    except RuntimeError:  # the association ended after the line above
        return None
    return int(status.Status) if status else None


def _wait_before_next_association(
    delays: Iterator[float], association: Association, address: tuple[str, int], report: SendReport
) -> None:
    """Wait for the next of `delays`; raises when none is left."""
    delay_s = next(delays, None)
    if delay_s is not None:
        time.sleep(delay_s)
        return
    if association.is_aborted or association.is_rejected:
        raise _refused_error(report)
    raise _unreachable_error(address)


def _refused_error(report: SendReport) -> ArchiveRefused:
    return ArchiveRefused(
        f"The archive ended the association after {report.stored} instances.",
        "Check MINIPACS_AET and MINIPACS_PEERS, and the archive's log.",
    )


def _unreachable_error(address: tuple[str, int]) -> ArchiveUnreachable:
    host, port = address
    return ArchiveUnreachable(f"Nobody answers DICOM at {host}:{port}.", "Start the archive with scripts/up.")


def _build_presentation_contexts(folder: Path, files: Sequence[_FileToSend]) -> list[PresentationContext]:
    """One for each kind of object, with its own transfer syntax alone: nothing is transcoded."""
    pairs = sorted({(file.sop_class_uid, file.transfer_syntax_uid) for file in files})
    if len(pairs) > MAX_CONTEXTS:
        raise BadRequest(f"{folder} mixes {len(pairs)} kinds of objects.", f"Send at most {MAX_CONTEXTS} at once.")
    return [build_context(*pair) for pair in pairs]


def _find_files(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.rglob("*") if folder.is_dir() else [folder]) if p.is_file())


def _read_header(path: Path, report: SendReport) -> _FileToSend | None:
    """The file to send; `None`, and a reason in `report`, when it cannot be sent."""
    try:
        ds = read_dicom(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "SOPInstanceUID"])
    except Unreadable:
        report.left_out.append((path, "not a DICOM file"))
        return None
    meta = ds.file_meta
    if not (ds.get("StudyInstanceUID") and ds.get("SOPInstanceUID") and "TransferSyntaxUID" in meta):
        report.left_out.append((path, "has no UIDs"))
        return None
    return _FileToSend(path, str(ds.StudyInstanceUID), str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
