"""`minipacs token …`: API tokens for scripts."""

import argparse
from contextlib import closing

from api.auth.roles import ROLES
from minipacs.audit.command_act import CommandAct
from minipacs.settings import Settings

HELP = "API tokens for `Authorization: Bearer`: create, list, revoke"


def configure(parser: argparse.ArgumentParser) -> None:
    """create NAME [--role], list, revoke NAME."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a token and print it: the only time it is seen")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--role", choices=ROLES, default="viewer", help="default: %(default)s")
    actions.add_parser("list", help="names, roles and dates")
    revoke = actions.add_parser("revoke", help="make a token worthless")
    revoke.add_argument("name", metavar="NAME")


def describe_act(arguments: argparse.Namespace) -> CommandAct:
    """For the audit; the token itself is not in it."""
    return CommandAct("admin", f"token {arguments.action} {getattr(arguments, 'name', '')}".strip())


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Create, list or revoke; `create` prints the token and nothing else on stdout."""
    from api.auth import accounts
    from api.web.row_json import iso_time
    from minipacs.database import Database

    with closing(Database(settings.database_url)) as database:
        database.upgrade_schema()
        match arguments.action:
            case "create":
                print(accounts.create_token(database, arguments.name, arguments.role))
            case "revoke":
                accounts.revoke_token(database, arguments.name)
            case "list":
                for token in accounts.list_tokens(database):
                    print(f"{token.name}\t{token.role}\t{iso_time(token.created)}")
    return 0
