"""`minipacs group …`: groups of studies, and who sees them."""

import argparse
from contextlib import closing

from minipacs.audit.command_act import CommandAct
from minipacs.settings import Settings

HELP = "groups of studies and who sees them: create, remove, list, add, remove-from, restrict, unrestrict"


def configure(parser: argparse.ArgumentParser) -> None:
    """create, remove, list; add and remove-from for members and studies; restrict and unrestrict a user or a token."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a group")
    create.add_argument("name", metavar="GROUP")
    create.add_argument("--description", default="", help="what it is for")
    remove = actions.add_parser("remove", help="remove a group; its studies and members stay")
    remove.add_argument("name", metavar="GROUP")
    actions.add_parser("list", help="groups, their members, and how many studies they have")

    put_in, take_out = "put users, tokens and studies into a group", "take users, tokens and studies out of a group"
    for change in (
        actions.add_parser("add", help=put_in),
        actions.add_parser("remove-from", help=take_out),
        actions.add_parser("take"),  # the older name of remove-from, which help does not show
    ):
        change.add_argument("name", metavar="GROUP")
        change.add_argument("--member", action="append", default=[], help="a user's name, or token:NAME")
        change.add_argument("--study", action="append", default=[], metavar="UID", help="a Study Instance UID")

    for action, what in (("restrict", "see the studies of its groups alone"), ("unrestrict", "see all studies")):
        change = actions.add_parser(action, help=f"let a user or a token {what}")
        change.add_argument("name", metavar="MEMBER", help="a user's name, or token:NAME")


def describe_act(arguments: argparse.Namespace) -> CommandAct | None:
    """For the audit: which group or account was changed, and which studies with it."""
    if arguments.action == "list":
        return None
    members = [f"--member {member}" for member in getattr(arguments, "member", ())]
    words = ["group", arguments.action, arguments.name, *members]
    return CommandAct("admin", " ".join(words), tuple(getattr(arguments, "study", ())))


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Change or list groups; every change counts from the next request on."""
    from api.auth import accounts
    from minipacs.database import Database
    from minipacs.groups import membership

    with closing(Database(settings.database_url)) as database:
        database.upgrade_schema()
        match arguments.action:
            case "create":
                membership.create_group(database, arguments.name, arguments.description)
            case "remove":
                membership.remove_group(database, arguments.name)
            case "add":
                for member in arguments.member:
                    accounts.require_account(database, member)
                membership.add_members(database, arguments.name, arguments.member)
                membership.add_studies(database, arguments.name, arguments.study, "minipacs group")
            case "remove-from" | "take":
                membership.remove_members(database, arguments.name, arguments.member)
                membership.remove_studies(database, arguments.name, arguments.study)
            case "restrict" | "unrestrict":
                accounts.set_sees_all(database, arguments.name, arguments.action == "unrestrict")
            case "list":
                for group in membership.list_groups(database):
                    print(f"{group.name}\t{group.studies} studies\t{', '.join(group.members)}")
    return 0
