"""`minipacs engines`: which engines there are, and why one is not available."""

import argparse
import json
from dataclasses import asdict

from minipacs.settings import Settings

HELP = "list the segmentation engines, and what to do for those that are not available"


def configure(parser: argparse.ArgumentParser) -> None:
    """[--json]."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the list; the default engine is marked."""
    from segmentation.registry import listing

    for engine in listing(settings):
        if arguments.json:
            print(json.dumps({**asdict(engine), "default": engine.name == settings.engine}))
            continue
        mark = "*" if engine.name == settings.engine else " "
        if engine.available:
            print(f"{mark} {engine.name:18s} available   {engine.version}   {', '.join(engine.modalities)}")
        else:
            print(f"{mark} {engine.name:18s} not available: {engine.reason} {engine.hint}".rstrip())
    return 0
