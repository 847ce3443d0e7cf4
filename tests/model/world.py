"""One real Orthanc with our plugin, and around it the product in this process: planner, work and front door.

No job service runs: the test says when the planner takes a step and when a job is done, so that anything may happen in
between. Claim, heartbeat and end of a job are the product's own (`run_job`). A world is emptied between sequences.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from flask import Flask
from flask.testing import FlaskClient
from pydicom import dcmread
from pydicom.uid import BasicTextSRStorage, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from sqlalchemy import func, select

from api import create_app
from api.auth import accounts
from minipacs.database import Database
from minipacs.groups import membership
from minipacs.jobs import task
from minipacs.jobs.contract import kinds_of_work
from minipacs.jobs.leases import JobLeases
from minipacs.jobs.planner import FollowedStudy, Planner
from minipacs.jobs.record import Job
from minipacs.temporary_folders import LOCK, PREFIX
from model.checksum_engine import NAME, RUNS, use_checksum_engine
from model.crash import CrashPoints, count_effects
from orthanc_server import OrthancServer, running_orthanc
from stack import PASSWORD
from waiting import PATIENCE_S

MAX_ROUNDS = 20
"""Of planning and working until nothing is left to do; more is an endless circle."""
BOUNDARY = "a-part-of-the-model-test"
GROUP = "ward"
"""Of studies, with one member."""
WAYS = ("c_store", "upload", "stow")
"""How a series comes."""


class RestNotReached(AssertionError):
    """Work makes new work, again and again."""


class World:
    """The archive and the product; `reset` makes both new."""

    def __init__(self, server: OrthancServer, folder: Path, crashes: CrashPoints) -> None:
        self.server = server
        self.archive = server.archive
        self.crashes = crashes
        self.folder = folder
        self.orthanc = httpx.Client(
            base_url=server.settings.orthanc_url,
            auth=(server.settings.orthanc_user, server.settings.orthanc_password),
            timeout=PATIENCE_S,
            limits=httpx.Limits(max_keepalive_connections=0),  # Orthanc closes one that is idle, or dies meanwhile
        )
        self._template = self._make_empty_database()
        self._resets = 0
        self._association: Association | None = None
        self._app: Flask | None = None
        self.jobs_done = 0
        self.reset()

    # -- beginning and end --------------------------------------------------------------------------
    def reset(self) -> None:
        """Empty the archive; a new home, a new database."""
        self.close_product()
        for patient in self.orthanc.get("/patients").json():
            self.orthanc.delete(f"/patients/{patient}")
        self.orthanc.delete("/changes")
        shutil.rmtree(self.folder / f"home{self._resets}", ignore_errors=True)
        self._resets += 1
        home = self.folder / f"home{self._resets}"
        home.mkdir()
        shutil.copyfile(self._template, home / "catalogue.sqlite")
        url = f"sqlite:///{home / 'catalogue.sqlite'}"
        self.settings = replace(
            self.server.settings, home=home, database_url=url, output=home / "output", quiet_s=0, attempts=1000
        )
        RUNS.clear()
        self.open_product()
        self._open_front_door()

    def _make_empty_database(self) -> Path:
        path = self.folder / "empty.sqlite"
        database = Database(f"sqlite:///{path}")
        database.upgrade_schema()
        database.close()
        return path

    def open_empty_database(self, folder: Path) -> Database:
        """A database of its own, with every table and no row; the caller closes it."""
        shutil.copyfile(self._template, folder / "empty.sqlite")
        return Database(f"sqlite:///{folder / 'empty.sqlite'}")

    def open_product(self) -> None:
        """Open the database and make a planner, as a service that starts; its jobs of before are queued again."""
        self.database = Database(self.settings.database_url)
        self.planner = Planner(self.settings, self.archive, self.database)
        reason = "The worker process ended unexpectedly."
        JobLeases(self.database).requeue_jobs_of_worker(task.worker_name(self.settings), reason)

    def _open_front_door(self) -> None:
        self._app = create_app(self.settings)
        state = self._app.extensions["minipacs"]
        self.token = accounts.create_token(state.database, "tests", "admin")
        self._token_of_member = accounts.create_token(state.database, "member", "viewer", sees_all=False)
        membership.create_group(state.database, GROUP)
        membership.add_members(state.database, GROUP, ["token:member"])
        self.client: FlaskClient = self._app.test_client()

    def close_product(self) -> None:
        """Close the database and the front door, if they are open."""
        if self._app is None:
            return
        self._app.extensions["minipacs_audit"].close()
        self._app.extensions["minipacs"].close()
        self._app = None
        self.forget_product()

    def forget_product(self) -> None:
        """Throw away what a killed service and its workers had in memory, and the locks that they had."""
        self.database.close()
        if task._open_database.cache_info().currsize:
            task._open_database(self.settings.database_url).close()
        if task._open_archive.cache_info().currsize:
            task._open_archive(self.settings).close()
        task._open_database.cache_clear()
        task._open_archive.cache_clear()
        for entry in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                name = Path(os.readlink(f"/proc/self/fd/{entry}")).name
                if name.startswith(PREFIX) and name.endswith(LOCK):
                    os.close(int(entry))

    def close(self) -> None:
        """End."""
        self.close_product()
        if self._association is not None and self._association.is_established:
            self._association.release()
        self.orthanc.close()

    # -- the product's work -------------------------------------------------------------------------
    def plan(self) -> int:
        """One step of the planner, without the reconciliation; how many jobs are new."""
        self.planner._reconciled_at = float("inf")
        return self.planner.step()

    def find_open_jobs(self) -> list[int]:
        """Jobs that wait, the most urgent first."""
        waiting = select(Job.id).where(Job.state == "queued").order_by(Job.priority.desc(), Job.id)
        with self.database.reading() as session:
            return list(session.scalars(waiting))

    def do_job(self) -> bool:
        """Do the most urgent job, if there is one; whether there was. A wait before another attempt is left out."""
        waiting = self.find_open_jobs()
        if not waiting:
            return False
        task.run_job(self.settings, waiting[0])
        self.jobs_done += 1
        return True

    def count_due_studies(self) -> int:
        """Studies that the planner has still to look at."""
        with self.database.reading() as session:
            return session.scalar(select(func.count()).where(FollowedStudy.due.is_not(None))) or 0

    def work_until_rest(self, *, reconciles: bool) -> None:
        """Plan and work until there is nothing to do. Raises `RestNotReached`.

        `reconciles`: the comparison of archive and catalogue is made first, which finds what no log says.
        """
        if reconciles:
            self.planner.reconcile()
        for _ in range(MAX_ROUNDS):
            self.plan()
            has_worked = False
            while self.do_job():
                has_worked = True
            if not has_worked and not self.count_due_studies():
                return
        raise RestNotReached(f"still at work after {MAX_ROUNDS} rounds")

    # -- what others do -----------------------------------------------------------------------------
    def store(self, files: Sequence[bytes], way: str) -> None:
        """Send files to the archive in one of `WAYS`; what it has already it keeps."""
        {"c_store": self._send_c_store, "upload": self._upload, "stow": self._send_stow}[way](files)

    def _send_c_store(self, files: Sequence[bytes]) -> None:
        if self._association is None or not self._association.is_established:
            entity = AE("SENDER")
            for sop_class in (CTImageStorage, BasicTextSRStorage):
                entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
            self._association = entity.associate("127.0.0.1", self.settings.dicom_port, ae_title=self.settings.aet)
        for file in files:
            status = self._association.send_c_store(dcmread(BytesIO(file)))
            assert status.Status == 0, status

    def _upload(self, files: Sequence[bytes]) -> None:
        fields = {f"file{number}": (BytesIO(file), f"{number}.dcm") for number, file in enumerate(files)}
        answer = self.ask("/upload", "POST", data=fields)
        assert answer.status_code == 200, answer.get_data(as_text=True)

    def _send_stow(self, files: Sequence[bytes]) -> None:
        head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(head + file + b"\r\n" for file in files) + f"--{BOUNDARY}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        answer = self.ask("/dicom-web/studies", "POST", data=body, content_type=kind)
        assert answer.status_code in (200, 202, 409), answer.get_data(as_text=True)

    def ask(self, path: str, method: str = "GET", **options: Any) -> Any:
        """What the front door answers an administrator's script."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json", **options.pop("headers", {})}
        return self.client.open(path, method=method, headers=headers, buffered=True, **options)

    def ask_as_member(self, path: str) -> Any:
        """What the front door answers a member of `GROUP`."""
        return self.ask(path, headers={"Authorization": f"Bearer {self._token_of_member}"})

    def change_archive(self, method: str, path: str, body: dict[str, Any] | None = None) -> bool:
        """What somebody does in Orthanc itself; whether Orthanc did it."""
        answer = self.orthanc.request(method, path, json=body if body is not None else {})
        return answer.status_code == 200

    def kill_archive(self) -> None:
        """Kill Orthanc, and start it."""
        if self._association is not None:
            self._association.abort()
            self._association = None
        self.server.kill()
        self.server.start()


@contextmanager
def running_world(folder: Path) -> Iterator[World]:
    """A world, until the end of the block. Skips the test without Orthanc."""
    kinds_of_work()  # their modules, before anything is patched; a context of TLS takes 0.1 s, and none is used
    with (
        running_orthanc(folder / "archive", stable_age_s=1, engine=NAME, orthanc_password=PASSWORD) as server,
        use_checksum_engine(),
        patch("httpx._transports.default.create_ssl_context", lru_cache(httpx.create_ssl_context)),
        count_effects() as crashes,
    ):
        world = World(server, folder, crashes)
        try:
            yield world
        finally:
            world.close()
