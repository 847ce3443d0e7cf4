"""The whole product on a home folder that version 0.1.0 made, and a restore of that version's backup."""

import shutil
import sqlite3
import urllib.request
from pathlib import Path

import pytest

from minipacs.backup.restore import restore
from minipacs.jobs.record import Job
from old_home import STUDY, unpack
from stack import RunningStack, running, settings_for
from waiting import PATIENCE_S, until

pytestmark = [pytest.mark.integration, pytest.mark.skipif(shutil.which("Orthanc") is None, reason="needs Orthanc")]
CT, MR, NEW = f"{STUDY}.1", f"{STUDY}.2", f"{STUDY}.3"
SEG = "2.25.187544857230715459081204464011431863115"
SETTINGS = {"admin_password": "", "notify_on": "done,failed", "webhook_url": "http://127.0.0.1:9/hook"}


def ended(stack: RunningStack, study: str) -> dict[int, Job] | None:
    jobs = stack.jobs(study)
    return {job.id: job for job in jobs} if all(j.state not in ("queued", "running") for j in jobs) else None


def has_read_the_change_log(stack: RunningStack) -> bool:
    database = sqlite3.connect(stack.settings.home / "catalogue.sqlite")
    (last,) = database.execute("SELECT last FROM letter_box").fetchone()
    database.close()
    return bool(last == stack.archive.read_last_change_number())


def test_the_product_goes_on_where_the_old_version_stopped(tmp_path: Path) -> None:
    old = unpack(tmp_path)
    manifest = old.home / "output" / "results" / CT / f"{CT}.1" / "slicer" / "manifest.json"
    made = manifest.stat()
    with running(old.home, **SETTINGS) as stack:
        stack.use_token("tests", old.token)
        waiting = until(lambda: ended(stack, NEW), what="the work that had waited")
        assert {number: (job.kind, job.state, job.attempt) for number, job in waiting.items()} == {
            7: ("catalogue", "done", 1),
            8: ("segment", "done", 1),
            9: ("segment", "cancelled", 0),
        }
        assert waiting[8].summary.endswith("it has 3 images; a volume needs 10.")

        until(lambda: has_read_the_change_log(stack), what="the change log read to its end")
        assert [(j.id, j.state, j.attempt) for j in stack.jobs(CT)] == [(n, "done", 1) for n in (1, 2, 5, 6)]
        assert [(j.id, j.state) for j in stack.jobs(MR)] == [(3, "done"), (4, "failed")]
        assert stack.get_json("/images/count") == {"images_count": 22}
        assert stack.archive.count_instances() == 22

        again = stack.post_json(f"/studies/{CT}/segment", engine="slicer")
        assert again["id"] == 6
        until(lambda: ended(stack, CT), what="the segmentation that was there already")
        assert stack.segs(CT) == [SEG]
        assert stack.archive.count_instances() == 22
        assert (manifest.stat().st_mtime_ns, manifest.stat().st_ino) == (made.st_mtime_ns, made.st_ino)


def test_a_backup_of_the_old_version_is_restored(tmp_path: Path) -> None:
    old = unpack(tmp_path)
    settings = settings_for(tmp_path / "restored", **SETTINGS)
    assert restore(settings, old.backup)["instances"] == 22
    with running(settings.home, **SETTINGS) as stack:
        stack.use_token("tests", old.token)
        until(lambda: ended(stack, NEW), what="the work that had waited")
        assert stack.get_json("/images/count") == {"images_count": 22}
        assert stack.archive.count_instances() == 22
        done, again = stack.jobs(CT)[:4], stack.jobs(CT)[4:]
        assert [(j.id, j.state, j.attempt) for j in done] == [(n, "done", 1) for n in (1, 2, 5, 6)]
        assert {j.kind for j in again} <= {"catalogue"}, "a study may be read once more; nothing is segmented again"
        assert stack.segs(CT) == [SEG]
        for image in range(1, 15):
            with urllib.request.urlopen(stack.request(f"/images/{CT}.1.{image}/png"), timeout=PATIENCE_S) as answer:
                assert answer.read(4) == b"\x89PNG", "rows name PNGs where they lie now"
