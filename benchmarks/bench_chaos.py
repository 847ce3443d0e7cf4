"""Fault injection: studies are sent while parts are killed or stopped, the network is cut, and the disk is full.

    .venv/bin/python -m benchmarks.bench_chaos [--environment one_machine cluster] [--seeds 1 2 …] [--studies N]
        [--faults N] [--pace S] [--stuck-after S] [--runs FILE]

Each seed is a run of its own (tests/chaos/): studies are sent by C-STORE, and again where they were not
acknowledged, while a fault is injected about every PACE seconds. When all work is done, or no job has ended for
STUCK-AFTER seconds, archive, catalogue, jobs and files are checked. The tables sum up all runs in FILE (JSON
lines), also those of earlier calls: a long run can be done in parts; `--seeds` alone only prints them.
"""

import argparse
import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from chaos import environments
from chaos.scenario import Run, run_scenario

ENVIRONMENTS = {"one_machine": environments.one_machine, "cluster": environments.cluster}
FINDINGS = ("lost", "duplicated", "stuck", "orphans")


def main() -> None:
    """Run each seed on each environment, append each run to the file; print the tables of all runs in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", nargs="+", default=["one_machine", "cluster"], choices=ENVIRONMENTS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[1])
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--faults", type=int, default=150)
    parser.add_argument("--pace", type=float, default=0.7)
    parser.add_argument("--stuck-after", type=float, default=180)
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir(), "minipacs-fault-injection.jsonl"))
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for name in arguments.environment:
            run = run_seed(name, seed, arguments)
            with arguments.runs.open("a") as stream:
                stream.write(json.dumps(run_as_json(name, run)) + "\n")
            print(f"{name}, seed {seed}: {run.faults.total()} faults, {run.result}", flush=True)
    runs = [json.loads(line) for line in arguments.runs.read_text().splitlines()]
    print(format_runs(runs), format_sums(runs), sep="\n\n")


def run_seed(name: str, seed: int, arguments: argparse.Namespace) -> Run:
    """One run in a folder of its own; the folder is kept when something was found."""
    folder = Path(tempfile.mkdtemp(prefix=f"minipacs-chaos-{name}-{seed}-"))
    with ENVIRONMENTS[name](folder / "home", seed) as environment:
        run = run_scenario(
            environment,
            seed,
            studies=arguments.studies,
            pace_s=arguments.pace,
            fault_limit=arguments.faults,
            stuck_after_s=arguments.stuck_after,
            source=folder / "source",
        )
        if not run.result.is_ok:  # the environment's own disk is unmounted at its end
            shutil.copytree(folder / "home", folder / "kept", ignore=shutil.ignore_patterns("storage", "ballast"))
    if run.result.is_ok:
        shutil.rmtree(folder)
    else:
        print(f"kept: {folder}")
    return run


def run_as_json(name: str, run: Run) -> dict[str, Any]:
    """A run as a line of the file."""
    return {"environment": name, **vars(run), "result": vars(run.result)}


def format_runs(runs: list[dict[str, Any]]) -> str:
    """A line for each run: what was sent, how many faults were injected, what was found."""
    lines = [
        "| environment | seed | studies | C-STORE acknowledged (refused) | faults | s with faults, then | found |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for run in runs:
        found = [f"{len(run['result'][finding])} {finding}" for finding in FINDINGS if run["result"][finding]]
        columns = (
            *(run["environment"], run["seed"], run["studies"], f"{run['acknowledged']} ({run['refused']})"),
            *(sum(run["faults"].values()), f"{run['with_faults_s']:.0f}, {run['to_idle_s']:.0f}"),
            ", ".join(found) or "nothing",
        )
        lines.append(f"| {' | '.join(map(str, columns))} |")
    return "\n".join(lines)


def format_sums(runs: list[dict[str, Any]]) -> str:
    """By environment: runs, studies, faults of each kind, and what was found."""
    lines = []
    kinds = sorted({kind for run in runs for kind in run["faults"]})
    names = sorted({run["environment"] for run in runs})
    lines.append(f"| | {' | '.join(names)} | all |\n|---|{'---:|' * (len(names) + 1)}")
    groups = [[run for run in runs if run["environment"] == name] for name in names] + [runs]

    def row(title: str, values: list[int]) -> None:
        lines.append(f"| {title} | {' | '.join(map(str, values))} |")

    row("runs", [len(group) for group in groups])
    row("studies", [sum(run["studies"] for run in group) for group in groups])
    faults = [sum((Counter(run["faults"]) for run in group), Counter[str]()) for group in groups]
    for kind in kinds:
        row(kind, [counts[kind] for counts in faults])
    row("**all faults**", [counts.total() for counts in faults])
    for finding in FINDINGS:
        row(f"**{finding}**", [sum(len(run["result"][finding]) for run in group) for group in groups])
    return "\n".join(lines)


if __name__ == "__main__":
    main()
