"""Sends mutants of real-like objects to the whole product, and says what became of them.

    PYTHONPATH=tests .venv/bin/python -m security.objects.mutants 10000

They go by C-STORE, STOW-RS and upload to a running `minipacs up`. Printed is the table of docs/security.md: what was
sent, what it ended as, the slowest `/healthz`, the most memory of all processes together. Broken promises end it with
1: a process that died, an answer of 500 or more, an instance with neither row nor rejection.
"""

import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psutil
from pydicom import dcmread
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from sqlalchemy import func, select

from minipacs.catalogue import Instance, Rejection
from minipacs.doctor.catalogue_check import check_catalogue, find_waiting_studies
from minipacs.jobs.planner import open_planner_cursor
from minipacs.jobs.record import Job
from security.objects.hostile_objects import make_objects, mutate, mutate_values, with_new_identity
from stack import RunningStack, running
from waiting import PATIENCE_S, until

FILES_PER_REQUEST = 5
ASSOCIATIONS = 8
ANSWER_TIMEOUT_S = 2.0
"""After that the sender aborts the association, and the next mutant has a new one."""
WATCH_INTERVAL_S = 0.5
META_LENGTH_END = 144
"""Where the first element of the file meta information, its length, ends (PS3.10 7.1)."""
PARTS = ("Orthanc", "jobs", "api", "prompts")
"""Words in the command lines of the processes that must not die."""


@dataclass
class Report:
    """What became of the mutants."""

    sent: Counter[str] = field(default_factory=Counter)
    """Files, by the way they were sent."""
    answers: Counter[str] = field(default_factory=Counter)
    """Answers, by way and status."""
    ends: Counter[str] = field(default_factory=Counter)
    """Archived instances, by what they ended as: rows, rejections by code, failed jobs."""
    faults: list[str] = field(default_factory=list)
    """Broken promises, in sentences."""
    slowest_health_s: float = 0.0
    most_memory_mb: float = 0.0

    def as_table(self) -> str:
        """Markdown."""
        lines = ["| | |", "|---|---|"]
        for name, counts in (("sent", self.sent), ("answers", self.answers), ("ended as", self.ends)):
            lines.append(f"| {name} | {', '.join(f'{count} {key}' for key, count in counts.most_common())} |")
        lines.append(f"| slowest `/healthz` | {self.slowest_health_s:.2f} s |")
        lines.append(f"| memory of all processes, at most | {self.most_memory_mb:.0f} MB |")
        lines.append(f"| broken promises | {'; '.join(self.faults) or 'none'} |")
        return "\n".join(lines)


class Watch:
    """Asks `/healthz` and measures the memory of all processes, twice a second, until it is left."""

    def __init__(self, stack: RunningStack, report: Report) -> None:
        self._stack, self._report = stack, report
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(WATCH_INTERVAL_S):
            began = time.monotonic()
            try:
                with urllib.request.urlopen(self._stack.address + "/healthz", timeout=PATIENCE_S):
                    took_s = time.monotonic() - began
            except (urllib.error.URLError, OSError) as error:
                self._report.faults.append(f"/healthz: {error}")
                continue
            self._report.slowest_health_s = max(self._report.slowest_health_s, took_s)
            self._report.most_memory_mb = max(self._report.most_memory_mb, measure_memory_mb(self._stack))


def measure_memory_mb(stack: RunningStack) -> float:
    """The memory of all processes of the product together; pages that several share count once (PSS)."""
    total = 0
    for process in stack.processes(""):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:  # it has ended meanwhile
            continue
    return total / 2**20


def make_mutants(number: int, first_seed: int = 0) -> Iterator[bytes]:
    """The mutants; the meta information stays whole, for C-STORE has none and the other ways refuse a broken one."""
    objects = list(make_objects().values())
    for seed in range(first_seed, first_seed + number):
        file = with_new_identity(objects[seed % len(objects)], seed)
        start = META_LENGTH_END + int.from_bytes(file[META_LENGTH_END - 4 : META_LENGTH_END], "little")
        yield mutate(file, seed, start) if seed % 7 < 2 else file[:start] + mutate_values(file, seed)[start:]


def send_mutants(stack: RunningStack, files: Sequence[bytes], report: Report) -> None:
    """Send a third of the files each way, and wait until everything is worked on."""
    before = list_processes(stack)
    with Watch(stack, report):
        for way, send in (("C-STORE", send_by_c_store), ("STOW-RS", send_by_stow), ("upload", send_by_upload)):
            share = files[list(WAYS).index(way) :: len(WAYS)]
            report.sent[way] += len(share)
            report.answers.update({f"{way} {answer}": n for answer, n in Counter(send(stack, share)).items()})
        wait_until_catalogued(stack)
    report.faults += [f"{name} died" for name in before - list_processes(stack)]
    check_ends(stack, report)


WAYS = ("C-STORE", "STOW-RS", "upload")


def list_processes(stack: RunningStack) -> set[str]:
    """The parts that must not die, each with its process number."""
    return {f"{word} {process.pid}" for word in PARTS for process in stack.processes(word) if process.ppid() != 1}


def send_by_c_store(stack: RunningStack, files: Sequence[bytes]) -> Iterator[str]:
    """The status of each file, over several associations at once; pydicom parses nothing but the meta information."""
    _config.STORE_SEND_CHUNKED_DATASET = True
    try:
        with ThreadPoolExecutor(ASSOCIATIONS) as pool:
            shares = [files[number::ASSOCIATIONS] for number in range(ASSOCIATIONS)]
            for statuses in pool.map(lambda share: list(send_over_one_association(stack, share)), shares):
                yield from statuses
    finally:
        _config.STORE_SEND_CHUNKED_DATASET = False


def send_over_one_association(stack: RunningStack, files: Sequence[bytes]) -> Iterator[str]:
    """The status of each file. An object whose lengths lead beyond its end keeps the archive waiting for more."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mutant.dcm")
        association: Association | None = None
        for file in files:
            path.write_bytes(file + b"\0" * (len(file) % 2))  # a fragment has an even length (PS3.8 9.3.5.1)
            if association is None or not association.is_established:
                association = until(lambda: associate(stack), what="an association")
            try:
                status = association.send_c_store(path)
                yield f"{status.Status:#06x}" if status else "without answer"
            except (RuntimeError, ValueError) as error:
                yield type(error).__name__
        if association is not None and association.is_established:
            association.release()


def associate(stack: RunningStack) -> Association | None:
    """An association for every kind of object; none where the archive has no place for it at this moment."""
    entity = AE(ae_title="MUTANTS")
    entity.acse_timeout, entity.network_timeout = PATIENCE_S, PATIENCE_S
    entity.dimse_timeout = ANSWER_TIMEOUT_S
    association = entity.associate(
        "127.0.0.1", stack.settings.dicom_port, contexts=build_contexts(), ae_title=stack.settings.aet
    )
    return association if association.is_established else None


def build_contexts() -> list[PresentationContext]:
    """One for each kind of object and its transfer syntax."""
    from io import BytesIO

    metas = [dcmread(BytesIO(file)).file_meta for file in make_objects().values()]
    pairs = {(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID) for meta in metas}
    return [build_context(*pair) for pair in sorted(pairs)]


def send_by_stow(stack: RunningStack, files: Sequence[bytes]) -> Iterator[str]:
    """The status of each request."""
    for parts in split(files):
        yield post(
            stack, "/dicom-web/studies", 'multipart/related; type="application/dicom"', "application/dicom", parts
        )


def send_by_upload(stack: RunningStack, files: Sequence[bytes]) -> Iterator[str]:
    """The status of each request."""
    for parts in split(files):
        yield post(stack, "/upload", "multipart/form-data", "application/dicom", parts)


def split(files: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The files of one request each."""
    return (files[start : start + FILES_PER_REQUEST] for start in range(0, len(files), FILES_PER_REQUEST))


def post(
    stack: RunningStack, path: str, kind: str, part_type: str, parts: Sequence[bytes], names: Sequence[str] = ()
) -> str:
    """Send parts, as files of these names; the status of the answer."""
    boundary = uuid4().hex
    body = b""
    for number, part in enumerate(parts):
        name = names[number] if names else str(number)
        disposition = f'Content-Disposition: form-data; name="f{number}"; filename="{name}"\r\n'
        head = f"--{boundary}\r\n{disposition if 'form' in kind else ''}Content-Type: {part_type}\r\n\r\n"
        body += head.encode() + part + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    accept = "application/dicom+json" if "related" in kind else "application/json"
    request = stack.request(path, **{"Content-Type": f"{kind}; boundary={boundary}", "Accept": accept})
    request.data = body
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            answer.read()
            return str(answer.status)
    except urllib.error.HTTPError as error:
        error.read()
        return str(error.code)


def wait_until_catalogued(stack: RunningStack) -> None:
    """Until the planner has read the whole change log, nothing is due, and no job is open."""

    def is_done() -> bool:
        with stack.database.reading() as session:
            read = open_planner_cursor(stack.database).read_in(session)
            open_jobs = session.scalar(select(func.count()).where(Job.state.in_(("queued", "running"))))
            waiting = find_waiting_studies(session)
        return read >= stack.archive.read_last_change_number() and not open_jobs and not waiting

    until(is_done, PATIENCE_S * 20, what="the end of all work")


def check_ends(stack: RunningStack, report: Report) -> None:
    """Count what the archived instances ended as; what broke a promise is a fault."""
    with stack.database.reading() as session:
        report.ends["rows"] = session.scalar(select(func.count()).select_from(Instance)) or 0
        for code, count in session.execute(select(Rejection.code, func.count()).group_by(Rejection.code)):
            report.ends[f"rejections: {code}"] = count
        failed = list(session.scalars(select(Job).where(Job.state == "failed")))
    report.ends["instances in the archive"] = stack.archive.count_instances()
    report.faults += [f"job {job.id} ({job.kind}) failed: {job.error}" for job in failed]

    finding = check_catalogue(stack.settings)
    if finding.state != "ok":
        report.faults.append(finding.seen)
    report.faults += [f"answer {key}" for key in report.answers if key.split()[-1].startswith("5")]


def main() -> int:
    """Send as many as the first argument says, from the seed of the second; print the table."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    first_seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    report = Report()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), engine="none") as stack:
        began = time.monotonic()
        send_mutants(stack, list(make_mutants(number, first_seed)), report)
        print(report.as_table())
        print(f"{number} mutants in {time.monotonic() - began:.0f} s")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
