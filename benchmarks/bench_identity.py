"""The model-based test at length: random sequences of what happens to an archive; the table of docs/jobs.md.

    .venv/bin/python -m benchmarks.bench_identity [--seeds FIRST LAST] [--held] [--length N] [--shorten]
        [--without-reconciliation] [--except INVARIANT …]

Each sequence (tests/model/) begins with an empty archive, a real Orthanc, and ends at its end or at the first rest
after which an invariant does not hold. `--held`: only what scripts/test holds the product to. `--shorten`: the first
sequence of each kind of finding is shortened, and written out. A seed and its options make the same sequence again.
"""

import argparse
import logging
import tempfile
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from model.invariants import INVARIANTS
from model.not_yet import INVARIANTS_NOT_YET, OPERATIONS_NOT_YET
from model.operations import KINDS, Operation
from model.sequences import LENGTH, Outcome, describe_failure, make_sequence, run_sequence
from model.world import World, running_world

MEMORY = Path("/dev/shm")
"""A folder that is no disk, where there is one."""


@dataclass
class Sums:
    """What came of all sequences."""

    sequences: int = 0
    with_findings: int = 0
    seconds: float = 0.0
    operations: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    """Sequences in which an invariant did not hold."""
    kinds: dict[str, int] = field(default_factory=dict)
    """The first seed of each kind of finding."""

    def add(self, seed: int, outcome: Outcome) -> list[str]:
        """Add a sequence; the kinds of its findings that are new."""
        self.sequences += 1
        self.with_findings += bool(outcome.findings)
        self.seconds += outcome.seconds
        self.operations.update(outcome.done)
        self.findings.update({finding.invariant for finding in outcome.findings})
        new = sorted({finding.kind for finding in outcome.findings} - self.kinds.keys())
        self.kinds.update(dict.fromkeys(new, seed))
        return new


def main() -> None:
    """Run the sequences; a line each, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs=2, type=int, default=[1, 20], metavar=("FIRST", "LAST"))
    parser.add_argument("--length", type=int, default=LENGTH)
    parser.add_argument("--held", action="store_true")
    parser.add_argument("--except", nargs="*", default=[], choices=sorted(INVARIANTS), dest="left_out")
    parser.add_argument("--shorten", action="store_true")
    parser.add_argument("--without-reconciliation", action="store_true")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # what is broken on purpose is told

    operations = KINDS.keys() - OPERATIONS_NOT_YET.keys() if arguments.held else KINDS.keys()
    invariants = INVARIANTS.keys() - set(arguments.left_out)
    if arguments.held:
        invariants -= INVARIANTS_NOT_YET.keys()

    sums = Sums()
    place = MEMORY if MEMORY.is_dir() else None
    temporary = tempfile.TemporaryDirectory(prefix="minipacs-model-", dir=place)
    with temporary as folder, running_world(Path(folder)) as world:
        for seed in range(arguments.seeds[0], arguments.seeds[1] + 1):
            sequence = make_sequence(seed, operations, arguments.length)
            outcome = run_sequence(world, sequence, invariants, reconciles=not arguments.without_reconciliation)
            print(f"seed {seed}, {outcome.seconds:.1f} s: {'; '.join(outcome.sentences)}", flush=True)
            for finding in outcome.findings:
                print(f"    {finding.invariant}: {finding.seen}", flush=True)
            new = sums.add(seed, outcome)
            if new and arguments.shorten:
                explain_kinds(world, sequence, outcome, new)
        print(format_table(sums, world.crashes.places))


def explain_kinds(world: World, sequence: list[Operation], outcome: Outcome, kinds: Collection[str]) -> None:
    """Shorten the sequence for each invariant of these kinds, and print what is left."""
    for invariant in sorted({kind.partition(":")[0] for kind in kinds}):
        found = [finding for finding in outcome.findings if finding.invariant == invariant and finding.kind in kinds]
        text = describe_failure(world, sequence, Outcome(found), {invariant})
        print("    shortest for " + text.replace("\n", "\n      "), flush=True)


def format_table(sums: Sums, crashes: Counter[str]) -> str:
    """What was done, and what was found."""
    lines = ["", "| | |", "|---|---:|", f"| sequences | {sums.sequences} |", f"| seconds | {sums.seconds:.0f} |"]
    lines += [f"| {name.replace('_', ' ')} | {number} |" for name, number in sorted(sums.operations.items())]
    lines += [f"| crashes at: {place} | {number} |" for place, number in sorted(crashes.items())]
    lines += [f"| **sequences with findings** | {sums.with_findings} |"]
    lines += [f"| **{name.replace('_', ' ')}**: not so | {number} |" for name, number in sums.findings.most_common()]
    lines += ["", *(f"seed {seed}: {kind}" for kind, seed in sums.kinds.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
