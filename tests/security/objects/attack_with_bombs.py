"""Sends each bomb of `bombs.py` to the whole product on a machine of 4 GB, and says what became of it.

    PYTHONPATH=tests .venv/bin/python -m security.objects.attack_with_bombs [--one-way-each] [--health-s 1]

They go by C-STORE, STOW-RS and upload to a running `minipacs up`, which has a memory cgroup of 4 GB where this process
may make one (cgroup 1, as root); else the settings of such a machine. Printed is the table of docs/security.md. Broken
promises end it with 1: a process that died, an answer of 500 or more, `/healthz` later than
that, more than 3 GB of
memory, an archived object with neither row nor rejection.
"""

import argparse
import json
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config
from pynetdicom.presentation import build_context
from sqlalchemy import select

from bombs import FILE_BOMBS, IMAGE_BOMBS, PICTURE_BOMBS
from minipacs.catalogue import Instance, Rejection
from security.objects.mutants import Report, Watch, list_processes, post, wait_until_catalogued
from stack import RunningStack, running
from waiting import PATIENCE_S

MACHINE_BYTES = 4 * 2**30
MAX_MEMORY_MB = 3000
CGROUPS = Path("/sys/fs/cgroup/memory")


@dataclass
class Attack:
    """One kind of bomb, and what became of those that were sent."""

    kind: str
    bytes: int = 0
    """Of the largest file."""
    ends: Counter[str] = field(default_factory=Counter)
    """Where it was sent, and what it ended as."""


@dataclass
class Attacks:
    """All kinds, and what was seen meanwhile."""

    kinds: list[Attack] = field(default_factory=list)
    report: Report = field(default_factory=Report)

    def as_table(self) -> str:
        """Markdown: attack, cases, outcome."""
        lines = ["| attack | file | cases | outcome |", "|---|---:|---:|---|"]
        for attack in self.kinds:
            outcome = "; ".join(attack.ends)
            lines.append(f"| {attack.kind} | {attack.bytes / 1000:,.0f} kB | {attack.ends.total()} | {outcome} |")
        report = self.report
        lines.append("")
        lines.append(
            f"Slowest `/healthz`: {report.slowest_health_s:.2f} s. Most memory of all processes together: "
            f"{report.most_memory_mb:.0f} MB. Broken promises: {'; '.join(report.faults) or 'none'}."
        )
        return "\n".join(lines)


def attack_product(stack: RunningStack, *, one_way_each: bool) -> Attacks:
    """Send every bomb by every way that takes it, or each by the next way; wait until everything is worked on."""
    attacks = Attacks()
    archived: list[tuple[Attack, str, str]] = []
    before = list_processes(stack)

    with Watch(stack, attacks.report):
        for number, (kind, make) in enumerate(IMAGE_BOMBS.items(), start=1):
            attack = Attack(kind)
            attacks.kinds.append(attack)
            ways = [WAYS[number % len(WAYS)]] if one_way_each else WAYS
            for way, send in ways:
                content = make()
                attack.bytes = max(attack.bytes, len(content))
                uid, answer = read_uid(content), send(stack, content)
                attacks.report.answers[f"{way} {answer}"] += 1
                archived.append((attack, way, uid))

        for kind, (name, make_file) in FILE_BOMBS.items():
            send_elsewhere(attacks, kind, make_file(), lambda content, name=name: upload(stack, name, content))  # type: ignore[misc]
        for kind, make in PICTURE_BOMBS.items():
            send_elsewhere(attacks, kind, make(), lambda content: send_picture(stack, content))
        wait_until_catalogued(stack)

    add_ends(stack, archived)
    attacks.report.faults += find_faults(attacks.report, before - list_processes(stack))
    attacks.report.faults += [f"{way} of {kind.kind}: neither row nor rejection" for kind, way in _lost(archived)]
    return attacks


def send_elsewhere(attacks: Attacks, kind: str, content: bytes, send: Callable[[bytes], str]) -> None:
    """Send a file that is no DICOM object: its answer is its end."""
    answer = send(content)
    attacks.report.answers[f"upload {answer}"] += 1
    if answer not in REFUSALS:
        attacks.report.faults.append(f"{kind} was answered by {answer}")
    attacks.kinds.append(Attack(kind, len(content), Counter({f"refused ({answer})": 1})))


def add_ends(stack: RunningStack, archived: list[tuple[Attack, str, str]]) -> None:
    """What each object ended as: refused where the archive does not have it, else its row or its rejection."""
    with stack.database.reading() as session:
        rejections = {row.sop_instance_uid: row.code for row in session.scalars(select(Rejection))}
        nameless = list(session.scalars(select(Rejection.code).where(Rejection.sop_instance_uid.is_(None))))
        rows = set(session.scalars(select(Instance.sop_instance_uid)))
    for attack, way, uid in archived:
        if not stack.archive.find_ids("Instance", uid):
            end = "refused"
        elif uid in rejections:
            end = f"row and rejection {rejections[uid]}" if uid in rows else f"rejection {rejections[uid]}"
        elif uid in rows:
            end = "row and picture"
        else:
            end = f"rejection {nameless.pop()}" if nameless else LOST
        attack.ends[f"{way}: {end}"] += 1


LOST = "lost"
REFUSALS = ("413", "422")
"""Statuses that refuse a file."""


def _lost(archived: list[tuple[Attack, str, str]]) -> Iterator[tuple[Attack, str]]:
    return ((attack, way) for attack, way, _uid in archived if f"{way}: {LOST}" in attack.ends)


def find_faults(report: Report, died: set[str]) -> Iterator[str]:
    """Broken promises, in sentences."""
    yield from (f"{name} died" for name in sorted(died))
    yield from (f"answer {key}" for key in report.answers if key.split()[-1].startswith("5"))
    if report.most_memory_mb > MAX_MEMORY_MB:
        yield f"{report.most_memory_mb:.0f} MB of memory"


def read_uid(content: bytes) -> str:
    """Media Storage SOP Instance UID."""
    with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
        file.write(content)
        file.flush()
        return str(read_file_meta_info(file.name).MediaStorageSOPInstanceUID)


def send_by_c_store(stack: RunningStack, content: bytes) -> str:
    """The status, or why there is none. The bytes of the dataset go as they are."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bomb.dcm")
        path.write_bytes(content)
        meta = read_file_meta_info(path)
        entity = AE(ae_title="BOMBS")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = PATIENCE_S
        context = build_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
        association = entity.associate(
            "127.0.0.1", stack.settings.dicom_port, contexts=[context], ae_title=stack.settings.aet
        )
        if not association.is_established:
            return "not accepted"

        _config.STORE_SEND_CHUNKED_DATASET = True
        try:
            status = association.send_c_store(path)
        finally:
            _config.STORE_SEND_CHUNKED_DATASET = False
        if association.is_established:
            association.release()
        return f"{status.Status:#06x}" if status else "aborted"


def send_by_stow(stack: RunningStack, content: bytes) -> str:
    """The status of the answer."""
    kind = 'multipart/related; type="application/dicom"'
    return post(stack, "/dicom-web/studies", kind, "application/dicom", [content])


def send_by_upload(stack: RunningStack, content: bytes) -> str:
    """The status of the answer."""
    return upload(stack, "bomb.dcm", content)


WAYS = [("C-STORE", send_by_c_store), ("STOW-RS", send_by_stow), ("upload", send_by_upload)]


def upload(stack: RunningStack, name: str, content: bytes) -> str:
    """Upload a file of this name; the status of the answer."""
    return post(stack, "/upload", "multipart/form-data", "application/octet-stream", [content], [name])


def send_picture(stack: RunningStack, content: bytes) -> str:
    """A picture, as the older clients send one; the status of the answer."""
    prompts = json.dumps({"rectangles": [{"startX": 0, "startY": 0, "width": 9, "height": 9}]})
    boundary = "bombs"
    head = 'Content-Disposition: form-data; name="{}"{}\r\n\r\n'
    body = f"--{boundary}\r\n{head.format('sam_input', '')}{prompts}\r\n--{boundary}\r\n".encode()
    body += head.format("file", '; filename="a.png"').encode() + content + f"\r\n--{boundary}--\r\n".encode()
    request = stack.request("/segment_input_image/", **{"Content-Type": f"multipart/form-data; boundary={boundary}"})
    request.data = body
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return str(error.code)


@contextmanager
def small_machine(folder: Path) -> Iterator[RunningStack]:
    """The product on a machine of 4 GB: in a cgroup with this process, or by the settings such a machine has."""
    changes: dict[str, object] = {"engine": "none"}
    group = CGROUPS / f"minipacs-{os.getpid()}"
    own = next(
        (line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line), ""
    )
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(MACHINE_BYTES))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        changes |= {"object_mb": 512, "frame_mb": 128, "volume_mb": 341, "worker_memory_mb": 1024}
        changes |= {"archive_memory_mb": 1024}
        own = ""
    try:
        with running(folder, **changes) as stack:
            yield stack
    finally:
        if own:
            (CGROUPS / own.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))
            group.rmdir()


def main() -> int:
    """Attack, and print the table."""
    parser = argparse.ArgumentParser(description="Send each bomb to the whole product on a machine of 4 GB.")
    parser.add_argument("--one-way-each", action="store_true", help="each object by one of the ways, in turn")
    parser.add_argument("--health-s", type=float, default=1.0, help="the slowest answer of /healthz")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, small_machine(Path(folder)) as stack:
        attacks = attack_product(stack, one_way_each=arguments.one_way_each)
        print(attacks.as_table())
    return 1 if attacks.report.faults or attacks.report.slowest_health_s > arguments.health_s else 0


if __name__ == "__main__":
    sys.exit(main())
