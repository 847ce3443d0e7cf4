"""`minipacs up`: Orthanc, the job service, the prompt service and the front door on this machine, in the foreground.

`scripts/up` sets the machine up and then comes here. Four child processes are started, watched and
stopped together; each logs to HOME/log. With `--demo` a study is sent and followed to its end.
"""

import argparse
import threading
from pathlib import Path

from minipacs.errors import MinipacsError
from minipacs.settings import Settings
from minipacs.signals import make_stop_event

HELP = "run everything on this machine; --demo sends a study and waits for its segmentation"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
CHECK_INTERVAL_S = 0.2
"""Interval at which it is checked whether a part has ended."""


def configure(parser: argparse.ArgumentParser) -> None:
    """--demo [FOLDER], --exit."""
    parser.add_argument(
        "--demo",
        nargs="?",
        const="",
        default=None,
        metavar="FOLDER",
        help="send this folder's study by C-STORE (a synthetic chest CT when no folder is given) and follow it",
    )
    parser.add_argument("--exit", action="store_true", help="with --demo: stop everything when the study is done")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Start everything, say where it is, wait; 0 after Ctrl+C or a finished demo, otherwise 1 with the reason."""
    from minipacs.local.supervisor import Stack

    stop = make_stop_event()
    say(f"data below {settings.home}")
    with Stack(settings, stop, say) as stack:
        if stop.is_set():
            return 0
        say_addresses(settings)
        if arguments.demo is not None:
            outcome = run_demo(arguments.demo, settings, stop)
            if arguments.exit or stop.is_set():
                return outcome
        while not stop.wait(CHECK_INTERVAL_S):
            stack.restart_ended_parts()
    say("stopped")
    return 0


def run_demo(folder: str, settings: Settings, stop: threading.Event) -> int:
    """Run the demo; 1 when it failed. The reason is said, not raised, so that the system stays up without --exit."""
    from minipacs.local.demo import send_and_follow_study

    try:
        send_and_follow_study(Path(folder) if folder else None, settings, stop, say)
    except MinipacsError as error:
        say(f"demo failed: {error}")
        return 1
    return 0


def say(sentence: str) -> None:
    """One line for the person at the terminal."""
    print(f"minipacs: {sentence}", flush=True)


def say_addresses(settings: Settings) -> None:
    """Say where everything is, and how to log in."""
    first_login = settings.home / "first-login.txt"
    say("ready")
    say(f"  front door   {settings.front_door_url}/   (studies in OHIF: {settings.front_door_url}/ohif/)")
    say(f"  C-STORE      {settings.aet}@<this machine>:{settings.dicom_port}")
    say(f"  log files    {settings.home / 'log'}")
    if settings.admin_password:
        say(f"  login        {settings.admin_user}, password: MINIPACS_ADMIN_PASSWORD")
    elif first_login.exists():
        say(f"  login        {settings.admin_user}, one-time password: {first_login.read_text('utf-8').strip()}")
    else:
        say(f"  login        {settings.admin_user} and the password you chose")
    if settings.http_host not in LOOPBACK and not settings.serves_https:
        say("  warning      passwords and images cross the network readable: `minipacs certificates https` helps")
    say("Ctrl+C stops everything")
