"""`minipacs backup PATH`: archive, catalogue, results and secrets, while everything runs.

First all tables at one moment, then the files, then the instances the archive lists at one moment: so the
backup's archive holds whatever its catalogue tells of, and what came between is catalogued after a restore
like any other new study. Instances never change once stored (a new one has a new identifier), so they are
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
from typing import IO, Any

from minipacs import __version__, migrations
from minipacs.archive.client import Archive, StoredFile
from minipacs.backup.store import Target, target
from minipacs.backup.tables import Snapshot
from minipacs.database import Database
from minipacs.doctor.machine_checks import runs_here
from minipacs.errors import BadRequest, NotInArchive
from minipacs.settings import Settings

HELP = "back up archive, catalogue, results and secrets, while everything runs"
FORMAT = 1
NOT_KEPT = {"orthanc", "log", "service.ready", "output", ".restoring"}
"""Of HOME: the archive is read through Orthanc, logs are no data."""


def configure(parser: argparse.ArgumentParser) -> None:
    """PATH."""
    parser.add_argument(
        "path", type=Path, help="a new file NAME.tar, or a folder (taken up again, only what is new is copied)"
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write the backup; say what it holds."""
    manifest = back_up(settings, arguments.path, lambda sentence: print(sentence, flush=True))
    rows = sum(manifest["rows"].values())
    print(f"{arguments.path}: {manifest['instances']} instances, {manifest['files']} files, {rows} rows")
    return 0


def back_up(settings: Settings, path: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Make the backup at `path`; its manifest."""
    archive, database = Archive(settings), Database(settings.database_url)
    try:
        archive.version()
        return Writer(settings, target(path), say).write(archive, database)
    finally:
        archive.close()
        database.close()


class Writer:
    """One backup on its way."""

    def __init__(self, settings: Settings, into: Target, say: Callable[[str], None]) -> None:
        self._settings, self._into, self._say = settings, into, say
        self._listed: list[dict[str, Any]] = []
        self._snapshot = f"snapshot-{time.time_ns()}"
        self._kept = 0

    def write(self, archive: Archive, database: Database) -> dict[str, Any]:
        """Tables, files, instances, and last the manifest."""
        manifest: dict[str, Any] = {
            **{"format": FORMAT, "minipacs": __version__, "schema": schema_of(database), "made": time.time()},
            **{"snapshot": self._snapshot, "rows": self._tables(database)},
        }
        self._bytes(f"{self._snapshot}/settings.env", _settings_lines(self._settings))
        for base, folder in (("home", self._settings.home), ("output", self._settings.output)):
            for file in _files(folder, self._settings):
                self._path(f"{base}/{file.relative_to(folder).as_posix()}", file)
        manifest["files"] = len(self._listed)
        manifest["instances"] = self._instances(archive)
        self._say(f"{self._kept} files were in the backup already")
        names = {entry["name"] for entry in self._listed}
        listing = f"{self._snapshot}/files.jsonl"
        self._bytes(listing, b"".join(json.dumps(entry).encode() + b"\n" for entry in self._listed))
        self._into.finish(manifest, names | {listing})
        return manifest

    def _tables(self, database: Database) -> dict[str, int]:
        counts: dict[str, int] = {}
        with Snapshot(database) as snapshot:
            for table in snapshot.tables:
                with tempfile.TemporaryFile() as rows:
                    counts[table.name] = sum(rows.write(line) > 0 for line in snapshot.rows(table))
                    size = rows.tell()
                    rows.seek(0)
                    self._stream(f"{self._snapshot}/tables/{table.name}.jsonl", rows, size)
        self._say(f"{sum(counts.values())} rows of {len(counts)} tables")
        return counts

    def _instances(self, archive: Archive) -> int:
        ids = archive.instances()
        count = 0
        for stored in archive.stored_files(ids):
            name = f"instances/{stored.uuid[:2]}/{stored.uuid[2:4]}/{stored.uuid}"
            digest = self._into.keeps(name, stored.size)
            if digest:
                self._kept += 1
                self._listed.append({"name": name, "size": stored.size, "sha256": digest, "id": stored.instance_id})
                count += 1
                continue
            content = self._content(archive, stored)
            if content is not None:
                self._bytes(name, content, id=stored.instance_id)
                count += 1
        self._say(f"{count} instances" + (f", {len(ids) - count} deleted meanwhile" if count < len(ids) else ""))
        return count

    def _content(self, archive: Archive, stored: StoredFile) -> bytes | None:
        """From the storage folder where it is at hand (much quicker), otherwise from Orthanc; `None`: deleted."""
        if runs_here(self._settings):
            storage = self._settings.home / "orthanc" / "storage"
            try:
                content = (storage / stored.uuid[:2] / stored.uuid[2:4] / stored.uuid).read_bytes()
                if len(content) == stored.size:
                    return content
            except FileNotFoundError:
                pass
        try:
            return archive.file(stored.instance_id)
        except NotInArchive:
            return None

    def _path(self, name: str, file: Path) -> None:
        try:
            size = file.stat().st_size
            digest = self._into.keeps(name, size) if name.startswith("output/") and name.endswith(".png") else ""
            if digest:
                self._kept += 1
                self._listed.append({"name": name, "size": size, "sha256": digest})
            else:
                self._bytes(name, file.read_bytes())
        except FileNotFoundError:
            return

    def _bytes(self, name: str, content: bytes, **more: str) -> None:
        self._stream(name, io.BytesIO(content), len(content), **more)

    def _stream(self, name: str, stream: IO[bytes], size: int, **more: str) -> None:
        digest = self._into.add(name, stream, size)
        self._listed.append({"name": name, "size": size, "sha256": digest, **more})


def schema_of(database: Database) -> str:
    """The step the database stands at. A backup changes nothing, so that one can be made before an update."""
    with database.engine.connect() as connection:
        now = migrations.current(connection)
    if not now:
        raise BadRequest("The database was never upgraded.", "Start minipacs once, then make the backup.")
    return now


def _files(folder: Path, settings: Settings) -> Iterator[Path]:
    """Files below HOME that are not made anew by themselves, or below OUTPUT; half-written ones are left out."""
    database = Path(settings.database_url.removeprefix("sqlite:///")).name
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if Path(place) == settings.home == folder:
            folders[:] = [name for name in folders if name not in NOT_KEPT and Path(place, name) != settings.output]
            names = [name for name in names if name not in NOT_KEPT and not name.startswith(database)]
        yield from (
            Path(place, name)
            for name in sorted(names)
            if not name.startswith(".") and not Path(place, name).is_symlink()
        )


def _settings_lines(settings: Settings) -> bytes:
    """As a `.env` file, without passwords: those are in the administrator's own."""
    values = settings.as_environment(with_secrets=False)
    return "".join(f"{name}={value}\n" for name, value in values.items()).encode()
