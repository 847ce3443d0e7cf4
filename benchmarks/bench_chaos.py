"""Kills without end: studies flow in while parts are killed, stopped, cut off, or find the disk full.

    .venv/bin/python -m benchmarks.bench_chaos [--ground one_machine cluster] [--seeds 1 2 …] [--studies N]
        [--blows N] [--pace S] [--runs FILE]

Each seed is a run of its own (tests/chaos/): studies are sent by C-STORE, and again where they were not
acknowledged; blows fall about every PACE seconds; then everything comes to rest and is judged. The
tables sum up all runs in FILE (JSON lines), also those of earlier calls: a long run can be done in parts;
`--seeds` alone only prints them.
"""

import argparse
import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from chaos import grounds
from chaos.flow import Run, flow

GROUNDS = {"one_machine": grounds.one_machine, "cluster": grounds.cluster}
FINDINGS = ("lost", "doubled", "stuck", "orphans")


def main() -> None:
    """Run each seed on each ground, append each run to the file; print the tables of all runs in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ground", nargs="+", default=["one_machine", "cluster"], choices=GROUNDS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[1])
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--blows", type=int, default=150)
    parser.add_argument("--pace", type=float, default=0.7)
    parser.add_argument("--rest", type=float, default=180)
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir(), "minipacs-chaos.jsonl"))
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for name in arguments.ground:
            run = run_seed(name, seed, arguments)
            with arguments.runs.open("a") as stream:
                stream.write(json.dumps(run_as_json(name, run)) + "\n")
            print(f"{name}, seed {seed}: {run.struck.total()} blows, {run.verdict}", flush=True)
    runs = [json.loads(line) for line in arguments.runs.read_text().splitlines()]
    print(format_runs(runs), format_sums(runs), sep="\n\n")


def run_seed(name: str, seed: int, arguments: argparse.Namespace) -> Run:
    """One run in a folder of its own; the folder is kept when something was found."""
    folder = Path(tempfile.mkdtemp(prefix=f"minipacs-chaos-{name}-{seed}-"))
    with GROUNDS[name](folder / "home", seed) as ground:
        run = flow(
            ground,
            seed,
            studies=arguments.studies,
            pace_s=arguments.pace,
            limit=arguments.blows,
            rest_s=arguments.rest,
            source=folder / "source",
        )
        if not run.verdict.is_well:  # the disk of its own goes with the ground
            shutil.copytree(folder / "home", folder / "kept", ignore=shutil.ignore_patterns("storage", "ballast"))
    if run.verdict.is_well:
        shutil.rmtree(folder)
    else:
        print(f"kept: {folder}")
    return run


def run_as_json(name: str, run: Run) -> dict[str, Any]:
    """A run as a line of the file."""
    return {"ground": name, **vars(run), "verdict": vars(run.verdict)}


def format_runs(runs: list[dict[str, Any]]) -> str:
    """A line for each run: what flowed, what fell on it, what was found."""
    lines = [
        "| ground | seed | studies | C-STORE acknowledged (refused) | blows | s under blows, to rest | found |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for run in runs:
        found = [f"{len(run['verdict'][finding])} {finding}" for finding in FINDINGS if run["verdict"][finding]]
        columns = (
            *(run["ground"], run["seed"], run["studies"], f"{run['acknowledged']} ({run['refused']})"),
            *(sum(run["struck"].values()), f"{run['under_blows_s']:.0f}, {run['to_rest_s']:.0f}"),
            ", ".join(found) or "nothing",
        )
        lines.append(f"| {' | '.join(map(str, columns))} |")
    return "\n".join(lines)


def format_sums(runs: list[dict[str, Any]]) -> str:
    """By ground: runs, studies, blows of each kind, and what was found."""
    lines = []
    kinds = sorted({kind for run in runs for kind in run["struck"]})
    names = sorted({run["ground"] for run in runs})
    lines.append(f"| | {' | '.join(names)} | all |\n|---|{'---:|' * (len(names) + 1)}")
    groups = [[run for run in runs if run["ground"] == name] for name in names] + [runs]

    def row(title: str, values: list[int]) -> None:
        lines.append(f"| {title} | {' | '.join(map(str, values))} |")

    row("runs", [len(group) for group in groups])
    row("studies", [sum(run["studies"] for run in group) for group in groups])
    struck = [sum((Counter(run["struck"]) for run in group), Counter[str]()) for group in groups]
    for kind in kinds:
        row(kind, [counts[kind] for counts in struck])
    row("**all blows**", [counts.total() for counts in struck])
    for finding in FINDINGS:
        row(f"**{finding}**", [sum(len(run["verdict"][finding]) for run in group) for group in groups])
    return "\n".join(lines)


if __name__ == "__main__":
    main()
