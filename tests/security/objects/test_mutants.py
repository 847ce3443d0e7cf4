"""Mutants of every kind of object, by every way in, leave the whole product as it was: a few of many thousands.

`PYTHONPATH=tests python -m security.objects.mutants 10000` sends as many as one likes; `MINIPACS_TEST_MUTANTS` says
how many this test sends.
"""

import os
from pathlib import Path

import pytest

from security.objects.hostile_objects import make_objects, mutate_values
from security.objects.mutants import Report, make_mutants, send_mutants
from stack import running

NUMBER = int(os.environ.get("MINIPACS_TEST_MUTANTS", "120"))
MAX_MEMORY_MB = 3000


def test_a_mutant_of_values_keeps_its_length_and_is_the_same_every_time() -> None:
    for file in make_objects().values():
        mutants = [mutate_values(file, seed) for seed in range(20)]

        assert {len(mutant) for mutant in mutants} == {len(file)}
        assert mutants[3] == mutate_values(file, 3)
        assert len(set(mutants)) > 10


@pytest.mark.timeout(0)
def test_mutants_end_as_rows_rejections_and_refusals_and_nothing_dies(tmp_path: Path) -> None:
    report = Report()

    with running(tmp_path, engine="none") as stack:
        send_mutants(stack, list(make_mutants(NUMBER)), report)

    print(report.as_table())
    assert not report.faults
    assert report.ends["rows"] > NUMBER // 10
    assert report.most_memory_mb < MAX_MEMORY_MB
