"""The product spread out, without containers: PostgreSQL (catalogue, index), a scheduler, two workers, two doors."""

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psycopg
import pytest
from sqlalchemy import func, select

from chaos.cluster import Pool
from dicom_objects import ROOT, as_file, image
from minipacs import cli
from minipacs.archive import local_orthanc
from minipacs.catalogue import Instance, read_catalogue_counts
from minipacs.doctor import machine_checks
from minipacs.jobs.record import Job
from minipacs.local.phantom import write_chest_ct
from ports import free_ports
from postgres import new_url
from stack import RunningStack, running, settings_for
from waiting import PATIENCE_S, until

pytestmark = pytest.mark.integration
INDEX = next(
    (Path(f, n) for f in local_orthanc.PLUGIN_FOLDERS for n in local_orthanc.INDEX_PLUGIN if Path(f, n).exists()), None
)


@dataclass
class Cluster:
    """What a test needs of it."""

    stack: RunningStack
    second_front_door: str
    index: str


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if shutil.which("Orthanc") is None or INDEX is None or os.geteuid() != 0:
        pytest.skip("needs Orthanc with orthanc-postgresql, and root for the workers' host names")
    home = tmp_path_factory.mktemp("cluster")
    scheduler, door = free_ports(2)
    certificates = home / "certificates" / "cluster"
    assert cli.main(["certificates", "cluster", "--folder", str(certificates.parent)]) == 0
    index = new_url("postgresql", home).replace("+psycopg", "")
    changes = {
        "database_url": new_url("postgresql", home),
        "orthanc_database_url": index,
        "scheduler": f"tls://127.0.0.1:{scheduler}",
        "scheduler_certificate": certificates / "member.crt",
        "scheduler_key": certificates / "member.key",
        "scheduler_trusted_certificates": certificates / "authority.crt",
        "http_workers": 2,
    }
    settings = settings_for(home, **changes)
    with Pool(settings, 2), running(home, **changes) as stack:
        second = replace(stack.settings, http_port=door)
        environment = {**os.environ, **second.as_environment()}
        with (home / "second-door.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "minipacs.cli", "api"], env=environment, stdout=log, stderr=log
            )
        try:
            until(lambda: not machine_checks.check_front_door(second).remedy, what="the second door")
            yield Cluster(stack, f"http://127.0.0.1:{door}", index)
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def send_small_studies(stack: RunningStack, count: int) -> None:
    for number in range(count):
        uid = f"{ROOT}.88.{number}"
        names = {"PatientID": f"CLUSTER-{number}", "StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1"}
        for i in range(1, 4):
            pixels = np.arange(35, dtype=np.uint16).reshape(5, 7) + i
            stack.archive.store_file(as_file(image(pixels, i, SOPInstanceUID=f"{uid}.1.{i}", **names)))


def test_studies_are_done_by_both_workers_and_every_door_shows_them(cluster: Cluster, tmp_path: Path) -> None:
    stack, studies = cluster.stack, 16
    write_chest_ct(tmp_path / "ct", slices=12)
    (study,) = stack.send(tmp_path / "ct")
    send_small_studies(stack, studies)

    def ended() -> bool:
        with stack.database.reading() as session:
            open_jobs = session.scalar(select(func.count()).where(Job.state.in_(("queued", "running"))))
            return open_jobs == 0 and read_catalogue_counts(session).studies == studies + 1

    until(ended, what="the end of all jobs")
    stack.wait_jobs(study, "catalogue", "segment")
    with stack.database.reading() as session:
        jobs = list(session.scalars(select(Job)))
        assert {job.state for job in jobs} == {"done"}
        assert len({job.worker.partition("/")[0] for job in jobs if job.worker}) == 2, "two machines' names"
        instances = session.scalar(select(func.count()).select_from(Instance))
    assert instances == stack.archive.count_instances()
    assert len(stack.segs(study)) == 1
    for address in (stack.address, cluster.second_front_door):
        request = urllib.request.Request(
            address + "/studies/count",
            headers={"Authorization": f"Bearer {stack.token()}", "Accept": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            assert str(studies + 1).encode() in answer.read()


def test_the_index_is_in_postgresql_and_nowhere_else(cluster: Cluster) -> None:
    stack = cluster.stack
    send_small_studies(stack, 1)
    with psycopg.connect(cluster.index) as connection:
        (count,) = connection.execute("SELECT count(*) FROM resources WHERE resourcetype = 3").fetchone() or (0,)
    assert count == stack.archive.count_instances() > 0
    assert not list((stack.settings.home / "orthanc" / "storage").glob("index*"))
    assert stack.archive.read_system_info()["DatabaseBackendPlugin"]


def test_the_doctor_finds_the_cluster_well(cluster: Cluster) -> None:
    found = dict(machine_checks.run_checks(cluster.stack.settings))
    assert {part: finding for part, finding in found.items() if finding.state == "failed"} == {}
    assert found["scheduler"].state == "ok", "it is encrypted"
    assert "index in PostgreSQL" in found["archive"].seen
    assert "2 workers" in found["scheduler"].seen


def test_a_password_with_signs_reaches_orthanc_as_it_is() -> None:
    made = local_orthanc.build_index_configuration("postgresql://me:p%40ss%2Fword@db/index")["PostgreSQL"]
    assert (made["Password"], made["Port"], made["Host"]) == ("p@ss/word", 5432, "db")
