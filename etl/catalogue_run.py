"""A run: what a source lists → what is new of it → rows and PNGs. In chunks, so that memory does not grow."""

import errno
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from sqlalchemy import select

from etl.chunks import iter_chunks
from etl.extract import Reader, ReadResult, Source
from etl.loading.loader import Loader
from etl.options import Options
from etl.records import Outcome, RejectionReason, SourceItem, SourceUnavailable
from etl.tally import Tally
from etl.transform import transform
from minipacs.catalogue import Instance, Rejection
from minipacs.database import Database
from minipacs.errors import ExceedsMemory, MinipacsError
from minipacs.jobs.pool_security import load_pool_security
from minipacs.memory.size_limits import current_limits, use_size_limits
from minipacs.settings import Settings
from minipacs.temporary_folders import temporary_folder

__all__ = ["ReportProgress", "connect_to_dask_cluster", "load_source_into_catalogue", "transform_chunk"]

ITEMS_PER_TRANSACTION = 64
"""The most that a killed run does again."""

ITEMS_PER_LOOKUP = 512
"""Items looked up in the catalogue at once."""

CHUNKS_UNDER_WAY_PER_WORKER = 2
MAX_CHUNKS_UNDER_WAY_ON_CLUSTER = 32
"""Both bound the memory of this process."""

CLUSTER_TIMEOUT = "10s"
"""Longest wait for a scheduler; Dask uses it up where nobody answers."""

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
"""What people can mend: the disk is full, or may not be written to."""

ReportProgress = Callable[[Tally], None]
"""Called with the tally so far, after each step of a run."""


def load_source_into_catalogue(
    source: Source,
    database: Database,
    options: Options,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    progress: ReportProgress = lambda _tally: None,
) -> Tally:
    """Catalogue and render what is new in a source; what is there and unchanged is not even read.

    `workers` > 1 makes processes of this machine; an `executor` (of a Dask client, say) is used as it is.
    """
    tally = Tally()
    loader = Loader(database, options)
    max_under_way = CHUNKS_UNDER_WAY_PER_WORKER * workers if executor is None else MAX_CHUNKS_UNDER_WAY_ON_CLUSTER
    under_way: deque[Future[list[Outcome]]] = deque()

    with (
        _translate_worker_and_disk_errors(),
        temporary_folder(options.target) as folder,
        _open_executor(workers, executor) as pool,
    ):
        transform_items = partial(transform_chunk, source.reader, options=options, folder=folder)

        def load(outcomes: list[Outcome]) -> None:
            tally.add(loader.load(outcomes, folder))
            progress(tally)

        for items in iter_chunks(source.list_items(), ITEMS_PER_LOOKUP):
            new_items = _select_new_or_changed_items(database, items, options, tally)
            progress(tally)

            for chunk in iter_chunks(new_items, ITEMS_PER_TRANSACTION):
                if pool is None:
                    load(transform_items(chunk))
                    continue
                under_way.append(pool.submit(transform_items, chunk))
                while len(under_way) > max_under_way:
                    load(under_way.popleft().result())

        while under_way:
            load(under_way.popleft().result())

    return tally


def transform_chunk(reader: Reader, items: Sequence[SourceItem], *, options: Options, folder: Path) -> list[Outcome]:
    """Read, describe and render some items; runs in a worker process."""
    return [_transform_item(item, data, options, folder) for item, data in reader.read(items)]


def _transform_item(item: SourceItem, data: ReadResult, options: Options, folder: Path) -> Outcome:
    if isinstance(data, SourceUnavailable):
        reason = RejectionReason("unavailable", str(data), "Make it readable, or remove it.")
        return Outcome(item, rejection=reason)
    if isinstance(data, ExceedsMemory):
        return Outcome(item, rejection=RejectionReason.of_error("too_large", data))
    return transform(item, data, options, folder)


def _select_new_or_changed_items(
    database: Database, items: Sequence[SourceItem], options: Options, tally: Tally
) -> list[SourceItem]:
    """Those of these items that are not in the catalogue as they are now; the others are added to the tally."""
    sources = [item.source for item in items]
    instances = select(Instance.source, Instance.source_size, Instance.source_mtime_ns, Instance.rendered_with).where(
        Instance.source.in_(sources)
    )
    rejections = select(Rejection.source, Rejection.source_size, Rejection.source_mtime_ns, Rejection.code).where(
        Rejection.source.in_(sources), Rejection.options == options.digest
    )
    to_repeat = select(Rejection.source).where(Rejection.source.in_(sources), Rejection.options.is_(None))

    with database.reading() as session:
        catalogued = {
            SourceItem(source, size, mtime_ns)
            for source, size, mtime_ns, digests in session.execute(instances)
            if options.digest in (digests or [])
        }
        rejected = {
            SourceItem(source, size, mtime_ns): code
            for source, size, mtime_ns, code in session.execute(rejections)
            if code != "unavailable"
        }
        repeated = set(session.scalars(to_repeat))

    catalogued = {item for item in catalogued if item.source not in repeated}
    tally.rejected.update(Counter(rejected[item] for item in items if item in rejected))
    tally.unchanged += sum(item in catalogued and item not in rejected for item in items)
    return [item for item in items if item not in catalogued and item not in rejected]


@contextmanager
def connect_to_dask_cluster(settings: Settings) -> Iterator[Executor | None]:
    """Open the Dask cluster of the settings as an executor; None where they name no scheduler.

    Its workers read the source and write PNGs themselves: both must lie where every worker finds them.
    """
    if not settings.scheduler:
        yield None
        return

    from distributed import Client

    security = load_pool_security(settings)
    try:
        client = Client(settings.scheduler, security=security, timeout=CLUSTER_TIMEOUT)
    except OSError as error:
        raise MinipacsError(
            f"No Dask scheduler answers at {settings.scheduler}.", "Start it, or correct MINIPACS_SCHEDULER."
        ) from error
    with client:
        yield client.get_executor(pure=False)


def _open_executor(workers: int, executor: Executor | None) -> AbstractContextManager[Executor | None]:
    """The executor that is given, or one of processes; None when this process does the work."""
    if executor is not None or workers < 2:
        return nullcontext(executor)

    context = get_context("forkserver")
    context.set_forkserver_preload(["etl.catalogue_run"])  # imported once, not once a worker
    return ProcessPoolExecutor(workers, context, use_size_limits, (current_limits(),))


@contextmanager
def _translate_worker_and_disk_errors() -> Iterator[None]:
    """Turn the errors of workers and of the disk into sentences with a remedy."""
    try:
        yield
    except BrokenExecutor as error:
        raise MinipacsError(
            "A worker process died while it decoded an image.", "Run it again with --workers 1 to see which."
        ) from error
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise MinipacsError(
            f"PNGs cannot be written: {error.strerror}.", "Free disk space, or choose another folder; then run again."
        ) from error
