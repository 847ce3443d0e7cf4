"""Opens a backup for writing or reading: a folder or a tar file, encrypted or not."""

import json
from pathlib import Path
from typing import cast

from minipacs.backup.encryption import MARK, EncryptedFolderTarget, EncryptedSource, EncryptedTarget, read_identities
from minipacs.backup.store import (
    SEALED_MANIFEST,
    BackupManifest,
    BackupSource,
    BackupTarget,
    FolderSource,
    FolderTarget,
    TarSource,
    TarTarget,
)
from minipacs.errors import BadRequest, MinipacsError
from minipacs.settings import Settings


def open_target(path: Path, settings: Settings, snapshot: str) -> BackupTarget:
    """`.tar`: one file; anything else: a folder. With MINIPACS_BACKUP_RECIPIENTS what is written is encrypted."""
    recipients = settings.backup_public_keys
    if path.suffix == ".tar":
        if recipients:
            return EncryptedTarget(TarTarget(path, SEALED_MANIFEST), recipients)
        return TarTarget(path)
    if recipients:
        return EncryptedFolderTarget(FolderTarget(path, SEALED_MANIFEST, MARK), recipients, settings.home, snapshot)
    return FolderTarget(path)


def open_source(path: Path, settings: Settings) -> tuple[BackupSource, BackupManifest]:
    """A backup and its manifest; an encrypted one is opened with the private key of the settings."""
    if not path.exists():
        raise BadRequest(f"There is no {path}.", "Name the file or folder `minipacs backup` made.")

    plain = _open_folder_or_tar(path)
    source: BackupSource = plain
    try:
        if plain.is_encrypted:
            source = EncryptedSource(plain, read_identities(settings))
        return source, cast(BackupManifest, json.loads(source.read_manifest()))
    except ValueError as error:
        source.close()
        raise BadRequest(f"The manifest of {path} is damaged.", "Name another backup.") from error
    except MinipacsError:
        source.close()
        raise


def _open_folder_or_tar(path: Path) -> FolderSource | TarSource:
    return FolderSource(path) if path.is_dir() else TarSource(path)
