"""Random sequences against a real Orthanc: after each rest archive, catalogue, pictures and results say the same.

The seeds are fixed; `benchmarks/bench_identity.py` runs others, and all operations. A sequence that fails is
shortened, and the test says what is left of it.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import delete, select

from minipacs.catalogue import Instance
from model.crash import Crash, count_effects
from model.invariants import INVARIANTS
from model.not_yet import INVARIANTS_NOT_YET, OPERATIONS_NOT_YET
from model.operations import KINDS, Operation, Scene, perform
from model.sequences import check_rest, describe_failure, make_sequence, run_sequence, shorten_sequence
from model.world import World, running_world

pytestmark = pytest.mark.integration

SEEDS = range(1, 7)
LENGTH = 8
HELD_OPERATIONS = KINDS.keys() - OPERATIONS_NOT_YET.keys()
HELD_INVARIANTS = INVARIANTS.keys() - INVARIANTS_NOT_YET.keys()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An Orthanc and the product around it."""
    with running_world(tmp_path_factory.mktemp("model")) as running:
        yield running


@pytest.mark.parametrize("seed", SEEDS)
def test_after_each_rest_everything_follows_from_the_archive(world: World, seed: int) -> None:
    sequence = make_sequence(seed, HELD_OPERATIONS, LENGTH)
    outcome = run_sequence(world, sequence, HELD_INVARIANTS)
    if outcome.findings:
        pytest.fail(f"seed {seed}: {describe_failure(world, sequence, outcome, HELD_INVARIANTS)}")


def test_what_is_not_held_yet_has_a_name_that_exists() -> None:
    assert OPERATIONS_NOT_YET.keys() <= KINDS.keys()
    assert INVARIANTS_NOT_YET.keys() <= INVARIANTS.keys()


def test_a_picture_that_is_lost_is_found(world: World) -> None:
    world.reset()
    scene = Scene(world)
    perform(scene, Operation("store_series", 2, 1))
    assert check_rest(scene, HELD_INVARIANTS, Random(1), reconciles=True) == []

    next((world.settings.output / "png").rglob("*.png")).unlink()
    (finding,) = check_rest(scene, HELD_INVARIANTS, Random(1), reconciles=True)
    assert finding.seen == "1 pictures have no file"


def test_a_row_that_is_lost_is_found(world: World) -> None:
    world.reset()
    scene = Scene(world)
    perform(scene, Operation("store_series", 2, 1))
    assert check_rest(scene, HELD_INVARIANTS, Random(1), reconciles=True) == []

    with world.database.writing() as session:
        key = session.scalars(select(Instance.instance_key)).first()
        session.execute(delete(Instance).where(Instance.instance_key == key))
    found = {finding.invariant for finding in check_rest(scene, HELD_INVARIANTS, Random(1), reconciles=True)}
    assert {"every_object_has_a_row_or_a_rejection", "kept_counts_are_the_counts_of_rows"} <= found


def test_no_effect_takes_place_after_a_crash(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abc"]
    for file in files:
        file.touch()

    def remove_all() -> None:
        try:
            files[0].unlink()
            files[1].unlink()
        finally:
            files[2].unlink()

    with count_effects() as points, points.crashing_at(1), pytest.raises(Crash):
        remove_all()
    assert [file.exists() for file in files] == [False, True, True]
    assert points.places == {"unlink": 1}


def test_a_failing_sequence_is_shortened_to_what_it_fails_for() -> None:
    sequence = [Operation(f"o{number}", 0, Random(number).randrange(9)) for number in range(12)]

    def fails(shorter: list[Operation]) -> bool:
        names = [operation.name for operation in shorter]
        return "o3" in names and "o7" in names

    assert [operation.name for operation in shorten_sequence(sequence, fails)] == ["o3", "o7", "o11"]
