"""A disk that is nearly full: what is refused stays with its sender."""

import os
import subprocess
from pathlib import Path

import pytest

from minipacs.archive import local_orthanc
from minipacs.archive.c_store import send_folder
from minipacs.archive.client import Archive
from minipacs.errors import ArchiveError
from minipacs.local.phantom import write_chest_ct
from stack import settings_for
from waiting import until

pytestmark = pytest.mark.integration


def test_below_the_reserve_orthanc_refuses_a_c_store(tmp_path: Path) -> None:
    write_chest_ct(tmp_path / "study", slices=2)
    settings = settings_for(tmp_path / "home", reserve_mb=2**40)
    environment = {**os.environ, **settings.as_environment(), **local_orthanc.ENVIRONMENT}
    archive = Archive(settings)

    def answers() -> bool:
        try:
            return bool(archive.read_version())
        except ArchiveError:
            return False

    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            local_orthanc.prepare_start_command(settings), env=environment, stdout=log, stderr=log
        ) as process,
    ):
        try:
            until(answers, what="Orthanc")
            sent = send_folder(tmp_path / "study", settings)
            assert sent.stored == 0
            assert [why for _, why in sent.left_out] == ["refused with status 0xa700"] * 2
            assert not list(archive.list_study_ids())
        finally:
            archive.close()
            process.terminate()
