"""Jobs on one machine (SQLite, embedded pool) and on a cluster (PostgreSQL, scheduler, two workers), side by side.

    .venv/bin/python -m benchmarks.bench_jobs [--environment one_machine cluster]
        [--part stages overhead recovery idle etl]

Stages: one small study, from its last C-STORE to its SEG in the catalogue. Overhead: jobs that do nothing.
Recovery: from `kill -9` of a part until what it did is done again. Idle: CPU time and memory of all processes.
ETL: 64 studies with one worker and with two.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
from sqlalchemy import func, select

from benchmarks import ROOT
from benchmarks.lib import idle_work
from chaos import environments
from chaos.environments import Environment
from chaos.product import Product
from chaos.studies import write_studies
from chaos.study_sender import StudySender
from minipacs.jobs.contract import Order
from minipacs.jobs.queue import JobQueue
from minipacs.jobs.record import Job
from minipacs.local.phantom import write_chest_ct
from waiting import until

ENVIRONMENTS = {"one_machine": environments.one_machine, "cluster": environments.cluster}
EMPTY_JOBS = 200
IDLE_S = 60.0
KILLS = 3
"""Kills of each kind; the median counts."""

ETL = "etl"
STUDIES = 64
SLICES = 16
NO_PLANNING = {"engine": "none", "stable_age_s": 3600, "quiet_s": 3600, "reconcile_s": 3600}
"""Settings under which nothing is queued but by us."""
NO_KILLS = ("disk full", "network cut", "child", "up")
"""Faults that are not the kill of one part."""
Row = tuple[str, str]


def main() -> None:
    """Measure every part on every environment; print a column for each environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", nargs="+", default=list(ENVIRONMENTS), choices=ENVIRONMENTS)
    parser.add_argument("--part", nargs="+", default=[*PARTS, ETL], choices=[*PARTS, ETL])
    arguments = parser.parse_args()
    columns = {name: measure_environment(name, arguments.part) for name in arguments.environment}
    titles = list(dict.fromkeys(title for rows in columns.values() for title in rows))
    print(f"| | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    for title in titles:
        print(f"| {title} | {' | '.join(rows.get(title, '–') for rows in columns.values())} |")


def measure_environment(name: str, parts: list[str]) -> dict[str, str]:
    """Measure the parts on one environment; its figures by title."""
    rows: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix=f"minipacs-jobs-{name}-") as folder:
        if ETL in parts:
            rows |= measure_etl(name, Path(folder))
            parts = [part for part in parts if part != ETL]
        if not parts:
            return rows
        work = Path(folder, "work")
        idle_work.install_package(work)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(work), str(ROOT), os.environ.get("PYTHONPATH", "")])
        with (
            ENVIRONMENTS[name](Path(folder, "home"), 1, poll_s=1.0) as environment,
            Product(environment.settings) as product,
        ):
            submit_jobs(product, 2, seconds=5, name="first")  # until every worker is there
            until(lambda: count_done(product, "first") == 2, 60)
            for part in parts:
                for title, value in PARTS[part](environment, product, Path(folder)):
                    print(f"{name}: {title}: {value}", file=sys.stderr, flush=True)
                    rows[title] = value
    return rows


# -- stages -----------------------------------------------------------------------------------------
def measure_stages(_environment: Environment, product: Product, folder: Path) -> list[Row]:
    """When each thing happened to the second study, after the last C-STORE; the first one warms up."""
    jobs = JobQueue(product.database)
    for study in write_studies(folder / "stages", 7, 2):
        sender = StudySender([study], product.settings, 0)
        sender.start()
        sender.join()
        sent = time.time()
        until(partial(is_done, jobs, study.study_instance_uid), 120)
    rows = jobs.find_jobs_of_study(study.study_instance_uid)
    first = {kind: next(j for j in rows if j.kind == kind) for kind in ("catalogue", "segment")}
    last = [j for j in rows if j.kind == "catalogue"][-1]
    moments = {
        f"stable and queued ({product.settings.stable_age_s} s of quiet time)": first["segment"].created,
        "segmentation begun": first["segment"].started,
        "images catalogued": first["catalogue"].finished,
        "SEG and SR stored": first["segment"].finished,
        "SEG and SR catalogued": last.finished,
    }
    return [(f"last C-STORE → {name}, s", f"{float(at or 0) - sent:.1f}") for name, at in moments.items()]


def is_done(jobs: JobQueue, uid: str) -> bool:
    """Whether the study was catalogued, segmented, and catalogued with its results."""
    rows = jobs.find_jobs_of_study(uid)
    return len(rows) >= 3 and all(job.state == "done" for job in rows)


# -- overhead ---------------------------------------------------------------------------------------
def measure_overhead(_environment: Environment, product: Product, _folder: Path) -> list[Row]:
    """Wall time of many jobs that do nothing, in two workers."""
    submit_jobs(product, EMPTY_JOBS, seconds=0, name="nothing")
    until(lambda: count_done(product, "nothing") == EMPTY_JOBS, 300)
    with product.database.reading() as session:
        mine = select(func.min(Job.started), func.max(Job.finished)).where(Job.study_instance_uid == "nothing")
        started, finished = session.execute(mine).one()
    each_ms = (finished - started) / EMPTY_JOBS * 1000
    submit_jobs(product, 1, seconds=0, name="alone")
    (alone,) = until(
        lambda: [j for j in JobQueue(product.database).find_jobs_of_study("alone") if j.state == "done"], 30
    )
    return [
        (f"overhead of a job, {EMPTY_JOBS} in a row, ms", f"{each_ms:.0f}"),
        ("one job alone, queued → done, ms", f"{(alone.finished - alone.created) * 1000:.0f}"),
    ]


def submit_jobs(product: Product, count: int, *, seconds: float, name: str) -> None:
    """Queue jobs as the front door does."""
    jobs = JobQueue(product.database, attempt_limit=100)
    with product.database.writing() as session:
        for number in range(count):
            key = f"{idle_work.KIND}/{name}/{number}/{time.time()}"
            jobs.submit(session, Order(idle_work.KIND, key, name, {"seconds": seconds}))


def count_done(product: Product, name: str) -> int:
    """Jobs of this name that are done."""
    with product.database.reading() as session:
        mine = select(func.count()).select_from(Job).where(Job.study_instance_uid == name, Job.state == "done")
        return int(session.scalars(mine).one())


# -- idle -------------------------------------------------------------------------------------------
def measure_idle(_environment: Environment, product: Product, _folder: Path) -> list[Row]:
    """CPU time a minute costs when nothing is to be done, and memory that is nobody else's (USS)."""
    processes = product.find_processes()
    before = sum(cpu_seconds(process) for process in processes)
    time.sleep(IDLE_S)
    share = (sum(cpu_seconds(process) for process in processes) - before) / IDLE_S
    megabytes = sum(process.memory_full_info().uss for process in processes) / 2**20
    return [
        ("idle: CPU, % of a core", f"{100 * share:.1f}"),
        ("idle: memory, MB (processes)", f"{megabytes:.0f} ({len(processes)})"),
    ]


def cpu_seconds(process: psutil.Process) -> float:
    """CPU seconds so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


# -- recovery ---------------------------------------------------------------------------------------
def measure_recovery(environment: Environment, product: Product, _folder: Path) -> list[Row]:
    """Kill a part; until the jobs that ran then run again, or a new one does, and everything answers."""
    kinds = [kind for kind in environment.faults(product) if kind not in NO_KILLS]
    rows = []
    for kind in kinds:
        times = [time_recovery(environment, product, kind) for _ in range(KILLS)]
        rows.append((f"recovery after a kill of: {kind}, s (worst)", format_spread(times)))
    return rows


def format_spread(times: list[float]) -> str:
    """The median, and the worst in brackets."""
    return f"{statistics.median(times):.1f} ({max(times):.1f})"


def time_recovery(environment: Environment, product: Product, kind: str) -> float:
    """Seconds from the kill until two jobs run that began after it, or never stopped, and everything answers."""
    name = f"{kind} {time.time()}"
    submit_jobs(product, 2, seconds=60, name=name)
    jobs = JobQueue(product.database)
    until(lambda: [j.state for j in jobs.find_jobs_of_study(name)] == ["running"] * 2, 60)
    inject = environment.faults(product)[kind]
    killed_at = time.monotonic()
    inject()
    until(lambda: product.is_ready() and are_both_running(product, jobs, name), 120)
    taken = time.monotonic() - killed_at
    for job in jobs.find_jobs_of_study(name):
        jobs.cancel(job.id)
    until(lambda: all(j.state not in ("queued", "running") for j in jobs.find_jobs_of_study(name)), 60)
    return taken


def are_both_running(product: Product, jobs: JobQueue, name: str) -> bool:
    """Whether both jobs run, in processes that are there."""
    rows = jobs.find_jobs_of_study(name)
    pids = {process.pid for process in product.find_processes() if is_running(process)}
    return all(j.state == "running" and int(str(j.worker).split("/")[1]) in pids for j in rows)


# -- ETL, one worker and two ------------------------------------------------------------------------
def measure_etl(name: str, folder: Path) -> dict[str, str]:
    """The time of the same ETL jobs with one worker and with two, twice each in turn; the better of each counts."""
    source = folder / "etl"
    for number in range(STUDIES):
        write_chest_ct(source / str(number), patient_id=f"ETL-{number}", slices=SLICES)
    times: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(2):
        for workers in times:
            with ENVIRONMENTS[name](folder / f"etl-{turn}-{workers}", 1, workers=workers, **NO_PLANNING) as environment:
                times[workers].append(time_catalogue_jobs(environment, source))
    one, two = (min(times[workers]) for workers in (1, 2))
    return {
        f"{STUDIES} ETL jobs of {SLICES} images, 1 worker, s": f"{one:.1f}",
        f"{STUDIES} ETL jobs of {SLICES} images, 2 workers, s": f"{two:.1f} ({two / one:.2f} ×)",
    }


def time_catalogue_jobs(environment: Environment, source: Path) -> float:
    """Seconds from queueing all studies of a folder to the last one's end."""
    from etl.work import orders

    with Product(environment.settings) as product:
        for file in source.rglob("*.dcm"):
            product.archive.store_file(file.read_bytes())
        studies = [product.archive.read_study(study_id) for study_id in product.archive.list_study_ids()]
        jobs = JobQueue(product.database)
        with product.database.writing() as session:
            for study in studies:
                for order in orders(study, environment.settings):
                    jobs.submit(session, order)
        counted = select(func.count()).select_from(Job).where(Job.state == "done")

        def all_done() -> bool:
            with product.database.reading() as session:
                return bool(session.scalars(counted).one() == len(studies))

        until(all_done, 300)
        with product.database.reading() as session:
            first, last = session.execute(select(func.min(Job.created), func.max(Job.finished))).one()
    return float(last - first)


def is_running(process: psutil.Process) -> bool:
    """Whether the process is there and goes on."""
    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


PARTS: dict[str, Callable[[Environment, Product, Path], list[Row]]] = {
    "stages": measure_stages,
    "overhead": measure_overhead,
    "recovery": measure_recovery,
    "idle": measure_idle,
}

if __name__ == "__main__":
    main()
