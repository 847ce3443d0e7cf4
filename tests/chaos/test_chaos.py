"""Kill anything at any time: every study still ends with exactly one result."""

from pathlib import Path

import pytest
from chaos.flow import flow
from chaos.killer import kills
from stack import settings_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.mark.filterwarnings("ignore:.*socket.socket.*:pytest.PytestUnraisableExceptionWarning")  # pynetdicom's own
def test_every_study_ends_with_one_result_whatever_is_killed(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home", attempts=50, lease_s=5)
    run = flow(
        settings,
        seed=1,
        studies=3,
        blows=lambda product: kills(product, seed=1),
        pace_s=1.5,
        limit=12,
        rest_s=120,
        source=tmp_path / "source",
    )
    assert run.struck.total() > 5
    assert run.verdict.is_well, str(run.verdict)
