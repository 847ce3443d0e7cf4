"""`minipacs doctor`: check every part, say what is wrong and what to do."""

import argparse
import json
from dataclasses import asdict

from minipacs.settings import Settings

HELP = "check every part; say what is wrong and what to do"


def configure(parser: argparse.ArgumentParser) -> None:
    """[--json]."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print one line for each part; 1 when a part failed, otherwise 0."""
    from minipacs.doctor.machine_checks import run_checks

    failures = 0
    for part, finding in run_checks(settings):
        failures += finding.state == "failed"
        if arguments.json:
            print(json.dumps({"part": part, **asdict(finding)}), flush=True)
        else:
            print(f"{finding.state:8s} {part:13s} {finding.seen}", flush=True)
            if finding.remedy:
                print(f"{'':22s} → {finding.remedy}", flush=True)
    return 1 if failures else 0
