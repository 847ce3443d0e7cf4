"""Random sequences from a seed, running one, and shortening one that fails."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from model import archive_operations, group_invariant, rebuild_invariant, result_invariants
from model.invariants import INVARIANTS, Rest
from model.operations import KINDS, Operation, Scene, perform
from model.world import RestNotReached, World

__all__ = ["Finding", "Outcome", "describe_failure", "make_sequence", "run_sequence", "shorten_sequence"]

EXTENDED_BY = (archive_operations, group_invariant, rebuild_invariant, result_invariants)
"""They add their functions to `KINDS` and `INVARIANTS`."""
LENGTH = 10
STUDIES_AT_ONCE = 4
"""Of the twelve, so that operations meet the same ones."""
ENDLESS = "work_comes_to_an_end"
"""The invariant that a rest is reached."""
UNEXPECTED = "nothing_raises"
"""The invariant that no operation or check ends in an error of another kind."""


@dataclass(frozen=True)
class Finding:
    """An invariant that does not hold, and what was seen."""

    invariant: str
    seen: str

    @property
    def kind(self) -> str:
        """The finding without numbers."""
        return f"{self.invariant}: {re.sub('[0-9]+', 'n', self.seen)}"


@dataclass
class Outcome:
    """How a sequence ended: at its end, or at the first rest with findings."""

    findings: list[Finding] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    """What was done."""
    done: Counter[str] = field(default_factory=Counter)
    """Operations that had something to do, by name."""
    seconds: float = 0.0
    slowest: tuple[float, str] = (0.0, "")
    """The operation that took longest, and its seconds."""


def make_sequence(seed: int, names: Collection[str] | None = None, length: int = LENGTH) -> list[Operation]:
    """A sequence of operations with these names (all: None); it ends in a rest."""
    random = Random(seed)
    chosen = sorted(KINDS if names is None else names)
    weights = [KINDS[name].weight for name in chosen]
    studies = random.sample(range(12), STUDIES_AT_ONCE)
    drawn = ["store_series", *random.choices(chosen, weights, k=length - 1), "rest"]
    return [Operation(name, random.choice(studies), random.randrange(10**6)) for name in drawn]


def run_sequence(
    world: World, sequence: Sequence[Operation], invariants: Collection[str] | None = None, *, reconciles: bool = True
) -> Outcome:
    """Do the operations in an empty world, until the first rest with findings.

    `invariants`: those that are checked (all: None). `reconciles`: whether each rest begins with the comparison.
    """
    began = monotonic()
    outcome = Outcome()
    world.reset()
    scene = Scene(world)
    for number, operation in enumerate(sequence):
        try:
            started = monotonic()
            sentence = perform(scene, operation)
            outcome.sentences += [sentence] if sentence else []
            outcome.done[operation.name] += bool(sentence)
            outcome.slowest = max(outcome.slowest, (monotonic() - started, operation.name))
            if operation.name == "rest":
                outcome.findings = check_rest(scene, invariants, Random(number), reconciles=reconciles)
        except RestNotReached as error:
            outcome.findings.append(Finding(ENDLESS, str(error)))
        except Exception as error:  # whatever it is, it is a finding, and the next sequence is run
            outcome.findings.append(Finding(UNEXPECTED, f"{operation.name}: {type(error).__name__}: {error}"))
        if outcome.findings:
            break
    outcome.seconds = monotonic() - began
    return outcome


def check_rest(scene: Scene, names: Collection[str] | None, random: Random, *, reconciles: bool) -> list[Finding]:
    """Work until there is nothing to do; what does not hold then."""
    scene.world.work_until_rest(reconciles=reconciles)
    archived = scene.read_archive()
    scene.model.compare(archived, set(), lambda one: False)
    rest = Rest(scene, archived, random)
    checked = [(name, check) for name, check in INVARIANTS.items() if names is None or name in names]
    return [Finding(name, seen) for name, check in checked for seen in sorted(set(check(rest)))]


def describe_failure(
    world: World, sequence: Sequence[Operation], outcome: Outcome, invariants: Collection[str] | None = None
) -> str:
    """What a sequence found, and the shortest one that still finds some of it: for people, in several lines."""
    wanted = {finding.kind for finding in outcome.findings}
    last = outcome

    def fails(shorter: Sequence[Operation]) -> bool:
        nonlocal last
        found = run_sequence(world, shorter, invariants)
        if not wanted & {finding.kind for finding in found.findings}:
            return False
        last = found
        return True

    shortest = shorten_sequence(sequence, fails)
    return "\n".join(
        [
            *(f"{finding.invariant}: {finding.seen}" for finding in last.findings),
            "shortened to: " + ", ".join(map(str, shortest)),
            *(f"  {sentence}" for sentence in last.sentences),
        ]
    )


def shorten_sequence(
    sequence: Sequence[Operation], fails: Callable[[Sequence[Operation]], bool], attempts: int = 40
) -> list[Operation]:
    """The sequence with as few operations as `fails` still holds for: delta debugging, in so many attempts at most.

    Half of it is left out, then quarters, and so on to single operations; the rest at its end stays.
    """
    kept, last = list(sequence[:-1]), sequence[-1]
    size = max(1, len(kept) // 2)
    while attempts > 0:
        for start in range(len(kept) - size, -size, -size):
            shorter = kept[: max(0, start)] + kept[max(0, start) + size :]
            if len(shorter) == len(kept) or attempts <= 0:
                continue
            attempts -= 1
            if fails([*shorter, last]):
                kept = shorter
        if size == 1:
            break
        size = max(1, size // 2)
    return [*kept, last]
