"""The demo: send a study, show its jobs in the terminal, end with the OHIF link of its segmentation."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from minipacs.archive.c_store import SendReport, send_folder
from minipacs.certificates.https import open_front_door
from minipacs.database import Database
from minipacs.errors import MinipacsError, NotAVolume, SettingsError
from minipacs.jobs.contract import segmentation_uids
from minipacs.jobs.queue import JobQueue
from minipacs.jobs.record import ENDED_STATES, Job
from minipacs.settings import Settings

Say = Callable[[str], None]
STUDY_TIMEOUT_S = 3600.0
"""Longest wait for the jobs of a study to end."""
ANSWER_TIMEOUT_S = 300.0
"""Longest wait for the front door's answer to a query."""
POLL_INTERVAL_S = 0.5
TOKEN_NAME = "demo"


def send_and_follow_study(folder: Path | None, settings: Settings, stop: threading.Event, say: Say) -> None:
    """Send the study (a synthetic one without `folder`) and wait; raises when no segmentation comes of it."""
    if folder is None:
        from minipacs.local.phantom import write_chest_ct

        with tempfile.TemporaryDirectory() as temporary:
            say("generating a synthetic chest CT")
            write_chest_ct(Path(temporary))
            sent = _send_study(Path(temporary), settings, say)
    else:
        sent = _send_study(folder, settings, say)
    for study in sorted(sent.studies):
        _wait_for_segmentation(study, settings, stop, say)


def _send_study(folder: Path, settings: Settings, say: Say) -> SendReport:
    started = time.monotonic()
    sent = send_folder(folder, settings, on_progress=partial(_say_each_quarter, say, "sending"), say=say)
    say(f"sent {sent.stored} instances of {len(sent.studies)} studies in {time.monotonic() - started:.1f} s")
    for path, reason in sent.left_out:
        say(f"left out {path.name}: {reason}")
    if not sent.studies:
        raise MinipacsError("Nothing could be sent.", "The reasons stand above.")
    return sent


def _wait_for_segmentation(study: str, settings: Settings, stop: threading.Event, say: Say) -> None:
    """Show the study's jobs until its segmentation has ended; then check that OHIF will list it."""
    say(f"waiting {settings.stable_age_s} s of quiet, then the study is taken as complete")
    deadline, last_line = time.monotonic() + STUDY_TIMEOUT_S, ""
    with closing(Database(settings.database_url)) as database:
        while time.monotonic() < deadline and not stop.wait(POLL_INTERVAL_S):
            jobs = JobQueue(database).find_jobs_of_study(study)
            line = "; ".join(_describe_job(job) for job in jobs)
            if line and line != last_line:
                say(line)
                last_line = line
            if jobs and all(job.state in ENDED_STATES for job in jobs):
                _check_outcome(study, jobs, settings)
                say(f"segmented: {settings.front_door_url}/ohif/viewer?StudyInstanceUIDs={study}")
                return
    raise MinipacsError(
        f"Study {study} was not finished.", "Stopped, or out of time; minipacs jobs says how far it is."
    )


def _check_outcome(study: str, jobs: Sequence[Job], settings: Settings) -> None:
    """Raise unless every job is done and OHIF's own query lists their segmentation."""
    for job in jobs:
        if job.state != "done":
            raise MinipacsError(f"Job {job.id} ({job.kind}) {job.state}: {job.error}", job.hint)
    segmented = {uid for job in jobs for uid in segmentation_uids(job.result or {})}
    if not segmented:
        reasons = "; ".join(job.summary for job in jobs if job.kind == "segment" and job.summary)
        raise NotAVolume(
            "No segmentation was made.", reasons or "No engine is set for this study: see MINIPACS_ENGINE."
        )
    if not segmented <= _query_segmentations(study, settings):
        raise MinipacsError(
            "The segmentation is stored, but OHIF's query does not list it.", f"See {settings.home / 'log'}."
        )


def _query_segmentations(study: str, settings: Settings) -> set[str]:
    """SeriesInstanceUID of every SEG that the front door's QIDO-RS answers, queried as OHIF does."""
    token = _run_token_command(settings, "create")
    path = f"/dicom-web/studies/{study}/series?includefield=00080060"
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/dicom+json"}
    try:
        with open_front_door(settings, path, ANSWER_TIMEOUT_S, headers) as answer:
            series: list[dict[str, Any]] = json.load(answer)
    except urllib.error.HTTPError as error:
        raise MinipacsError(
            f"The front door answered {error.code} to OHIF's query.", f"See {settings.home / 'log'}."
        ) from error
    except OSError as error:
        raise MinipacsError("The front door did not answer OHIF's query.", f"See {settings.home / 'log'}.") from error
    finally:
        _run_token_command(settings, "revoke")
    return {s["0020000E"]["Value"][0] for s in series if s["00080060"].get("Value") == ["SEG"]}


def _run_token_command(settings: Settings, verb: str) -> str:
    """Create or revoke an API token by the product's own command, as a script would; what it prints."""
    command = [sys.executable, "-m", "minipacs.cli", "token", verb, TOKEN_NAME]
    environment = {**os.environ, **settings.as_environment()}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise SettingsError(f"No API token could be created ({done.stderr.strip()}).")
    return done.stdout.strip()


def _describe_job(job: Job) -> str:
    """A job's state in a few words."""
    if job.state == "running":
        share = f" {100 * job.done // job.total} %" if job.total else ""
        return f"{job.kind}: {job.stage or 'running'}{share}"
    return f"{job.kind}: {job.state}" + (f", {job.summary}" if job.state != "queued" and job.summary else "")


def _say_each_quarter(say: Say, verb: str, done: int, total: int) -> None:
    """Say how many are done, at each quarter."""
    if total and (done * 4 // total) > ((done - 1) * 4 // total):
        say(f"{verb} {done}/{total}")
