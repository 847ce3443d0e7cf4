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
from typing import IO, Any, NotRequired, Protocol, TypedDict

from minipacs.errors import BadRequest
from minipacs.files import OWNER_ONLY, open_private, replace_private

MANIFEST = "manifest.json"
SEALED_MANIFEST = "manifest.json.age"
"""Of an encrypted backup."""
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

    def finish(self, manifest: bytes, names: set[str]) -> None:
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

    def __init__(self, folder: Path, manifest_name: str = MANIFEST, mark: str = "") -> None:
        self.path = folder
        self._manifest_name, self._kept = manifest_name, {manifest_name, mark}
        if folder.exists() and any(folder.iterdir()) and not (folder / manifest_name).exists():
            _refuse_folder(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._earlier = dict(_read_digests(FolderSource(folder))) if (folder / MANIFEST).exists() else {}

    def find_earlier_digest(self, name: str, size: int) -> str:
        """The digest of a file of the same name and size: instances and pictures are named by their content."""
        return self._earlier.get(name, "") if self.find_size(name) == size else ""

    def find_size(self, name: str) -> int | None:
        """Bytes of a file that lies in the folder; `None` where there is none."""
        path = self.path / name
        return path.stat().st_size if path.is_file() else None

    def add(self, name: str, stream: IO[bytes], size: int) -> str:
        """Write the file whole; its SHA-256."""
        path = self.path / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        hashing = HashingStream(stream)
        with replace_private(path) as file:
            shutil.copyfileobj(hashing, file, BLOCK_BYTES)
        return hashing.hexdigest()

    def finish(self, manifest: bytes, names: set[str]) -> None:
        """The manifest is replaced in one step; then what only the earlier backup had is removed."""
        os.sync()
        self.add(self._manifest_name, io.BytesIO(manifest), len(manifest))
        for path in sorted(self.path.rglob("*"), reverse=True):
            if path.is_file() and path.relative_to(self.path).as_posix() not in names | self._kept:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()


class TarTarget:
    """One new tar file, which gets its name when it is whole."""

    def __init__(self, file: Path, manifest_name: str = MANIFEST) -> None:
        self._manifest_name = manifest_name
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

    def finish(self, manifest: bytes, names: set[str]) -> None:
        """The manifest is the last entry."""
        self.add(self._manifest_name, io.BytesIO(manifest), len(manifest))
        self._tar.close()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._partial.rename(self._file)


class BackupSource(Protocol):
    """A folder or a tar file that a backup is read from."""

    path: Path
    """Where it lies."""

    def read_manifest(self) -> bytes:
        """The manifest; raises `BadRequest` when there is none."""

    def open(self, name: str) -> IO[bytes]:
        """A file of it; raises `BadRequest` when there is none."""

    def close(self) -> None:
        """Close what is open."""


class FolderSource:
    """A backup in a folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder

    @property
    def is_encrypted(self) -> bool:
        """Whether its manifest is that of an encrypted backup."""
        return (self.path / SEALED_MANIFEST).exists()

    def read_manifest(self) -> bytes:
        """The file of the folder."""
        with self.open(SEALED_MANIFEST if self.is_encrypted else MANIFEST) as stream:
            return stream.read()

    def open(self, name: str) -> IO[bytes]:
        """A file below the folder."""
        try:
            return (self.path / name).open("rb")
        except FileNotFoundError as error:
            raise _incomplete_error(self.path, name) from error

    def close(self) -> None:
        """Nothing stays open."""


class TarSource:
    """A backup in a tar file."""

    def __init__(self, file: Path) -> None:
        self.path = file
        self._stream = file.open("rb")
        try:
            self._tar = tarfile.open(fileobj=self._stream, mode="r:")  # noqa: SIM115
            self._entries = {entry.name: entry for entry in self._tar.getmembers()}
        except tarfile.TarError as error:
            self._stream.close()
            raise BadRequest(
                f"{file} is no backup, or not a whole one ({error}).", "Name the file or folder `minipacs backup` made."
            ) from error

    @property
    def is_encrypted(self) -> bool:
        """Whether its manifest is that of an encrypted backup."""
        return SEALED_MANIFEST in self._entries

    def read_manifest(self) -> bytes:
        """The last entry of the tar file."""
        with self.open(SEALED_MANIFEST if self.is_encrypted else MANIFEST) as stream:
            return stream.read()

    def open(self, name: str) -> IO[bytes]:
        """A file of the tar file."""
        stream = self._tar.extractfile(self._entries[name]) if name in self._entries else None
        if stream is None:
            raise _incomplete_error(self.path, name)
        return stream

    def close(self) -> None:
        """Close the tar file."""
        self._tar.close()
        self._stream.close()


def read_lines(source: BackupSource, name: str) -> Iterator[dict[str, Any]]:
    """The objects of a `.jsonl` file of the backup."""
    with source.open(name) as stream:
        yield from (json.loads(line) for line in stream)


def _read_digests(source: FolderSource) -> Iterator[tuple[str, str]]:
    with source.open(MANIFEST) as stream:
        snapshot = json.load(stream)["snapshot"]
    return ((entry["name"], entry["sha256"]) for entry in read_lines(source, f"{snapshot}/files.jsonl"))


def _refuse_folder(folder: Path) -> None:
    """Raise `BadRequest` for a folder that holds another kind of backup than the one wanted, or none."""
    if (folder / SEALED_MANIFEST).exists():
        raise BadRequest(f"{folder} holds an encrypted backup.", "Set MINIPACS_BACKUP_RECIPIENTS, or name another.")
    if (folder / MANIFEST).exists():
        raise BadRequest(f"{folder} holds a backup that is not encrypted.", "Name a new folder, and remove this one.")
    raise BadRequest(f"{folder} holds something that is no backup.", "Name an empty folder, or a new one.")


def _incomplete_error(where: Path, name: str) -> BadRequest:
    return BadRequest(f"{where} has no {name}: it is no backup, or not a whole one.", "Name another backup.")
