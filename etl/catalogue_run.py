"""A run: what a source finds → what is new of it → rows and pictures. Chunks, so that memory does not grow."""

import errno
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from sqlalchemy import select

from etl.extract import Reader, Source
from etl.load import Loader, Tally, chunked
from etl.options import Options
from etl.records import Outcome, RejectionReason, SourceItem, SourceUnavailable
from etl.transform import transform
from minipacs.catalogue import Instance, Rejection
from minipacs.database import Database
from minipacs.errors import MinipacsError
from minipacs.temporary_folders import scratch

CHUNK = 64
"""Sources in one transaction: the most that a killed run does again."""
LOOK = 512
"""Sources looked up in the catalogue at once."""
FAR = 32
"""Chunks under way on a cluster: the memory of this process, bounded."""

Progress = Callable[[Tally, int], None]
"""Told the tally so far and how many sources were seen."""


def catalogue(
    source: Source,
    database: Database,
    options: Options,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Progress = lambda _tally, _seen: None,
) -> Tally:
    """Catalogue and render what is new in a source; what is there and unchanged is not even read.

    `workers` > 1 makes processes of this machine; an `executor` (of a Dask client, say) is used as it is.
    """
    tally, seen = Tally(), 0
    loader = Loader(database, options)
    with _named(), scratch(options.target) as folder, _executor(workers, executor) as pool:
        do = partial(transform_chunk, source.reader, options=options, folder=folder)
        under_way: deque[Future[list[Outcome]]] = deque()
        for look in chunked(source.list_items(), LOOK):
            fresh = _new_or_changed(database, look, options, tally)
            seen += len(look)
            progress(tally, seen)
            for chunk in chunked(fresh, CHUNK):
                if pool is None:
                    tally.add(loader.load(do(chunk), folder))
                    progress(tally, seen)
                    continue
                under_way.append(pool.submit(do, chunk))
                while len(under_way) > (2 * workers if executor is None else FAR):
                    tally.add(loader.load(under_way.popleft().result(), folder))
                    progress(tally, seen)
        while under_way:
            tally.add(loader.load(under_way.popleft().result(), folder))
            progress(tally, seen)
    return tally


def transform_chunk(reader: Reader, items: Sequence[SourceItem], *, options: Options, folder: Path) -> list[Outcome]:
    """Read, describe and render some items; runs in a worker process."""
    return [_transform_item(item, data, options, folder) for item, data in reader.read(items)]


def _transform_item(item: SourceItem, data: bytes | SourceUnavailable, options: Options, folder: Path) -> Outcome:
    if isinstance(data, SourceUnavailable):
        reason = RejectionReason("unavailable", str(data), "Make it readable, or remove it.")
        return Outcome(item, rejection=reason)
    return transform(item, data, options, folder)


def _new_or_changed(
    database: Database, items: Sequence[SourceItem], options: Options, tally: Tally
) -> list[SourceItem]:
    """Those of these items that are not in the catalogue as they are now; the others are added to the tally."""
    sources = [item.source for item in items]
    with database.reading() as session:
        instances = select(Instance.source, Instance.source_size, Instance.source_mtime_ns, Instance.rendered_with)
        catalogued = {
            SourceItem(source, size, mtime_ns)
            for source, size, mtime_ns, digests in session.execute(instances.where(Instance.source.in_(sources)))
            if options.digest in (digests or [])
        }

        rejections = select(Rejection.source, Rejection.source_size, Rejection.source_mtime_ns, Rejection.code)
        rejected = {
            SourceItem(source, size, mtime_ns): code
            for source, size, mtime_ns, code in session.execute(
                rejections.where(Rejection.source.in_(sources), Rejection.options == options.digest)
            )
            if code != "unavailable"
        }

    tally.rejected.update(Counter(rejected[item] for item in items if item in rejected))
    tally.unchanged += sum(item in catalogued and item not in rejected for item in items)
    return [item for item in items if item not in catalogued and item not in rejected]


@contextmanager
def cluster(address: str) -> Iterator[Executor | None]:
    """A Dask cluster as an executor, by the address of its scheduler; none without one.

    Its workers read the source and write PNGs themselves: both must lie where every worker finds them.
    """
    if not address:
        yield None
        return
    from distributed import Client

    try:
        client = Client(address, timeout="5s")
    except OSError as error:
        raise MinipacsError(
            f"No Dask scheduler answers at {address}.", "Start it, or correct MINIPACS_SCHEDULER."
        ) from error
    with client:
        yield client.get_executor(pure=False)


def _executor(workers: int, executor: Executor | None):  # type: ignore[no-untyped-def]  # of either kind of context
    if executor is not None or workers < 2:
        return nullcontext(executor)
    context = get_context("forkserver")
    context.set_forkserver_preload(["etl.catalogue_run"])  # imported once, not once a worker
    return ProcessPoolExecutor(workers, mp_context=context)


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except BrokenExecutor as error:
        raise MinipacsError(
            "A worker process died while it decoded an image.", "Run it again with --workers 1 to see which."
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        raise MinipacsError(
            f"PNGs cannot be written: {error.strerror}.", "Free disk space, or choose another folder; then run again."
        ) from error
