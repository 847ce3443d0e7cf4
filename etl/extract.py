"""Where objects come from: a folder of any files, or the archive. What follows is the same for both.

A source lists its items without reading them, in an order that is the same in every run, so that of two
files with one UID the same one always wins. Its reader, which may run in another process, reads them.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote_from_bytes, unquote_to_bytes

from etl.records import SourceItem, SourceUnavailable
from minipacs.archive.content import SeriesContent, StudyContent
from minipacs.catalogue import ARCHIVE_PREFIX
from minipacs.errors import ArchiveRefused, BadRequest, ExceedsMemory, NotInArchive
from minipacs.jobs.worker_secrets import add_worker_secrets
from minipacs.memory.process_limit import explain_memory_error
from minipacs.memory.size_limits import check_object_size
from minipacs.settings import Settings

__all__ = [
    "ARCHIVE_PREFIX",
    "ArchiveReader",
    "ArchiveSource",
    "ArchivedInstances",
    "FileReader",
    "FolderSource",
    "ReadResult",
    "Reader",
    "Source",
    "count_source_items",
    "list_series_items",
]

FILE_SCHEME = "file://"

MAX_FETCHES_AHEAD = 4
"""Instances fetched from the archive at once, the one at work among them."""


ReadResult = bytes | SourceUnavailable | ExceedsMemory
"""The bytes of an item, or why there are none."""


class Reader(Protocol):
    """Reads the items of a source; it is sent to worker processes."""

    def read(self, items: Sequence[SourceItem]) -> Iterator[tuple[SourceItem, ReadResult]]:
        """Yield each item with its bytes, in order."""


class Source(Protocol):
    """Lists what there is to catalogue."""

    @property
    def reader(self) -> Reader:
        """What reads the items."""

    def list_items(self) -> Iterable[SourceItem]:
        """Everything there is, unread, in an order that is always the same."""


def count_source_items(source: Source) -> int:
    """How many items a source has: for a progress bar."""
    return sum(1 for _ in source.list_items())


class FileReader:
    """Reads files."""

    def read(self, items: Sequence[SourceItem]) -> Iterator[tuple[SourceItem, ReadResult]]:
        """Yield each file with its bytes, in order."""
        for item in items:
            try:
                yield item, _read_file(_decode_source_as_path(item.source))
            except ExceedsMemory as error:
                yield item, error
            except OSError as error:
                yield item, SourceUnavailable(f"The file cannot be read: {error.strerror}.")


def _read_file(path: Path) -> bytes:
    """The bytes of a file; raises `ExceedsMemory` before it is read, and `OSError`."""
    check_object_size(path.stat().st_size, "The file")
    return path.read_bytes()


class FolderSource:
    """A folder tree of any files: no extension and no DICOMDIR is needed. A single file is a tree, too."""

    reader: Reader = FileReader()

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        if not self.path.exists():
            raise BadRequest(f"There is no folder {path}.", "Check its name.")

    def list_items(self) -> Iterator[SourceItem]:
        """Every regular file below, by path; links to folders are not followed."""
        if self.path.is_file():
            yield _make_file_item(str(self.path), self.path.stat())
        else:
            yield from _list_folder(str(self.path))


def _list_folder(folder: str) -> Iterator[SourceItem]:
    """The files below a folder, by path; the folder itself when it cannot be listed: reading it will say why."""
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        yield SourceItem(_encode_path_as_source(folder))
        return

    for entry in ordered:
        if entry.is_dir(follow_symlinks=False):
            yield from _list_folder(entry.path)
        elif entry.is_file():
            try:
                yield _make_file_item(entry.path, entry.stat())
            except FileNotFoundError:  # removed since
                continue


def _make_file_item(path: str, stat: os.stat_result) -> SourceItem:
    return SourceItem(_encode_path_as_source(path), stat.st_size, stat.st_mtime_ns)


def _encode_path_as_source(path: str) -> str:
    """The catalogue's name of a file: its path; a path that is no text, percent-encoded behind `file://`."""
    raw = os.fsencode(path)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return FILE_SCHEME + quote_from_bytes(raw)


def _decode_source_as_path(source: str) -> Path:
    """The file that the catalogue names so."""
    if source.startswith(FILE_SCHEME):
        return Path(os.fsdecode(unquote_to_bytes(source.removeprefix(FILE_SCHEME))))
    return Path(source)


@dataclass(frozen=True)
class ArchiveReader:
    """Fetches instances from the archive, a few ahead."""

    settings: Settings

    def read(self, items: Sequence[SourceItem]) -> Iterator[tuple[SourceItem, ReadResult]]:
        """Yield each instance with its bytes, in order."""
        from minipacs.archive.client import Archive  # not in workers that read files

        archive = Archive(add_worker_secrets(self.settings))
        waiting = deque(items)
        under_way: deque[tuple[SourceItem, Future[bytes]]] = deque()
        max_under_way = MAX_FETCHES_AHEAD

        with ThreadPoolExecutor(MAX_FETCHES_AHEAD, "fetch") as pool:
            try:
                while waiting or under_way:
                    while waiting and len(under_way) < max_under_way:
                        item = waiting.popleft()
                        instance_id = item.source.removeprefix(ARCHIVE_PREFIX)
                        under_way.append((item, pool.submit(archive.read_file, instance_id)))

                    item, fetch = under_way.popleft()
                    try:
                        yield item, fetch.result()
                    except NotInArchive:
                        yield item, SourceUnavailable("The instance was deleted from the archive.")
                    except ExceedsMemory as error:
                        yield item, error
                    except MemoryError:
                        if max_under_way == 1:
                            yield item, explain_memory_error()
                            continue
                        max_under_way = 1  # several together are too large: one after the other
                        _end_fetches([started for _ahead, started in under_way])
                        waiting.extendleft([ahead for ahead, _started in reversed(under_way)])
                        waiting.appendleft(item)
                        under_way.clear()
                    except ArchiveRefused:  # of this instance: its file is lost or damaged
                        yield item, SourceUnavailable("The archive cannot read its file of the instance.")
            finally:
                pool.shutdown(cancel_futures=True)
                archive.close()


def _end_fetches(fetches: Sequence[Future[bytes]]) -> None:
    """Cancel those that have not begun, and wait for the others, which cannot be cancelled."""
    for fetch in fetches:
        fetch.cancel()
    wait(fetches)


class ArchiveSource:
    """Studies of the archive, or one series of them."""

    def __init__(self, settings: Settings, studies: Iterable[StudyContent], series_instance_uid: str = "") -> None:
        self.reader: Reader = ArchiveReader(settings)
        self._studies = studies
        self._series_instance_uid = series_instance_uid

    def list_items(self) -> Iterator[SourceItem]:
        """Every instance, by Study, Series and SOP Instance UID."""
        for study in self._studies:
            for series in study.series:
                if not self._series_instance_uid or series.series_instance_uid == self._series_instance_uid:
                    yield from list_series_items(series, study.study_id)


class ArchivedInstances:
    """Single instances of the archive."""

    def __init__(self, settings: Settings, items: Sequence[SourceItem]) -> None:
        self.reader: Reader = ArchiveReader(settings)
        self._items = items

    def list_items(self) -> Iterator[SourceItem]:
        """The instances, in the given order."""
        return iter(self._items)


def list_series_items(series: SeriesContent, study_id: str) -> Iterator[SourceItem]:
    """The instances of a series of this study of Orthanc's as source items, by SOP Instance UID."""
    return (
        SourceItem(
            ARCHIVE_PREFIX + instance.instance_id,
            series_key=series.series_id or None,
            study_key=study_id or None,
        )
        for instance in series.instances
    )
