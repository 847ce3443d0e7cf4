"""Whatever is killed, a stable study still ends with exactly one result."""

import subprocess
import sys
from pathlib import Path

import psutil
import pydicom
import pytest

from minipacs.archive import local_orthanc
from minipacs.archive.c_store import send_folder
from minipacs.errors import ArchiveRefused
from minipacs.local.phantom import write_chest_ct
from stack import RunningStack, running, settings_for
from waiting import PATIENCE_S, until

pytestmark = pytest.mark.integration


def study_uid(folder: Path) -> str:
    return str(pydicom.dcmread(sorted(folder.glob("*.dcm"))[0]).StudyInstanceUID)


def killed(processes: list[psutil.Process]) -> None:
    assert processes
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=PATIENCE_S)


def test_orthanc_killed_before_the_study_is_stable_loses_nothing(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_chest_ct(source)
    with running(tmp_path / "home", stable_age_s=5, quiet_s=8) as stack:
        stack.send(source)
        killed(stack.processes("configuration"))
        until(stack.orthanc_answers, what="Orthanc after its restart")
        stack.wait_segmented(study_uid(source))
        assert len(stack.segs(study_uid(source))) == 1


def test_a_study_that_became_stable_while_we_were_away_is_processed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_chest_ct(source)
    settings = settings_for(tmp_path / "home")
    settings.home.mkdir()
    stack = RunningStack(settings)
    alone = subprocess.Popen(
        local_orthanc.prepare_start_command(settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(stack.orthanc_answers)
        send_folder(source, settings)
        study_id = stack.archive.find_study_id(study_uid(source))
        until(lambda: stack.archive.is_stable(study_id), what="the study to be stable with nobody at the door")
    finally:
        alone.terminate()
        alone.wait()
    stack.start()
    try:
        stack.wait_segmented(study_uid(source))
    finally:
        stack.stop()


def test_a_worker_killed_in_the_middle_is_replaced(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_chest_ct(source)
    with running(tmp_path / "home") as stack:
        stack.send(source)
        study = study_uid(source)
        job = until(lambda: next((j for j in stack.jobs(study) if j.kind == "segment" and j.state == "running"), None))
        killed([psutil.Process(int(str(job.worker).split("/")[1]))])
        stack.wait_segmented(study)
        assert len(stack.segs(study)) == 1


def test_an_occupied_port_is_said_in_one_sentence(tmp_path: Path) -> None:
    with running(tmp_path / "home") as stack:
        environment = {
            **stack.settings.as_environment(),
            "MINIPACS_HOME": str(tmp_path / "other"),
            "PATH": "/usr/bin:/usr/sbin",
        }
        second = subprocess.run(
            [sys.executable, "-m", "minipacs.cli", "up"], env=environment, capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert f"Port {stack.settings.http_port} is in use" in second.stderr
        assert "Traceback" not in second.stderr


@pytest.mark.filterwarnings("ignore:.*socket.socket.*:pytest.PytestUnraisableExceptionWarning")  # pynetdicom's own
def test_an_unknown_peer_is_refused_in_one_sentence_where_peers_are_named(tmp_path: Path) -> None:
    write_chest_ct(tmp_path / "source", slices=3)
    with running(tmp_path / "home", peers="CT1=SCANNER@127.0.0.1:104") as stack:
        with pytest.raises(ArchiveRefused, match="MINIPACS_PEERS"):
            stack.send(tmp_path / "source")
        assert stack.archive.list_study_ids() == []
