"""Where a backup is written and read: a folder (taken up again, it copies only what is new) or one tar file.

manifest.json              written last: a backup without it is not one
SNAPSHOT/settings.env      the settings, without passwords
SNAPSHOT/tables/*.jsonl    one row a line
SNAPSHOT/files.jsonl       name, size and SHA-256 of every file
home/…  output/…           files as they are        instances/ab/cd/UUID   DICOM files, byte by byte
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NotRequired, Protocol, TypedDict, cast

from minipacs.errors import BadRequest
from minipacs.files import OWNER_ONLY, open_private, replace_private

MANIFEST = "manifest.json"
BLOCK_BYTES = 1 << 20


class FileEntry(TypedDict):
    """A file of a backup."""

    name: str
    """Path within the backup."""
    size: int
    """Bytes."""
    sha256: str
    id: NotRequired[str]
    """Of a DICOM file: Orthanc's identifier of the instance."""


class BackupManifest(TypedDict):
    """What a backup holds."""

    format: int
    minipacs: str
    """The version that made it."""
    schema: str
    """The step of the database's migrations."""
    made: float
    """Seconds since 1970."""
    snapshot: str
    """The folder of its tables and lists."""
    rows: dict[str, int]
    """Rows by table."""
    files: int
    instances: int


class BackupTarget(Protocol):
    """A folder or a tar file that a backup is written to."""

    def find_earlier_digest(self, name: str, size: int) -> str:
        """SHA-256 of this file when an earlier backup has it unchanged; otherwise empty."""

    def add(self, name: str, stream: IO[bytes], size: int) -> str:
        """Write a file; its SHA-256."""

    def finish(self, manifest: BackupManifest, names: set[str]) -> None:
        """Write the manifest, with which the backup is complete; remove files that are not in `names`."""


class HashingStream:
    """A stream that is hashed as it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._sum = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read like a file, and hash what was read."""
        block = self._stream.read(size)
        self._sum.update(block)
        return block

    def hexdigest(self) -> str:
        """SHA-256 of what was read so far."""
        return self._sum.hexdigest()


class FolderTarget:
    """A folder; an earlier backup in it stays valid until this one is finished."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
            raise BadRequest(f"{folder} holds something that is no backup.", "Name an empty folder, or a new one.")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._earlier = dict(_read_digests(FolderSource(folder))) if (folder / MANIFEST).exists() else {}

    def find_earlier_digest(self, name: str, size: int) -> str:
        """The digest of a file of the same name and size: instances and pictures are named by their content."""
        path = self._folder / name
        return self._earlier.get(name, "") if path.is_file() and path.stat().st_size == size else ""

    def add(self, name: str, stream: IO[bytes], size: int) -> str:
        """Write the file whole; its SHA-256."""
        path = self._folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        hashing = HashingStream(stream)
        with replace_private(path) as file:
            shutil.copyfileobj(hashing, file, BLOCK_BYTES)
        return hashing.hexdigest()

    def finish(self, manifest: BackupManifest, names: set[str]) -> None:
        """The manifest is replaced in one step; then what only the earlier backup had is removed."""
        os.sync()
        self.add(MANIFEST, io.BytesIO(_manifest_as_json(manifest)), 0)
        for path in sorted(self._folder.rglob("*"), reverse=True):
            if path.is_file() and path.relative_to(self._folder).as_posix() not in names | {MANIFEST}:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()


class TarTarget:
    """One new tar file, which gets its name when it is whole."""

    def __init__(self, file: Path) -> None:
        if file.exists():
            raise BadRequest(f"{file} exists.", "Name a new file, or a folder, which is brought up to date.")
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file, self._partial = file, file.with_name(f".{file.name}.partial")
        self._stream = open_private(self._partial)
        self._tar = tarfile.open(fileobj=self._stream, mode="w")  # noqa: SIM115  closed by finish()

    def find_earlier_digest(self, name: str, size: int) -> str:
        """Always empty: a tar file is new."""
        return ""

    def add(self, name: str, stream: IO[bytes], size: int) -> str:
        """Append the file to the tar file; its SHA-256."""
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, OWNER_ONLY
        hashing = HashingStream(stream)
        self._tar.addfile(entry, hashing)
        return hashing.hexdigest()

    def finish(self, manifest: BackupManifest, names: set[str]) -> None:
        """The manifest is the last entry."""
        content = _manifest_as_json(manifest)
        self.add(MANIFEST, io.BytesIO(content), len(content))
        self._tar.close()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._partial.rename(self._file)


class BackupSource(Protocol):
    """A folder or a tar file that a backup is read from."""

    def open(self, name: str) -> IO[bytes]:
        """A file of it; raises `BadRequest` when there is none."""

    def close(self) -> None:
        """Close what is open."""


class FolderSource:
    """A backup in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: str) -> IO[bytes]:
        """A file below the folder."""
        try:
            return (self._folder / name).open("rb")
        except FileNotFoundError as error:
            raise _incomplete_error(self._folder, name) from error

    def close(self) -> None:
        """Nothing stays open."""


class TarSource:
    """A backup in a tar file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._tar = tarfile.open(file, "r:")  # noqa: SIM115  open as long as the command runs
        except tarfile.TarError as error:
            raise BadRequest(f"{file} is no backup.", "Name the file or folder `minipacs backup` made.") from error
        self._entries = {entry.name: entry for entry in self._tar.getmembers()}

    def open(self, name: str) -> IO[bytes]:
        """A file of the tar file."""
        stream = self._tar.extractfile(self._entries[name]) if name in self._entries else None
        if stream is None:
            raise _incomplete_error(self._file, name)
        return stream

    def close(self) -> None:
        """Close the tar file."""
        self._tar.close()


def open_target(path: Path) -> BackupTarget:
    """`.tar`: one file; anything else: a folder."""
    return TarTarget(path) if path.suffix == ".tar" else FolderTarget(path)


def open_source(path: Path) -> tuple[BackupSource, BackupManifest]:
    """A backup and its manifest."""
    if not path.exists():
        raise BadRequest(f"There is no {path}.", "Name the file or folder `minipacs backup` made.")
    source: BackupSource = FolderSource(path) if path.is_dir() else TarSource(path)
    with source.open(MANIFEST) as stream:
        return source, cast(BackupManifest, json.load(stream))


def read_lines(source: BackupSource, name: str) -> Iterator[dict[str, Any]]:
    """The objects of a `.jsonl` file of the backup."""
    with source.open(name) as stream:
        yield from (json.loads(line) for line in stream)


def _read_digests(source: FolderSource) -> Iterator[tuple[str, str]]:
    with source.open(MANIFEST) as stream:
        snapshot = json.load(stream)["snapshot"]
    return ((entry["name"], entry["sha256"]) for entry in read_lines(source, f"{snapshot}/files.jsonl"))


def _manifest_as_json(manifest: BackupManifest) -> bytes:
    return json.dumps(manifest, indent=1).encode() + b"\n"


def _incomplete_error(where: Path, name: str) -> BadRequest:
    return BadRequest(f"{where} has no {name}: it is no backup, or not a whole one.", "Name another backup.")
