"""Encrypted backups: every file is sealed with age (https://age-encryption.org/v1) before it is written.

They are encrypted for public keys, so the machine that makes them cannot read them; a restore needs one of the
private keys. The names of the files are digests: a backup tells no UID. age authenticates each block of 64 KiB and the
end of a file, so a file that was altered or cut off is never restored.

What a folder holds already cannot be read from it without the private key. A list of it is kept in HOME.
"""

import hashlib
import io
import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, TypedDict

import pyrage

from minipacs.backup.store import BackupSource, BackupTarget, FolderTarget, HashingStream
from minipacs.errors import BadRequest, MinipacsError, SettingsError
from minipacs.files import OTHERS, make_private_folder, replace_private
from minipacs.settings import Settings, variable_name

LISTS = "backup-lists"
"""Folder of HOME with the lists of what encrypted backups hold."""
MARK = "encrypted.json"
"""In the folder of an encrypted backup: which list is its own. It tells nothing of its content."""
MEMORY_BYTES = 64 << 20
"""A larger file waits on disk while it is sealed or opened."""
REMEDY = "Name another backup."

log = logging.getLogger(__name__)


class SealedFile(TypedDict):
    """A file of an encrypted backup, as the list in HOME has it."""

    size: int
    sha256: str
    sealed_size: int
    """Bytes that it takes in the backup."""


class SealedList(TypedDict):
    """What an encrypted backup in a folder holds, and for whom."""

    recipients: list[str]
    files: dict[str, SealedFile]


class EncryptedTarget:
    """Seals what is written to another target."""

    def __init__(self, inner: BackupTarget, recipients: Sequence[str]) -> None:
        self._inner = inner
        self._keys = [pyrage.x25519.Recipient.from_str(text) for text in recipients]
        self.files: dict[str, SealedFile] = {}
        """What this backup holds, by name."""

    def find_earlier_digest(self, name: str, size: int) -> str:
        """Always empty: nobody knows what is in it."""
        return ""

    def add(self, name: str, stream: IO[bytes], size: int) -> str:
        """Write a sealed file; the SHA-256 of its content."""
        hashing = HashingStream(stream)
        with SpooledTemporaryFile(MEMORY_BYTES) as sealed:
            sealed_size = self._seal(hashing, sealed)
            self._inner.add(hide_name(name), sealed, sealed_size)
        self.files[name] = {"size": size, "sha256": hashing.hexdigest(), "sealed_size": sealed_size}
        return hashing.hexdigest()

    def finish(self, manifest: bytes, names: set[str]) -> None:
        """Write the sealed manifest; remove files that are not in `names`."""
        sealed = io.BytesIO()
        self._seal(io.BytesIO(manifest), sealed)
        self._inner.finish(sealed.getvalue(), {hide_name(name) for name in names})

    def _seal(self, stream: Any, sealed: Any) -> int:
        """Encrypt a stream to another, which is rewound; the size of it."""
        try:
            pyrage.encrypt_io(stream, sealed, self._keys)
        except pyrage.EncryptError as error:
            raise MinipacsError(f"The backup could not be written ({error}).", "Free some disk space.") from error
        size = int(sealed.tell())
        sealed.seek(0)
        return size


class EncryptedFolderTarget(EncryptedTarget):
    """Seals what is written to a folder, and knows by its list what the folder holds already."""

    def __init__(self, folder: FolderTarget, recipients: Sequence[str], home: Path, snapshot: str) -> None:
        super().__init__(folder, recipients)
        self._folder, self._recipients = folder, sorted(recipients)
        self._lists, self._snapshot = home / LISTS, snapshot
        self._earlier_snapshot = self._read_mark()
        self._earlier = self._read_list()

    def find_earlier_digest(self, name: str, size: int) -> str:
        """The digest of a file of the same name and size that lies in the folder, sealed for the same keys."""
        earlier = self._earlier.get(name)
        if earlier is None or earlier["size"] != size:
            return ""
        if self._folder.find_size(hide_name(name)) != earlier["sealed_size"]:
            return ""
        self.files[name] = earlier
        return earlier["sha256"]

    def finish(self, manifest: bytes, names: set[str]) -> None:
        """Write the list before the manifest: one without the other is an earlier backup."""
        make_private_folder(self._lists)
        listing: SealedList = {"recipients": self._recipients, "files": self.files}
        with replace_private(self._lists / f"{self._snapshot}.json") as stream:
            stream.write(json.dumps(listing).encode())

        super().finish(manifest, names)
        mark = json.dumps({"encrypted": "age-encryption.org/v1", "snapshot": self._snapshot}).encode()
        self._folder.add(MARK, io.BytesIO(mark), len(mark))
        if self._earlier_snapshot:
            (self._lists / f"{self._earlier_snapshot}.json").unlink(missing_ok=True)

    def _read_mark(self) -> str:
        """The earlier backup's snapshot; empty where there is none, or its mark was changed."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            snapshot = str(json.loads((self._folder.path / MARK).read_bytes())["snapshot"])
            return snapshot if snapshot.replace("-", "").isalnum() else ""
        return ""

    def _read_list(self) -> dict[str, SealedFile]:
        """What the folder holds; nothing where the list is not ours, or was sealed for other keys."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            listing: SealedList = json.loads((self._lists / f"{self._earlier_snapshot}.json").read_bytes())
            if listing["recipients"] == self._recipients:
                return listing["files"]
        return {}


class EncryptedSource:
    """Opens the sealed files of another source."""

    def __init__(self, inner: BackupSource, identities: Sequence[Any]) -> None:
        self._inner, self._identities = inner, identities
        self.path = inner.path

    def open(self, name: str) -> IO[bytes]:
        """A file, opened and checked to its end; raises `BadRequest` when it is missing, altered or cut off."""
        opened = SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115  the caller closes it
        try:
            with self._inner.open(hide_name(name)) as sealed:
                pyrage.decrypt_io(sealed, opened, self._identities)
        except (OSError, pyrage.DecryptError) as error:
            opened.close()
            raise BadRequest(f"{name} of {self.path} is damaged ({error}).", REMEDY) from error
        opened.seek(0)
        return opened

    def read_manifest(self) -> bytes:
        """The manifest; raises `BadRequest` when it was sealed for another key, or is damaged."""
        try:
            return bytes(pyrage.decrypt(self._inner.read_manifest(), self._identities))
        except pyrage.DecryptError as error:
            if "No matching keys" in str(error):
                raise BadRequest(
                    f"{self.path} was encrypted for another key.",
                    "Set MINIPACS_BACKUP_IDENTITY to its key file.",
                ) from error
            raise BadRequest(f"The manifest of {self.path} is damaged ({error}).", REMEDY) from error

    def close(self) -> None:
        """Close the source."""
        self._inner.close()


def hide_name(name: str) -> str:
    """The name of a file in an encrypted backup: the same for the same file, and it tells nothing of it."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{digest[:2]}/{digest[2:4]}/{digest[4:]}.age"


def read_identities(settings: Settings) -> list[Any]:
    """The private keys of MINIPACS_BACKUP_IDENTITY; raises `SettingsError`, never with a key in its words."""
    variable, file = variable_name("backup_identity"), Path(settings.backup_identity).expanduser()
    if not settings.backup_identity:
        raise SettingsError("The backup is encrypted.", f"Set {variable} to the file of its private key.")
    try:
        lines = [line.strip() for line in file.read_text("ascii").splitlines()]
        identities = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except OSError as error:
        raise SettingsError(f"{file} cannot be read ({error.strerror}).", f"Correct {variable}.") from error
    except (ValueError, pyrage.IdentityError):
        identities = []
    if not identities:
        raise SettingsError(f"{file} is no private key of age.", f"Correct {variable}.")
    if file.stat().st_mode & OTHERS:
        log.warning("the private key %s can be read by others: chmod 600", file)
    return identities


def create_key(file: Path) -> str:
    """Write a new private key into a new file that only its owner can read; the public key."""
    identity = pyrage.x25519.Identity.generate()
    public = str(identity.to_public())
    text = f"# created: {datetime.now(UTC).isoformat(timespec='seconds')}\n# public key: {public}\n{identity}\n"
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BadRequest(f"{file} cannot be created ({error.strerror}).", "Name a new file.") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(text)
    return public
