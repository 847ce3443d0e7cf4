"""`minipacs audit verify`: is every entry there, as it was written?"""

import argparse
import sys
from contextlib import closing

from minipacs.audit.command_act import CommandAct
from minipacs.settings import Settings

HELP = "verify the audit: every entry is there, as it was written"


def configure(parser: argparse.ArgumentParser) -> None:
    """verify."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("verify", help="read the whole audit; name the first entry that is not as it was written")


def describe_act(arguments: argparse.Namespace) -> CommandAct:
    """For the audit."""
    return CommandAct("audit", f"audit {arguments.action}")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """0 where the chain holds, 1 where it is broken."""
    from minipacs.audit.verification import check_schema, explain, verify_chain
    from minipacs.database import Database

    with closing(Database(settings.database_url)) as database:
        check_schema(database)
        found = verify_chain(database, settings.home)
    if found.broken is None:
        print(f"audit: {explain(found)}.")
        return 0
    print(f"audit: {explain(found)}. {found.broken.remedy}", file=sys.stderr)
    return 1
