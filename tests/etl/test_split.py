"""The split depends on the patient, the seed and the ratios alone."""

import subprocess
import sys
from collections import Counter

import pytest

from etl.split import SETS, assign_split, normalise_ratios, parse_ratios
from minipacs.errors import BadRequest

PATIENTS = [f"P{n}" for n in range(20_000)]


def test_the_parts_are_as_large_as_asked() -> None:
    found = Counter(assign_split(patient) for patient in PATIENTS)
    assert set(found) == set(SETS)
    for name, part in zip(SETS, (0.7, 0.15, 0.15), strict=True):
        assert found[name] / len(PATIENTS) == pytest.approx(part, abs=0.01)


def test_the_answer_is_the_same_in_another_process() -> None:
    program = "from etl.split import assign_split; print([assign_split(f'P{n}') for n in range(50)])"
    for seed in ("0", "1"):
        out = subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        )
        assert out.stdout.strip() == str([assign_split(p) for p in PATIENTS[:50]])


def test_known_patients_stay_where_they_are() -> None:
    """Written down once: an update that moved them would leak test patients into training."""
    assert {assign_split(p) for p in ("P0", "P3", "TOTALSEG-20", "Lung_Dx-A0001")} == {"train"}
    assert Counter(assign_split(p) for p in PATIENTS[:100]) == {"train": 66, "validation": 17, "test": 17}


def test_another_seed_is_another_split() -> None:
    assert [assign_split(p, seed="a") for p in PATIENTS[:100]] != [assign_split(p, seed="b") for p in PATIENTS[:100]]


def test_all_in_one_set_is_a_split_too() -> None:
    assert {assign_split(p, (1, 0, 0)) for p in PATIENTS} == {"train"}
    assert {assign_split(p, (0, 0, 1)) for p in PATIENTS} == {"test"}


@pytest.mark.parametrize("text", ["70/15/15", "0.7,0.15,0.15", "7,1.5,1.5"])
def test_ratios_are_scaled(text: str) -> None:
    assert parse_ratios(text) == pytest.approx((0.7, 0.15, 0.15))


@pytest.mark.parametrize("text", ["", "1,2", "a,b,c", "-1,1,1", "0,0,0", "nan,1,1", "inf,1,1"])
def test_what_is_no_split_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadRequest, match=r"0\.7,0\.15,0\.15"):
        parse_ratios(text)
    with pytest.raises(BadRequest):
        normalise_ratios(0, 0, 0)
