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
from minipacs.audit.chain import head_file
from minipacs.audit.command_act import CommandAct
from minipacs.backup.backup import FORMAT
from minipacs.backup.open_backup import open_source
from minipacs.backup.store import BackupManifest, BackupSource, FileEntry, read_lines
from minipacs.backup.tables import insert_rows, reflect_tables
from minipacs.child_process import ChildProcess
from minipacs.database import Database
from minipacs.errors import ArchiveUnreachable, BadRequest, MinipacsError
from minipacs.files import make_private_folder, write_private
from minipacs.home_folder import prepare_home
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


def describe_act(arguments: argparse.Namespace) -> CommandAct:
    """For the audit."""
    return CommandAct("upload", f"restore {arguments.path}")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Restore, and print what was restored."""
    manifest = restore(settings, arguments.path)
    print(
        f"restored {manifest['instances']} instances, {manifest['files']} files, {sum(manifest['rows'].values())} rows"
    )
    print(f"the backup's settings stand in {settings.home / RESTORED_SETTINGS}")
    return 0


def restore(settings: Settings, path: Path) -> BackupManifest:
    """Restore everything and compare the counts; the manifest."""
    source, manifest = open_source(path, settings)
    with closing(source):
        _restore_everything(settings, path, source, manifest)
    return manifest


def _restore_everything(settings: Settings, path: Path, source: BackupSource, manifest: BackupManifest) -> None:
    if manifest["format"] != FORMAT or manifest["schema"] > migrations.head():
        raise BadRequest(f"{path} was made by a newer minipacs ({manifest['minipacs']}).", "Update minipacs first.")
    prepare_home(settings)
    database = Database(settings.database_url)
    try:
        _check_empty(database)
        entries = [cast(FileEntry, line) for line in read_lines(source, f"{manifest['snapshot']}/files.jsonl")]
        _restore_files(settings, source, manifest, entries)
        with _open_or_start_archive(settings) as archive:
            _restore_instances(archive, source, entries, settings.home / INTERRUPTED_MARK, manifest["snapshot"])
        _restore_rows(database, source, manifest, settings)
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


def _restore_files(
    settings: Settings, source: BackupSource, manifest: BackupManifest, entries: list[FileEntry]
) -> None:
    """Write the files of HOME and OUTPUT; the backup's settings go into HOME, to be read by a person."""
    places = {"home": settings.home, "output": settings.output}
    for entry in entries:
        base, _, rest = entry["name"].partition("/")
        if base in places:
            _write_below(places[base], rest, _read_and_verify(source, entry))
        elif rest == "settings.env" and base == manifest["snapshot"]:
            _write_below(settings.home, RESTORED_SETTINGS, _read_and_verify(source, entry))


def _write_below(folder: Path, name: str, content: bytes) -> None:
    """Write a file of the backup; raises `BadRequest` when its name leads out of the folder."""
    if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
        raise BadRequest(f"The backup names a file outside its place ({name}).", "Somebody changed it: name another.")
    path = folder / name
    make_private_folder(path.parent)
    write_private(path, content)


def _read_and_verify(source: BackupSource, entry: FileEntry) -> bytes:
    with source.open(entry["name"]) as stream:
        content = stream.read()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise BadRequest(f"{entry['name']} of the backup is damaged.", "Name another backup.")
    return content


def _restore_instances(
    archive: Archive, source: BackupSource, entries: list[FileEntry], interrupted_mark: Path, snapshot: str
) -> None:
    """Store each instance. An archive that is not empty is refused, unless this restore was interrupted there."""
    wanted = [entry for entry in entries if "id" in entry]
    if archive.count_instances() and not (interrupted_mark.exists() and interrupted_mark.read_text() == snapshot):
        raise BadRequest(f"The archive at {archive.url} is not empty.", "Set MINIPACS_HOME to an empty folder.")
    interrupted_mark.write_text(snapshot)
    with ThreadPoolExecutor(INSTANCES_AT_ONCE) as pool:
        for start in range(0, len(wanted), INSTANCES_AT_ONCE):  # a few in memory at once
            some = wanted[start : start + INSTANCES_AT_ONCE]
            stored = pool.map(archive.store_file, [_read_and_verify(source, entry) for entry in some])
            for entry, instance_id in zip(some, stored, strict=True):
                if instance_id != entry["id"]:
                    raise BadRequest(f"The archive stored {entry['name']} under another name.", "Name another backup.")
    if archive.count_instances() != len(wanted):
        raise MinipacsError(
            f"The archive holds {archive.count_instances()} instances, the backup {len(wanted)}.", "Restore again."
        )


def _restore_rows(database: Database, source: BackupSource, manifest: BackupManifest, settings: Settings) -> None:
    """Create the tables of the backup's schema, insert their rows, upgrade to today's schema; queue unfinished jobs."""
    database.upgrade_schema(manifest["schema"])
    head_file(settings.home).unlink(missing_ok=True)  # of a chain that the rows of the backup replace
    with database.writing() as session:
        connection = session.connection()
        tables = reflect_tables(connection)
        for table in reversed(tables):
            connection.execute(table.delete())  # rows that a migration may have inserted
        for table in tables:
            if table.name in manifest["rows"] and table.name not in CURSORS:
                count = insert_rows(
                    connection, table, read_lines(source, f"{manifest['snapshot']}/tables/{table.name}.jsonl")
                )
                if count != manifest["rows"][table.name]:
                    raise BadRequest(f"The backup's table {table.name} is not whole.", "Name another backup.")
        by_name = {table.name: table for table in tables}
        _update_rendering_paths(connection, by_name["rendering"], settings)
        job = by_name["job"]
        running = update(job).where(job.c.state == "running")
        connection.execute(running.values(state="queued", attempt=job.c.attempt - 1, worker=None, lease_until=None))
    database.upgrade_schema()


def _update_rendering_paths(connection: Connection, rendering: Table, settings: Settings) -> None:
    """Change the absolute paths of PNGs in the catalogue from the backup's OUTPUT to ours."""
    before = read_env_file(settings.home / RESTORED_SETTINGS)["MINIPACS_OUTPUT"]
    moved = literal(str(settings.output)) + func.substr(rendering.c.png_path, len(before) + 1)
    below = rendering.c.png_path.startswith(before + "/", autoescape=True)
    connection.execute(update(rendering).where(below).values(png_path=moved))


@contextmanager
def _open_or_start_archive(settings: Settings) -> Iterator[Archive]:
    """The archive when it answers; otherwise our own, started for the restore and stopped afterwards."""
    archive = Archive(settings)
    orthanc = None
    try:
        if not _is_answering(archive):
            if not is_orthanc_local(settings):
                archive.read_version()
            environment = {**settings.as_environment(with_secrets=False), **local_orthanc.ENVIRONMENT}
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


def _is_answering(archive: Archive) -> bool:
    try:
        return bool(archive.read_version())
    except ArchiveUnreachable:
        return False


def _wait_for_answer(archive: Archive, orthanc: ChildProcess) -> None:
    deadline = time.monotonic() + READY_S
    while not _is_answering(archive):
        if not orthanc.is_running() or time.monotonic() > deadline:
            raise ArchiveUnreachable("Orthanc did not start.", "See HOME/log/orthanc.log.")
        time.sleep(0.05)
