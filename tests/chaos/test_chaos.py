"""Kill anything at any time: every study still ends with exactly one result."""

from pathlib import Path

import pytest

from chaos.flow import flow
from chaos.grounds import one_machine
from waiting import PATIENCE_S

pytestmark = pytest.mark.integration


@pytest.mark.filterwarnings("ignore:.*socket.socket.*:pytest.PytestUnraisableExceptionWarning")  # pynetdicom's own
def test_every_study_ends_with_one_result_whatever_is_killed(tmp_path: Path) -> None:
    with one_machine(tmp_path / "home", seed=1) as ground:
        run = flow(ground, seed=1, studies=3, pace_s=0.8, limit=12, rest_s=PATIENCE_S, source=tmp_path / "source")
    assert run.struck.total() > 5
    assert run.verdict.is_well, str(run.verdict)
