"""The whole product, started for a test as a user starts it: `minipacs up` in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import select

from minipacs.archive.c_store import send_folder
from minipacs.archive.client import Archive
from minipacs.catalogue import SegmentationResult
from minipacs.database import Database
from minipacs.errors import ArchiveError
from minipacs.jobs.queue import JobQueue
from minipacs.jobs.record import Job
from minipacs.settings import Settings
from ports import free_ports
from waiting import LOOK_S, PATIENCE_S, until

PASSWORD = "a password for tests"


def settings_for(home: Path, **changes: object) -> Settings:
    """Settings with everything below `home` and free ports; keywords are settings."""
    http, archive, dicom, notification, prompts = free_ports(5)
    values: dict[str, object] = {
        "home": home,
        "http_port": http,
        "orthanc_port": archive,
        "dicom_port": dicom,
        "stable_study_address": f"127.0.0.1:{notification}",
        "prompts": f"127.0.0.1:{prompts}",
        "stable_age_s": 2,
        "quiet_s": 4,
        "poll_s": 0.3,
        "reserve_mb": 100,
        "admin_password": PASSWORD,
        **changes,
    }
    return Settings.from_env({"MINIPACS_" + name.upper(): str(value) for name, value in values.items()})


def command_line(process: psutil.Process) -> list[str]:
    """The words of its command line; none of a process that has ended meanwhile."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


class RunningStack:
    """Three real processes and the ways a test looks at them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.address = f"http://127.0.0.1:{settings.http_port}"
        self.admin_password = settings.admin_password
        self.archive = Archive(settings)
        self.database = Database(settings.database_url)
        self._process: subprocess.Popen[str] | None = None
        self._tokens: dict[str, str] = {}
        self._tokens_lock = threading.Lock()

    def start(self) -> None:
        """Start and wait for the word `ready`."""
        path = self.settings.home / "up.log"
        log = path.open("a")
        earlier = path.stat().st_size
        self._process = subprocess.Popen(
            [sys.executable, "-m", "minipacs.cli", "up"],
            env={**os.environ, **self.settings.as_environment()},
            cwd=self.settings.home,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        log.close()
        until(lambda: self._ended() or b"minipacs: ready" in path.read_bytes()[earlier:], what="every part to be ready")
        self.wait_ready()

    def wait_ready(self) -> None:
        """Until the front door answers, or `up` has ended with its reason."""
        until(lambda: self._ended() or self._answers(), what="the front door's answer")
        if self._ended():
            raise AssertionError((self.settings.home / "up.log").read_text())

    def stop(self) -> None:
        """As Ctrl+C does."""
        try:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
                self._process.wait(PATIENCE_S)
        finally:
            if self._process is not None:
                self._process.kill()
            self.archive.close()
            self.database.close()

    def processes(self, word: str) -> list[psutil.Process]:
        """Child processes of this stack, at any depth, whose command line has `word`."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children(recursive=True)
        return [child for child in children if any(word in part for part in command_line(child))]

    def send(self, folder: Path) -> set[str]:
        """C-STORE a folder; the Study Instance UIDs."""
        return send_folder(folder, self.settings).studies

    def jobs(self, study_instance_uid: str) -> list[Job]:
        """The study's rows of the job table."""
        return list(JobQueue(self.database).find_jobs_of_study(study_instance_uid))

    def wait_jobs(self, study_instance_uid: str, *kinds: str) -> list[Job]:
        """Until the study, as the archive holds it now, has jobs of these kinds and none is open; none may have failed.

        A study that arrives with a pause, as from a busy machine, is worked on twice: what had come before the
        pause, and the whole.
        """

        def ended() -> list[Job] | None:
            jobs = self.jobs(study_instance_uid)
            complete = all(self._concern_present_content(jobs, study_instance_uid, kind) for kind in kinds)
            return jobs if complete and all(job.state not in ("queued", "running") for job in jobs) else None

        jobs: list[Job] = until(ended, what=f"the end of {kinds} for {study_instance_uid}")
        broken = [(job.kind, job.state, job.error, job.detail) for job in jobs if job.state != "done"]
        assert not broken, broken
        return jobs

    def _concern_present_content(self, jobs: list[Job], study_instance_uid: str, kind: str) -> bool:
        """Whether one of the jobs of this kind is for all that the archive holds of the study now."""
        try:
            study = self.archive.read_study(self.archive.find_study_id(study_instance_uid))
        except ArchiveError:
            return False
        digest = study.digest(include_ours=kind == "catalogue")
        return any(job.kind == kind and digest in job.key.split("/") for job in jobs)

    def wait_segmented(self, study_instance_uid: str) -> str:
        """Until the study's SEG is in the archive *and* catalogued; the SEG's Series Instance UID."""
        self.wait_jobs(study_instance_uid, "segment", "catalogue")

        def listed() -> str | None:
            series = self.get_json(f"/dicom-web/studies/{study_instance_uid}/series")
            uids = {str(s["0020000E"]["Value"][0]) for s in series if s["00080060"]["Value"] == ["SEG"]}
            return next((uid for uid in self.segs(study_instance_uid) if uid in uids), None)

        return str(until(listed, what="a SEG in the answer of QIDO-RS"))

    def segs(self, study_instance_uid: str) -> list[str]:
        """Series Instance UIDs of the SEG series the archive holds of a study, less those that others superseded."""
        study = self.archive.read_study(self.archive.find_study_id(study_instance_uid))
        with self.database.reading() as session:
            results = select(SegmentationResult.seg_series_instance_uid)
            superseded = set(session.scalars(results.where(SegmentationResult.superseded_by.is_not(None))))
        return [
            series.series_instance_uid
            for series in study.series
            if series.modality == "SEG" and series.series_instance_uid not in superseded
        ]

    def token(self, name: str = "tests") -> str:
        """An API token, made by the product's own command; threads of a test may ask at once."""
        with self._tokens_lock:
            if name not in self._tokens:
                command = [sys.executable, "-m", "minipacs.cli", "token", "create", name, "--role", "admin"]
                environment = {**os.environ, **self.settings.as_environment()}
                made = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
                self._tokens[name] = made.stdout.strip()
            return self._tokens[name]

    def use_token(self, name: str, token: str) -> None:
        """Let this user of the tests bear a token that was made elsewhere."""
        self._tokens[name] = token

    def request(self, path: str, user: str = "tests", **headers: str) -> urllib.request.Request:
        """A request with the token, as a script makes it."""
        return urllib.request.Request(
            self.address + path,
            headers={"Authorization": f"Bearer {self.token(user)}", "Accept": "application/json", **headers},
        )

    def get_json(self, path: str) -> Any:
        """What the front door answers to a script."""
        with urllib.request.urlopen(self.request(path), timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def post_json(self, path: str, **fields: Any) -> Any:
        """What the front door answers to a script that sends JSON."""
        request = self.request(path, **{"Content-Type": "application/json"})
        request.data = json.dumps(fields).encode()
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def orthanc_answers(self) -> bool:
        """Whether Orthanc is there."""
        try:
            return bool(self.archive.read_version())
        except ArchiveError:
            return False

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.address + "/healthz", timeout=LOOK_S) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None


@contextmanager
def running(home: Path, **changes: object) -> Iterator[RunningStack]:
    """A stack in its own folder, stopped at the end."""
    stack = RunningStack(settings_for(home, **changes))
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()
