"""`minipacs engines`: which engines there are, and why one is not available."""

import argparse
import json

from minipacs.jobs.contract import EngineStatus
from minipacs.settings import Settings

HELP = "list the segmentation engines, and what to do for those that are not available"


def configure(parser: argparse.ArgumentParser) -> None:
    """[--json]."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the list; the default engine is marked."""
    from segmentation.registry import list_engines

    for engine in list_engines(settings):
        is_default = engine["name"] == settings.engine
        if arguments.json:
            print(json.dumps({**engine, "default": is_default}))
        else:
            print(_format_engine_line(engine, is_default=is_default))

    return 0


def _format_engine_line(engine: EngineStatus, *, is_default: bool) -> str:
    start = f"{'*' if is_default else ' '} {engine['name']:18s}"
    if engine["available"]:
        return f"{start} available   {engine['version']}   {', '.join(engine['modalities'])}"

    return f"{start} not available: {engine['reason']} {engine['hint']}".rstrip()
