"""`minipacs restore PATH`: a backup into an empty home and an empty archive.

Every file is checked against its SHA-256 before it is used. The rows come last, in one transaction, so a
restore that was interrupted is simply run again. The archive's change log begins anew; the next start reads
it from the beginning, finds every piece of work done, and does what is not.
"""

import argparse
import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import cast

from sqlalchemy import Connection, Table, func, literal, select, update

from minipacs import migrations
from minipacs.archive import local_orthanc
from minipacs.archive.client import Archive
from minipacs.archive.local_orthanc import is_orthanc_local
from minipacs.backup.backup import FORMAT
from minipacs.backup.store import BackupManifest, FileEntry, Source, open_source, read_lines
from minipacs.backup.tables import insert_rows, reflect_tables
from minipacs.child_process import ChildProcess
from minipacs.database import Database
from minipacs.errors import ArchiveUnreachable, BadRequest, MinipacsError
from minipacs.files import write_private
from minipacs.settings import Settings, read_env_file

HELP = "restore a backup into an empty home and an empty archive"
CURSORS = ("letter_box", "cursor")
READY_S = 300.0
"""Longest wait for an Orthanc that was started for the restore."""
STOP_TIMEOUT_S = 60.0
"""Longest wait for this Orthanc to stop by itself."""
INSTANCES_AT_ONCE = 4
INTERRUPTED_MARK = ".restoring"
RESTORED_SETTINGS = "restored-settings.env"
"""The backup's settings, put into HOME to be read."""


def configure(parser: argparse.ArgumentParser) -> None:
    """PATH."""
    parser.add_argument("path", type=Path, help="the file or folder `minipacs backup` made")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Restore, and print what was restored."""
    manifest = restore(settings, arguments.path)
    print(
        f"restored {manifest['instances']} instances, {manifest['files']} files, {sum(manifest['rows'].values())} rows"
    )
    print(f"the backup's settings stand in {settings.home / RESTORED_SETTINGS}")
    return 0


def restore(settings: Settings, path: Path) -> BackupManifest:
    """Put everything back and compare the counts; the manifest."""
    found, manifest = open_source(path)
    with closing(found):
        _restore(settings, path, found, manifest)
    return manifest


def _restore(settings: Settings, path: Path, found: Source, manifest: BackupManifest) -> None:
    if manifest["format"] != FORMAT or manifest["schema"] > migrations.head():
        raise BadRequest(f"{path} was made by a newer minipacs ({manifest['minipacs']}).", "Update minipacs first.")
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(settings.database_url)
    try:
        _check_empty(database)
        entries = [cast(FileEntry, line) for line in read_lines(found, f"{manifest['snapshot']}/files.jsonl")]
        _restore_files(settings, found, manifest, entries)
        with _open_archive(settings) as archive:
            _restore_instances(archive, found, entries, settings.home / INTERRUPTED_MARK, manifest["snapshot"])
        _restore_rows(database, found, manifest, settings)
    finally:
        database.close()
    (settings.home / INTERRUPTED_MARK).unlink()


def _check_empty(database: Database) -> None:
    with database.engine.connect() as connection:
        for table in reflect_tables(connection):
            if table.name in ("patient", "job", "api_user") and connection.scalar(
                select(func.count()).select_from(table)
            ):
                raise BadRequest(
                    "The database of these settings holds data already.", "Set MINIPACS_HOME to an empty folder."
                )


def _restore_files(settings: Settings, found: Source, manifest: BackupManifest, entries: list[FileEntry]) -> None:
    """HOME and OUTPUT; the backup's settings beside them, to be read by a person."""
    places = {"home": settings.home, "output": settings.output}
    for entry in entries:
        base, _, rest = entry["name"].partition("/")
        if base in places:
            _write(places[base], rest, _read_and_verify(found, entry))
        elif rest == "settings.env" and base == manifest["snapshot"]:
            _write(settings.home, RESTORED_SETTINGS, _read_and_verify(found, entry))


def _write(folder: Path, name: str, content: bytes) -> None:
    if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
        raise BadRequest(f"The backup names a file outside its place ({name}).", "Somebody changed it: name another.")
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, content)


def _read_and_verify(found: Source, entry: FileEntry) -> bytes:
    with found.open(entry["name"]) as stream:
        content = stream.read()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise BadRequest(f"{entry['name']} of the backup is damaged.", "Name another backup.")
    return content


def _restore_instances(archive: Archive, found: Source, entries: list[FileEntry], mark: Path, snapshot: str) -> None:
    """Store each; an archive that holds others is refused, unless this very restore was interrupted there."""
    wanted = [entry for entry in entries if "id" in entry]
    if archive.count_instances() and not (mark.exists() and mark.read_text() == snapshot):
        raise BadRequest(f"The archive at {archive.url} is not empty.", "Set MINIPACS_HOME to an empty folder.")
    mark.write_text(snapshot)
    with ThreadPoolExecutor(INSTANCES_AT_ONCE) as pool:
        for start in range(0, len(wanted), INSTANCES_AT_ONCE):  # a few in memory at once
            some = wanted[start : start + INSTANCES_AT_ONCE]
            stored = pool.map(archive.store, [_read_and_verify(found, entry) for entry in some])
            for entry, instance_id in zip(some, stored, strict=True):
                if instance_id != entry["id"]:
                    raise BadRequest(f"The archive stored {entry['name']} under another name.", "Name another backup.")
    if archive.count_instances() != len(wanted):
        raise MinipacsError(
            f"The archive holds {archive.count_instances()} instances, the backup {len(wanted)}.", "Restore again."
        )


def _restore_rows(database: Database, found: Source, manifest: BackupManifest, settings: Settings) -> None:
    """Tables of the backup's schema, their rows, then today's schema; unfinished work is queued."""
    database.create(manifest["schema"])
    with database.writing() as session:
        connection = session.connection()
        tables = reflect_tables(connection)
        for table in reversed(tables):
            connection.execute(table.delete())  # what a first step may have put there
        for table in tables:
            if table.name in manifest["rows"] and table.name not in CURSORS:
                count = insert_rows(
                    connection, table, read_lines(found, f"{manifest['snapshot']}/tables/{table.name}.jsonl")
                )
                if count != manifest["rows"][table.name]:
                    raise BadRequest(f"The backup's table {table.name} is not whole.", "Name another backup.")
        by_name = {table.name: table for table in tables}
        _move_pictures(connection, by_name["rendering"], settings)
        job = by_name["job"]
        running = update(job).where(job.c.state == "running")
        connection.execute(running.values(state="queued", attempt=job.c.attempt - 1, worker=None, lease_until=None))
    database.create()


def _move_pictures(connection: Connection, rendering: Table, settings: Settings) -> None:
    """Rows of PNGs hold absolute paths: what lay below the backup's OUTPUT lies below ours now."""
    before = read_env_file(settings.home / RESTORED_SETTINGS)["MINIPACS_OUTPUT"]
    moved = literal(str(settings.output)) + func.substr(rendering.c.png_path, len(before) + 1)
    below = rendering.c.png_path.startswith(before + "/", autoescape=True)
    connection.execute(update(rendering).where(below).values(png_path=moved))


@contextmanager
def _open_archive(settings: Settings) -> Iterator[Archive]:
    """The archive that answers, or our own, started for this and stopped after."""
    archive = Archive(settings)
    orthanc = None
    try:
        if not _answers(archive):
            if not is_orthanc_local(settings):
                archive.read_version()
            environment = {**settings.as_environment(), **local_orthanc.ENVIRONMENT}
            orthanc = ChildProcess(
                local_orthanc.prepare_start_command(settings), environment, settings.home / "log" / "orthanc.log"
            )
            orthanc.start()
            _wait_for_answer(archive, orthanc)
        yield archive
    finally:
        archive.close()
        if orthanc is not None:
            orthanc.stop(STOP_TIMEOUT_S)


def _answers(archive: Archive) -> bool:
    try:
        return bool(archive.read_version())
    except ArchiveUnreachable:
        return False


def _wait_for_answer(archive: Archive, orthanc: ChildProcess) -> None:
    deadline = time.monotonic() + READY_S
    while not _answers(archive):
        if not orthanc.is_running() or time.monotonic() > deadline:
            raise ArchiveUnreachable("Orthanc did not start.", "See HOME/log/orthanc.log.")
        time.sleep(0.05)
