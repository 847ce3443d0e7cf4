"""`minipacs …`: every command is a module found under the entry point group `minipacs.commands`.

A command module has `HELP`, `configure(parser)` and `run(arguments, settings) -> exit code`. Only the
command in use is imported; help needs them all. An error of ours becomes one sentence on stderr and exit code 1.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Protocol

from minipacs import __version__, logging_setup
from minipacs.audit.command_act import CommandAct
from minipacs.errors import MinipacsError
from minipacs.files import keep_home_owner, restrict_new_files
from minipacs.memory.size_limits import apply_size_limits
from minipacs.settings import (
    Settings,
    describe_renamed_settings,
    read_environment,
    remove_secrets_from_environment,
)

log = logging.getLogger(__name__)


class Command(Protocol):
    """A module with these names; where it also has `describe_act(arguments)`, what it does is audited."""

    HELP: str

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""

    def run(self, arguments: argparse.Namespace, settings: Settings) -> int:
        """Run the command; its exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names; print an error of ours as one sentence. The exit code."""
    restrict_new_files()
    parser = argparse.ArgumentParser(prog="minipacs", description="A mini-PACS that thinks.")
    parser.add_argument("--version", action="version", version=f"minipacs {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands = _load_commands((sys.argv[1:] if argv is None else argv)[:1])
    for name, command in commands.items():
        command.configure(subparsers.add_parser(name, help=command.HELP, description=command.HELP))
    arguments = parser.parse_args(argv)
    try:
        settings = Settings.from_env()
        keep_home_owner(settings.home)
        logging_setup.set_up(settings)
        apply_size_limits(settings)
        for sentence in describe_renamed_settings(read_environment()):
            log.warning("%s", sentence)
        remove_secrets_from_environment()
        return run_command(commands[arguments.command], arguments, settings)
    except MinipacsError as error:
        print(f"minipacs {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def run_command(command: Command, arguments: argparse.Namespace, settings: Settings) -> int:
    """Run a command; one that says what it does (`describe_act`) is audited."""
    describe_act: Callable[[argparse.Namespace], CommandAct | None] = getattr(command, "describe_act", lambda _: None)
    act = describe_act(arguments)
    if act is None:
        return command.run(arguments, settings)

    from minipacs.audit.command_audit import run_audited

    return run_audited(settings, act, lambda: command.run(arguments, settings))


def _load_commands(names: Sequence[str]) -> dict[str, Command]:
    """The commands of these names; all where there is none. One that cannot be imported is left out, and said."""
    found: dict[str, Command] = {}
    points = sorted(entry_points(group="minipacs.commands"), key=lambda p: p.name)
    for point in [p for p in points if p.name in names] or points:
        try:
            found[point.name] = point.load()
        except ImportError as error:
            print(f"minipacs: command {point.name} is missing a part ({error}).", file=sys.stderr)
    return found


if __name__ == "__main__":
    sys.exit(main())
