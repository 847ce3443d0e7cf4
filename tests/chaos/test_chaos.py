"""Kill anything at any time: every study still ends with exactly one result."""

from pathlib import Path

import pytest

from chaos.environments import one_machine
from chaos.scenario import run_scenario
from waiting import PATIENCE_S

pytestmark = pytest.mark.integration


@pytest.mark.filterwarnings("ignore:.*socket.socket.*:pytest.PytestUnraisableExceptionWarning")  # pynetdicom's own
def test_every_study_ends_with_one_result_whatever_is_killed(tmp_path: Path) -> None:
    with one_machine(tmp_path / "home", seed=1) as environment:
        run = run_scenario(
            environment,
            seed=1,
            studies=3,
            pace_s=0.8,
            fault_limit=12,
            stuck_after_s=PATIENCE_S,
            source=tmp_path / "source",
        )
    assert run.faults.total() > 5
    assert run.result.is_ok, str(run.result)
