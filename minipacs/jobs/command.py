"""`minipacs jobs`: list, cancel, retry."""

import argparse
import json

from sqlalchemy import select

from minipacs.audit.command_act import CommandAct
from minipacs.database import Database
from minipacs.errors import BadRequest
from minipacs.jobs.queue import JobQueue
from minipacs.jobs.record import STATES, Job
from minipacs.settings import Settings

HELP = "list the jobs; cancel or retry one"


def configure(parser: argparse.ArgumentParser) -> None:
    """list [--state S] [--json] | cancel ID | retry ID."""
    parser.add_argument("verb", nargs="?", choices=("list", "cancel", "retry"), default="list")
    parser.add_argument("id", nargs="?", type=int, help="number of the job")
    parser.add_argument("--state", choices=STATES, help="only jobs in this state")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def describe_act(arguments: argparse.Namespace) -> CommandAct | None:
    """For the audit; a list discloses studies, too."""
    is_list = arguments.verb == "list"
    return CommandAct("search" if is_list else "job", f"jobs {arguments.verb} {arguments.id or ''}".strip())


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """List the jobs, or cancel or retry one; 0 then."""
    database = Database(settings.database_url)
    database.upgrade_schema()
    jobs = JobQueue(database)
    try:
        if arguments.verb == "list":
            _print_jobs(database, arguments.state, as_json=arguments.json)
            return 0
        if arguments.id is None:
            raise BadRequest(f"minipacs jobs {arguments.verb} needs a job's number.", "minipacs jobs lists them.")
        jobs.get(arguments.id)
        if arguments.verb == "cancel":
            jobs.cancel(arguments.id)
        elif not jobs.retry(arguments.id):
            raise BadRequest(f"Job {arguments.id} is queued or running already.", "Wait for it, or cancel it.")
        return 0
    finally:
        database.close()


def _print_jobs(database: Database, state: str | None, *, as_json: bool) -> None:
    with database.reading() as session:
        chosen = select(Job).order_by(Job.id)
        for job in session.scalars(chosen.where(Job.state == state) if state else chosen):
            if as_json:
                print(json.dumps({c.name: getattr(job, c.key) for c in Job.__table__.columns}))
            else:
                print(f"{job.id:6d} {job.state:9s} {job.kind:10s} {job.study_instance_uid}  {job.summary}")
