"""Is it alive, is it ready."""

import shutil
from collections.abc import Callable
from typing import TypedDict

from flask import Blueprint
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from api.auth.access import public
from api.context import context
from api.web.describe_route import answers, discloses_nothing
from api.work.segmentation_work import list_engines
from minipacs.errors import EngineUnavailable, MinipacsError
from minipacs.jobs.record import Job

blueprint = Blueprint("health", __name__)


class Alive(TypedDict):
    """That the process answers."""

    status: str


class Readiness(TypedDict):
    """Whether all is ready, and for each check `ok` or what is wrong."""

    status: str
    checks: dict[str, str]


@blueprint.get("/healthz")
@discloses_nothing
@public
@answers(Alive)
def liveness() -> Alive:
    """The process answers."""
    return {"status": "ok"}


@blueprint.get("/readyz")
@discloses_nothing
@answers(Readiness, errors={503: Readiness})
def readiness() -> ResponseReturnValue:
    """Database, archive, engine, disk: each `ok` or a sentence; 503 when one is not."""
    checks = {name: _run_check(check) for name, check in CHECKS.items()}
    fine = all(word == "ok" for word in checks.values())
    return {"status": "ready" if fine else "not ready", "checks": checks}, 200 if fine else 503


def _check_database() -> None:
    with context().database.reading() as session:
        session.scalar(select(Job.id).limit(1))


def _check_archive() -> None:
    context().archive.read_version()


def _check_disk() -> None:
    settings = context().settings
    free_mb = shutil.disk_usage(settings.home).free // 2**20
    if free_mb < settings.reserve_mb:
        raise MinipacsError(f"{free_mb} MB are free, below MINIPACS_RESERVE_MB={settings.reserve_mb}.", "Free some.")


def _check_engine() -> None:
    """The engine for new studies can work; with `none` there is nothing to check."""
    settings = context().settings
    if not settings.automatic_engine:
        return
    engine = next((one for one in list_engines() if one["name"] == settings.automatic_engine), None)
    if engine is None:
        raise EngineUnavailable(f"There is no engine {settings.automatic_engine!r}.", "Correct MINIPACS_ENGINE.")
    if not engine["available"]:
        raise EngineUnavailable(engine["reason"] or "It is not available.", engine["hint"] or "")


CHECKS: dict[str, Callable[[], None]] = {
    "database": _check_database,
    "archive": _check_archive,
    "engine": _check_engine,
    "disk": _check_disk,
}


def _run_check(check: Callable[[], None]) -> str:
    try:
        check()
    except MinipacsError as error:
        return str(error)
    return "ok"
