"""`minipacs token …`: API tokens for scripts."""

import argparse

from minipacs.settings import Settings

HELP = "API tokens for `Authorization: Bearer`: create, list, revoke"
ROLES = ("viewer", "annotator", "operator", "admin")


def configure(parser: argparse.ArgumentParser) -> None:
    """create NAME [--role], list, revoke NAME."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a token and print it: the only time it is seen")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--role", choices=ROLES, default="viewer", help="default: %(default)s")
    actions.add_parser("list", help="names, roles and dates")
    revoke = actions.add_parser("revoke", help="make a token worthless")
    revoke.add_argument("name", metavar="NAME")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Do it; `create` prints the token and nothing else on stdout."""
    from datetime import UTC, datetime

    from api.auth import accounts
    from minipacs.database import Database

    database = Database(settings.database_url)
    database.create()
    try:
        if arguments.action == "create":
            print(accounts.create_token(database, arguments.name, arguments.role))
        elif arguments.action == "revoke":
            accounts.revoke_token(database, arguments.name)
        else:
            for token in accounts.list_tokens(database):
                made = datetime.fromtimestamp(token.created, UTC).isoformat(timespec="seconds")
                print(f"{token.name}\t{token.role}\t{made}")
    finally:
        database.close()
    return 0
