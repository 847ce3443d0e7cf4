"""A backup made while studies flow in, restored elsewhere, is the same archive, catalogue and results."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from dicom_objects import ROOT, as_file, image
from minipacs.backup.backup import back_up
from minipacs.backup.open_backup import open_source, open_target
from minipacs.backup.restore import restore
from minipacs.backup.store import read_lines
from minipacs.backup.tables import Snapshot
from minipacs.catalogue import Instance, read_catalogue_counts
from minipacs.database import Database
from minipacs.errors import BadRequest
from minipacs.jobs.record import Job
from minipacs.local.phantom import write_chest_ct
from minipacs.settings import Settings
from postgres import new_url
from stack import RunningStack, running, settings_for
from waiting import PATIENCE_S, until

pytestmark = [pytest.mark.integration, pytest.mark.skipif(shutil.which("Orthanc") is None, reason="needs Orthanc")]
STUDIES, IMAGES = 16, 4
BEFORE_THE_BACKUP, AFTER_THE_BACKUP = 3, 3
"""Studies that are sent before the first backup begins, and those sent when it has ended, however fast it all is."""
PROJECTION = ("patient", "study", "series", "instance", "rendering", "segment", "total", "api_user", "api_token")


def small_study(number: int) -> Iterator[bytes]:
    pixels = np.arange(35, dtype=np.uint16).reshape(5, 7)
    uid = f"{ROOT}.77.{number}"
    for i in range(1, IMAGES + 1):
        yield as_file(
            image(
                pixels + i,
                i,
                **{"PatientID": f"FLOW-{number}", "StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1"},
                SOPInstanceUID=f"{uid}.1.{i}",
            )
        )


def send_all(stack: RunningStack, started: threading.Event, backed_up: threading.Event) -> None:
    for number in range(STUDIES):
        if number == BEFORE_THE_BACKUP:
            started.set()
        if number == STUDIES - AFTER_THE_BACKUP:
            backed_up.wait(PATIENCE_S)
        for file in small_study(number):
            stack.archive.store_file(file)


def idle(database: Database, studies: int) -> bool:
    with database.reading() as session:
        open_jobs = session.scalar(select(func.count()).where(Job.state.in_(("queued", "running"))))
        return open_jobs == 0 and read_catalogue_counts(session).studies == studies


def rows(database: Database, settings: Settings) -> dict[str, list[bytes]]:
    """Every row of the catalogue and of the users, in a stable order; paths begin at OUTPUT."""
    output = str(settings.output).encode()
    with Snapshot(database) as snapshot:
        tables = [table for table in snapshot.tables if table.name in PROJECTION]
        return {t.name: sorted(row.replace(output, b"OUTPUT") for row in snapshot.read_json_lines(t)) for t in tables}


def outputs(settings: Settings) -> dict[str, bytes]:
    folder = settings.output
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def jobs_done(database: Database) -> list[tuple[Any, ...]]:
    with database.reading() as session:
        return sorted(tuple(row) for row in session.execute(select(Job.key, Job.state, Job.attempt)))


def test_a_backup_made_while_studies_flow_in_restores_everything(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    write_chest_ct(tmp_path / "ct", slices=12)
    folder, file, early = tmp_path / "backup", tmp_path / "backup.tar", tmp_path / "early"
    with running(tmp_path / "one") as stack:
        (study,) = stack.send(tmp_path / "ct")
        stack.wait_jobs(study, "catalogue", "segment")
        started, backed_up = threading.Event(), threading.Event()
        flow = threading.Thread(target=send_all, args=(stack, started, backed_up))
        flow.start()
        assert started.wait(PATIENCE_S)
        first = back_up(stack.settings, folder, print)
        shutil.copytree(folder, early)
        backed_up.set()
        flow.join()
        until(lambda: idle(stack.database, STUDIES + 1), what="everything catalogued")
        second = back_up(stack.settings, folder, print)
        assert 12 + BEFORE_THE_BACKUP * IMAGES <= first["instances"] < second["instances"]
        kept = [
            e["name"]
            for e in read_lines(open_source(early, stack.settings)[0], f"{first['snapshot']}/files.jsonl")
            if "id" in e
        ]
        assert all((folder / n).stat().st_mtime_ns == (early / n).stat().st_mtime_ns for n in kept), "copied once"
        assert back_up(stack.settings, file, print)["instances"] == second["instances"]
        with pytest.raises(BadRequest, match="exists"):
            back_up(stack.settings, file, print)
        originals = {i: stack.archive.read_file(i) for i in stack.archive.list_instance_ids()}
        catalogue, files, done = (
            rows(stack.database, stack.settings),
            outputs(stack.settings),
            jobs_done(stack.database),
        )
        compare_early(early, first, originals)

    for number, path in enumerate((folder, file)):
        url = "" if number == 0 else new_url("postgresql", tmp_path)  # a laptop's backup moves to a cluster's database
        settings = settings_for(tmp_path / f"restored{number}", database_url=url)
        settings.home.mkdir()
        restore(settings, path)
        restored = Database(settings.database_url)
        assert rows(restored, settings) == catalogue
        assert outputs(settings) == files
        assert jobs_done(restored) == done
        restored.close()
        with pytest.raises(BadRequest, match="holds data already"):
            restore(settings, path)

    again = {"MINIPACS_DATABASE_URL": url, **settings.as_environment()}
    with running(settings.home, database_url=again["MINIPACS_DATABASE_URL"]) as stack:
        last = stack.archive.read_last_change_number()
        until(lambda: cursor(stack.database) >= last, what="the change log read again")
        until(lambda: idle(stack.database, STUDIES + 1))
        assert {i: stack.archive.read_file(i) for i in stack.archive.list_instance_ids()} == originals
        assert jobs_done(stack.database) == done, "nothing is done again"
        assert len(stack.segs(study)) == 1

    with running(tmp_path / "restored-early", database_url=restored_early(tmp_path, early)) as stack:
        whole = stack.archive.count_instances()
        assert whole >= first["instances"]
        until(lambda: counted(stack.database) == stack.archive.count_instances(), what="the rest catalogued")


def compare_early(early: Path, manifest: dict[str, Any], originals: dict[str, bytes]) -> None:
    """Every instance of the backup that was made in the middle is the archive's, byte by byte, and none is cut."""
    found, _ = open_source(early, settings_for(early.parent / "unused"))
    listed = [entry for entry in read_lines(found, f"{manifest['snapshot']}/files.jsonl") if "id" in entry]
    assert len(listed) == manifest["instances"]
    for entry in listed:
        with found.open(entry["name"]) as stream:
            assert stream.read() == originals[entry["id"]]
    with found.open(f"{manifest['snapshot']}/tables/instance.jsonl") as stream:
        catalogued = {json.loads(line)["source"] for line in stream}
    assert catalogued <= {f"archive:{entry['id']}" for entry in listed}, "the archive holds what the catalogue tells of"


def restored_early(tmp_path: Path, early: Path) -> str:
    settings = settings_for(tmp_path / "restored-early")
    restore(settings, early)
    return settings.database_url


def cursor(database: Database) -> int:
    from minipacs.jobs.planner import PlannerCursorRow

    with database.reading() as session:
        return session.scalar(select(PlannerCursorRow.position)) or 0


def counted(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(Instance)) or 0


def test_a_damaged_backup_is_refused_and_named(tmp_path: Path) -> None:
    made = tmp_path / "backup"
    (made / "home").mkdir(parents=True)
    (made / "home" / "secrets.json").write_text("{}")
    entry = {"name": "home/secrets.json", "size": 2, "sha256": "0" * 64}
    (made / "s").mkdir()
    (made / "s" / "files.jsonl").write_text(json.dumps(entry) + "\n")
    manifest = {"format": 1, "minipacs": "0", "schema": "0001", "snapshot": "s", "rows": {}, "files": 1, "instances": 0}
    (made / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadRequest, match=r"secrets\.json of the backup is damaged"):
        restore(settings_for(tmp_path / "home"), made)
    (made / "manifest.json").unlink()
    with pytest.raises(BadRequest, match=r"no manifest\.json"):
        restore(settings_for(tmp_path / "home"), made)
    with pytest.raises(BadRequest, match="holds something that is no backup"):
        open_target(made, settings_for(tmp_path / "home"), "s")


def test_a_backup_cannot_write_outside_its_place(tmp_path: Path) -> None:
    made = tmp_path / "backup"
    (made / "home").mkdir(parents=True)
    (tmp_path / "x").write_bytes(b"")
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (made / "files.jsonl").write_text(json.dumps({"name": "home/../../x", "size": 0, "sha256": digest}) + "\n")
    manifest = {"format": 1, "minipacs": "0", "schema": "0001", "snapshot": ".", "rows": {}, "files": 1, "instances": 0}
    (made / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadRequest, match="outside its place"):
        restore(settings_for(tmp_path / "home"), made)
