"""The demo: send a study, show its jobs in the terminal, end with the OHIF link of its segmentation."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minipacs.archive.c_store import Sent, send_folder
from minipacs.database import Database
from minipacs.errors import MinipacsError, NotAVolume, SettingsError
from minipacs.jobs.contract import series_made
from minipacs.jobs.queue import JobQueue
from minipacs.jobs.record import Job
from minipacs.settings import Settings

Say = Callable[[str], None]
LONGEST_S = 3600.0
ANSWER_S = 300.0
"""Longest wait for the front door's answer to a query."""
TOKEN_NAME = "demo"


def follow_demo(folder: Path | None, settings: Settings, stop: threading.Event, say: Say) -> None:
    """Send the study (a synthetic one without `folder`) and wait; raises when no segmentation comes of it."""
    if folder is None:
        from minipacs.local.phantom import write_chest_ct

        with tempfile.TemporaryDirectory() as made:
            say("making a synthetic chest CT")
            write_chest_ct(Path(made))
            sent = _send(Path(made), settings, say)
    else:
        sent = _send(folder, settings, say)
    for study in sorted(sent.studies):
        _await_segmentation(study, settings, stop, say)


def _send(folder: Path, settings: Settings, say: Say) -> Sent:
    started = time.monotonic()
    sent = send_folder(folder, settings, on_progress=lambda done, total: _bar("sending", done, total, say), say=say)
    say(f"sent {sent.stored} instances of {len(sent.studies)} studies in {time.monotonic() - started:.1f} s")
    for path, reason in sent.left_out:
        say(f"left out {path.name}: {reason}")
    if not sent.studies:
        raise MinipacsError("Nothing could be sent.", "The reasons stand above.")
    return sent


def _await_segmentation(study: str, settings: Settings, stop: threading.Event, say: Say) -> None:
    """Show the study's jobs until its segmentation has ended; then check that OHIF will list it."""
    database = Database(settings.database_url)
    jobs = JobQueue(database)
    say(f"waiting {settings.stable_age_s} s of quiet, then the study is taken as complete")
    deadline, shown = time.monotonic() + LONGEST_S, ""
    try:
        while time.monotonic() < deadline and not stop.wait(0.5):
            rows = jobs.of_study(study)
            shown = _show(rows, shown, say)
            if rows and all(job.state in ("done", "failed", "cancelled") for job in rows):
                _judge(study, rows, settings, stop, say)
                return
    finally:
        database.close()
    raise MinipacsError(
        f"Study {study} was not finished.", "Stopped, or out of time; minipacs jobs tells how far it is."
    )


def _judge(study: str, rows: Sequence[Job], settings: Settings, stop: threading.Event, say: Say) -> None:
    """Ended jobs: an error, no volume, or a segmentation that OHIF's own query lists."""
    for job in rows:
        if job.state != "done":
            raise MinipacsError(f"Job {job.id} ({job.kind}) {job.state}: {job.error}", job.hint)
    segmented = {uid for job in rows for uid in series_made(job.result or {})}
    if not segmented:
        reasons = "; ".join(job.summary for job in rows if job.kind == "segment" and job.summary)
        raise NotAVolume(
            "No segmentation was made.", reasons or "No engine is set for this study: see MINIPACS_ENGINE."
        )
    listed = _listed_by_qido(study, settings)
    if not segmented <= listed:
        raise MinipacsError(
            "The segmentation is stored, but OHIF's query does not list it.", f"See {settings.home / 'log'}."
        )
    say(f"segmented: {settings.address}/ohif/viewer?StudyInstanceUIDs={study}")


def _listed_by_qido(study: str, settings: Settings) -> set[str]:
    """SeriesInstanceUID of every SEG that the front door's QIDO-RS answers, asked as OHIF asks."""
    token = _token(settings, "create")
    address = f"http://127.0.0.1:{settings.http_port}/dicom-web/studies/{study}/series?includefield=00080060"
    request = urllib.request.Request(
        address, headers={"Authorization": f"Bearer {token}", "Accept": "application/dicom+json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            series: list[dict[str, Any]] = json.load(answer)
    except urllib.error.HTTPError as error:
        raise MinipacsError(
            f"The front door answered {error.code} to OHIF's query.", f"See {settings.home / 'log'}."
        ) from error
    except OSError as error:
        raise MinipacsError("The front door did not answer OHIF's query.", f"See {settings.home / 'log'}.") from error
    finally:
        _token(settings, "revoke")
    return {s["0020000E"]["Value"][0] for s in series if s["00080060"].get("Value") == ["SEG"]}


def _token(settings: Settings, verb: str) -> str:
    """A short-lived API token by the product's own command, as a script would get one."""
    command = [sys.executable, "-m", "minipacs.cli", "token", verb, TOKEN_NAME]
    environment = {**os.environ, **settings.as_environment()}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise SettingsError(f"No API token could be made ({done.stderr.strip()}).")
    return done.stdout.strip()


def _show(rows: Sequence[Job], shown: str, say: Say) -> str:
    """One line for all jobs, printed when it changes."""
    line = "; ".join(_line(job) for job in rows)
    if line and line != shown:
        say(line)
    return line or shown


def _line(job: Job) -> str:
    if job.state == "running":
        share = f" {100 * job.done // job.total} %" if job.total else ""
        return f"{job.kind}: {job.stage or 'running'}{share}"
    return f"{job.kind}: {job.state}" + (f", {job.summary}" if job.state != "queued" and job.summary else "")


def _bar(verb: str, done: int, total: int, say: Say) -> None:
    """A line at each quarter."""
    if total and (done * 4 // total) > ((done - 1) * 4 // total):
        say(f"{verb} {done}/{total}")
