"""`minipacs …`: every command is a module found under the entry point group `minipacs.commands`.

A command module has `HELP`, `configure(parser)` and `run(arguments, settings) -> exit code`. The one that is
asked for is imported alone; help needs them all. An error of ours becomes one sentence on stderr and exit code 1.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Protocol

from minipacs import __version__, logging_setup
from minipacs.errors import MinipacsError
from minipacs.settings import Settings, read_environment, renamed_settings

log = logging.getLogger(__name__)


class Command(Protocol):
    """A module with these names."""

    HELP: str

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""

    def run(self, arguments: argparse.Namespace, settings: Settings) -> int:
        """Do it; the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run, and turn an error of ours into a sentence."""
    parser = argparse.ArgumentParser(prog="minipacs", description="A mini-PACS that thinks.")
    parser.add_argument("--version", action="version", version=f"minipacs {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands = _commands((sys.argv[1:] if argv is None else argv)[:1])
    for name, command in commands.items():
        command.configure(subparsers.add_parser(name, help=command.HELP, description=command.HELP))
    arguments = parser.parse_args(argv)
    try:
        settings = Settings.from_env()
        logging_setup.set_up(settings)
        for sentence in renamed_settings(read_environment()):
            log.warning("%s", sentence)
        return commands[arguments.command].run(arguments, settings)
    except MinipacsError as error:
        print(f"minipacs {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _commands(asked: Sequence[str]) -> dict[str, Command]:
    """The command asked for, else all; what cannot be imported is left out with a word."""
    found: dict[str, Command] = {}
    points = sorted(entry_points(group="minipacs.commands"), key=lambda p: p.name)
    for point in [p for p in points if p.name in asked] or points:
        try:
            found[point.name] = point.load()
        except ImportError as error:
            print(f"minipacs: command {point.name} is missing a part ({error}).", file=sys.stderr)
    return found


if __name__ == "__main__":
    sys.exit(main())
