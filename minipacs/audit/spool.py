"""The spool: where entries stand from before the answer is sent until they are in the database.

Each process appends to files of its own in HOME/audit: what was written survives the end of the process, and
a database that does not answer only makes the files longer. A lock file says that the process lives: files
without a living owner are read to their end by any other process.
"""

import fcntl
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from minipacs.audit.entry import NewEntry
from minipacs.errors import AuditUnavailable
from minipacs.files import give_to_home_owner, make_private_folder

MAX_FILE_BYTES = 4 * 2**20
"""A longer file is followed by another, so that what is delivered can be deleted."""


class SpoolRecord(Struct, omit_defaults=True, array_like=True):
    """One line of a spool.

    `entry` alone: an entry. `begins`: an act that begins; an entry with the same number ends it. `at` without
    an entry: the look of this number happened again then.
    """

    number: int
    entry: NewEntry | None = None
    begins: bool = False
    at: float = 0.0


ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(SpoolRecord)


class SpoolWriter:
    """The spool of this process; opened with the first record. Safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = ""
        self.file_number = 0
        """Rises with each file; the records of an earlier file are not referred to."""
        self._lock = threading.Lock()
        self._lock_file = self._file = -1
        self._size = 0

    def write(self, record: SpoolRecord, *, is_durable: bool = False) -> int:
        """Append a record, and the number of the file that has it. `is_durable`: it also survives a loss of power.

        Raises:
            AuditUnavailable: it could not be written; nothing of it stands there.
        """
        line = ENCODER.encode(record) + b"\n"
        try:
            with self._lock:
                self._open_for(len(line))
                self._append(line)
                file_number = self.file_number
                to_sync = os.dup(self._file) if is_durable else -1
            if to_sync >= 0:
                _write_to_disk(to_sync)
        except OSError as error:
            raise self._make_error(error) from error
        return file_number

    def write_repeat(self, record: SpoolRecord, file_number: int) -> bool:
        """Append a record that refers to one of this file; `False`, and nothing, where another file has begun."""
        line = ENCODER.encode(record) + b"\n"
        try:
            with self._lock:
                if self._lock_file < 0 or self.file_number != file_number or self._size + len(line) > MAX_FILE_BYTES:
                    return False
                self._append(line)
        except OSError as error:
            raise self._make_error(error) from error
        return True

    def detach(self) -> tuple[int, str]:
        """End this spool; the next record begins another. Its lock, still held (-1: there is none), and its name.

        When the lock is closed, what is not delivered is another process's to deliver.
        """
        with self._lock:
            lock, name = self._lock_file, self.name
            if self._file >= 0:
                os.close(self._file)
            self._lock_file = self._file = -1
            self.name = ""
        return lock, name

    def _make_error(self, error: OSError) -> AuditUnavailable:
        return AuditUnavailable(
            f"The audit cannot be written ({error.strerror}).",
            f"Free some disk space, or make {self.folder} writable.",
        )

    def _open_for(self, size: int) -> None:
        """Open the first file, or the next where this one is full."""
        if self._lock_file < 0:
            self._lock_file, self.name = _open_lock(self.folder)
        if self._file >= 0 and self._size + size <= MAX_FILE_BYTES:
            return

        following = spool_file(self.folder, self.name, self.file_number + 1)
        opened = os.open(following, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        give_to_home_owner(opened)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size = opened, 0
        self.file_number += 1

    def _append(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)


def _write_to_disk(descriptor: int) -> None:
    """Wait until the disk has the file, and close the descriptor."""
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _open_lock(folder: Path) -> tuple[int, str]:
    """The lock of a new spool, held, and the spool's name."""
    make_private_folder(folder)
    while True:
        name = uuid.uuid4().hex
        path = folder / f"{name}.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        give_to_home_owner(lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():  # another process may have taken it for that of a dead one
            return lock, name
        os.close(lock)


def spool_file(folder: Path, name: str, number: int) -> Path:
    """A file of a spool."""
    return folder / f"{name}.{number:06d}.jsonl"


def list_spool_files(folder: Path, name: str) -> list[Path]:
    """The files of a spool, the oldest first."""
    return sorted(folder.glob(f"{name}.[0-9]*.jsonl"))


def read_records(file: Path, offset: int) -> Iterator[tuple[SpoolRecord, int]]:
    """The whole records of a file from this place on, each with the place of the next.

    A line that is no record is left out (a machine that lost its power may leave one).
    """
    with file.open("rb") as stream:
        stream.seek(offset)
        for line in stream:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                record = DECODER.decode(line)
            except msgspec.DecodeError:
                continue
            yield record, offset


def lock_abandoned_spools(folder: Path) -> Iterator[tuple[int, str]]:
    """The spools whose process has ended, one after the other: its lock, held meanwhile, and its name."""
    for path in sorted(folder.glob("*.lock")):
        name = path.name.removesuffix(".lock")
        if len(name) != len(uuid.uuid4().hex):
            continue
        try:
            lock = os.open(path, os.O_RDWR)
        except (FileNotFoundError, PermissionError):  # delivered meanwhile, or of another user: his to deliver
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        try:
            yield lock, name
        finally:
            os.close(lock)
