"""`minipacs backup PATH`: archive, catalogue, results and secrets, while everything runs.

First all tables at one moment, then the files, then the instances the archive lists at one moment: so the
backup's archive holds every object of its catalogue, and what arrived in between is catalogued after a
restore like any other new study. Instances never change once stored (a new one has a new identifier), so they are
copied without a lock; one that is deleted meanwhile is left out.
"""

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from minipacs import __version__, migrations
from minipacs.archive.client import Archive, StoredFile
from minipacs.archive.local_orthanc import is_orthanc_local
from minipacs.audit.command_act import CommandAct
from minipacs.backup.encryption import LISTS, create_key
from minipacs.backup.open_backup import open_target
from minipacs.backup.store import BackupManifest, BackupTarget, FileEntry
from minipacs.backup.tables import Snapshot
from minipacs.database import Database
from minipacs.errors import BadRequest, NotInArchive
from minipacs.settings import Settings

HELP = "back up archive, catalogue, results and secrets, while everything runs"
FORMAT = 1
NOT_BACKED_UP = {"orthanc", "log", "pool", "service.ready", "output", ".restoring", "audit", LISTS}
"""Of HOME: the archive is read through Orthanc, logs, scratch space and entries that wait are no data."""


def configure(parser: argparse.ArgumentParser) -> None:
    """PATH, or --create-key FILE."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "path",
        type=Path,
        nargs="?",
        help="a new file NAME.tar, or a folder (taken up again, only what is new is copied)",
    )
    what.add_argument(
        "--create-key",
        type=Path,
        metavar="FILE",
        help="make a pair of keys: the private one is written into FILE, the public one is printed; no backup is made",
    )


def describe_act(arguments: argparse.Namespace) -> CommandAct:
    """For the audit."""
    return CommandAct("export", f"backup {arguments.path}")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write the backup; print what it holds."""
    if arguments.create_key:
        print(create_key(arguments.create_key))
        return 0
    manifest = back_up(settings, arguments.path, lambda sentence: print(sentence, flush=True))
    rows = sum(manifest["rows"].values())
    print(f"{arguments.path}: {manifest['instances']} instances, {manifest['files']} files, {rows} rows")
    return 0


def back_up(settings: Settings, path: Path, say: Callable[[str], None]) -> BackupManifest:
    """Write the backup to `path`; its manifest. `say` is called with each sentence of progress."""
    archive, database = Archive(settings), Database(settings.database_url)
    try:
        archive.read_version()
        return BackupWriter(settings, path, say).write(archive, database)
    finally:
        archive.close()
        database.close()


class BackupWriter:
    """Writes one backup."""

    def __init__(self, settings: Settings, path: Path, say: Callable[[str], None]) -> None:
        self._settings, self._say = settings, say
        self._entries: list[FileEntry] = []
        self._snapshot = f"snapshot-{time.time_ns()}"
        self._target: BackupTarget = open_target(path, settings, self._snapshot)
        self._unchanged = 0

    def write(self, archive: Archive, database: Database) -> BackupManifest:
        """Write tables, files and instances, and the manifest last."""
        manifest: BackupManifest = {
            "format": FORMAT,
            "minipacs": __version__,
            "schema": read_schema_version(database),
            "made": time.time(),
            "snapshot": self._snapshot,
            "rows": self._write_tables(database),
            "files": 0,
            "instances": 0,
        }
        self._write_bytes(f"{self._snapshot}/settings.env", _settings_as_env_file(self._settings))
        for base, folder in (("home", self._settings.home), ("output", self._settings.output)):
            for file in _walk_files(folder, self._settings):
                self._write_file(f"{base}/{file.relative_to(folder).as_posix()}", file)
        manifest["files"] = len(self._entries)
        manifest["instances"] = self._write_instances(archive)
        self._say(f"{self._unchanged} files were in the backup already")
        names = {entry["name"] for entry in self._entries}
        listing = f"{self._snapshot}/files.jsonl"
        self._write_bytes(listing, b"".join(json.dumps(entry).encode() + b"\n" for entry in self._entries))
        self._target.finish(json.dumps(manifest, indent=1).encode() + b"\n", names | {listing})
        return manifest

    def _write_tables(self, database: Database) -> dict[str, int]:
        counts: dict[str, int] = {}
        with Snapshot(database) as snapshot:
            for table in snapshot.tables:
                with tempfile.TemporaryFile() as rows:
                    counts[table.name] = sum(rows.write(line) > 0 for line in snapshot.read_json_lines(table))
                    size = rows.tell()
                    rows.seek(0)
                    self._write_stream(f"{self._snapshot}/tables/{table.name}.jsonl", rows, size)
        self._say(f"{sum(counts.values())} rows of {len(counts)} tables")
        return counts

    def _write_instances(self, archive: Archive) -> int:
        ids = archive.list_instance_ids()
        count = 0
        for stored in archive.list_stored_files(ids):
            name = f"instances/{stored.uuid[:2]}/{stored.uuid[2:4]}/{stored.uuid}"
            digest = self._target.find_earlier_digest(name, stored.size)
            if digest:
                self._unchanged += 1
                self._entries.append({"name": name, "size": stored.size, "sha256": digest, "id": stored.instance_id})
                count += 1
                continue
            content = self._read_instance(archive, stored)
            if content is not None:
                self._write_bytes(name, content, stored.instance_id)
                count += 1
        self._say(f"{count} instances" + (f", {len(ids) - count} deleted meanwhile" if count < len(ids) else ""))
        return count

    def _read_instance(self, archive: Archive, stored: StoredFile) -> bytes | None:
        """The DICOM file, from the storage folder of this machine (much quicker) or from Orthanc; None: deleted."""
        if is_orthanc_local(self._settings):
            storage = self._settings.home / "orthanc" / "storage"
            try:
                content = (storage / stored.uuid[:2] / stored.uuid[2:4] / stored.uuid).read_bytes()
                if len(content) == stored.size:
                    return content
            except FileNotFoundError:
                pass
        try:
            return archive.read_file(stored.instance_id)
        except NotInArchive:
            return None

    def _write_file(self, name: str, file: Path) -> None:
        try:
            size = file.stat().st_size
            digest = (
                self._target.find_earlier_digest(name, size)
                if name.startswith("output/") and name.endswith(".png")
                else ""
            )
            if digest:
                self._unchanged += 1
                self._entries.append({"name": name, "size": size, "sha256": digest})
            else:
                self._write_bytes(name, file.read_bytes())
        except FileNotFoundError:
            return

    def _write_bytes(self, name: str, content: bytes, instance_id: str = "") -> None:
        self._write_stream(name, io.BytesIO(content), len(content), instance_id)

    def _write_stream(self, name: str, stream: IO[bytes], size: int, instance_id: str = "") -> None:
        digest = self._target.add(name, stream, size)
        entry: FileEntry = {"name": name, "size": size, "sha256": digest}
        if instance_id:
            entry["id"] = instance_id
        self._entries.append(entry)


def read_schema_version(database: Database) -> str:
    """The migration step of the database, which is not upgraded: a backup can be made before an update."""
    with database.engine.connect() as connection:
        schema = migrations.current(connection)
    if not schema:
        raise BadRequest("The database was never upgraded.", "Start minipacs once, then make the backup.")
    return schema


def _walk_files(folder: Path, settings: Settings) -> Iterator[Path]:
    """Files below HOME that a start does not create again, or below OUTPUT; half-written ones are left out."""
    database = Path(settings.database_url.removeprefix("sqlite:///")).name
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if Path(place) == settings.home == folder:
            folders[:] = [
                name for name in folders if name not in NOT_BACKED_UP and Path(place, name) != settings.output
            ]
            names = [name for name in names if name not in NOT_BACKED_UP and not name.startswith(database)]
        yield from (
            Path(place, name)
            for name in sorted(names)
            if not name.startswith(".") and not Path(place, name).is_symlink()
        )


def _settings_as_env_file(settings: Settings) -> bytes:
    """As a `.env` file, without passwords: those are in the administrator's own."""
    values = settings.as_environment(with_secrets=False)
    return "".join(f"{name}={value}\n" for name, value in values.items()).encode()
