"""Where objects come from: a folder of any files, or the archive. One code path after that.

A source tells what it finds without reading it, in an order that is the same in every run, so that of
two files with one UID the same one always wins. Its reader, which may run in another process, reads.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote_from_bytes, unquote_to_bytes

from etl.transform import Found
from minipacs.errors import BadRequest, NotInArchive
from minipacs.jobs.contract import SeriesContent, StudyContent
from minipacs.settings import Settings

ARCHIVE = "archive:"
SCHEME = "file://"
AHEAD = 4
"""Instances fetched from the archive ahead of the one at work."""


class Unavailable(Exception):
    """A source that cannot be read now: a file without permission, an instance that was deleted."""


class Reader(Protocol):
    """Reads what a source found; travels to worker processes."""

    def read(self, found: Sequence[Found]) -> Iterator[tuple[Found, bytes | Unavailable]]:
        """The bytes of each, in order."""


class Source(Protocol):
    """Tells what there is to catalogue."""

    @property
    def reader(self) -> Reader:
        """What reads what was found."""

    def found(self) -> Iterable[Found]:
        """Everything there is, unread, in an order that is always the same."""


def count(source: Source) -> int:
    """How many there are: for a progress bar."""
    return sum(1 for _ in source.found())


class FileReader:
    """Reads files."""

    def read(self, found: Sequence[Found]) -> Iterator[tuple[Found, bytes | Unavailable]]:
        """The bytes of each file, in order."""
        for one in found:
            try:
                yield one, path_of(one.source).read_bytes()
            except OSError as error:
                yield one, Unavailable(f"The file cannot be read: {error.strerror}.")


class Folder:
    """A folder tree of any files: no extension, no DICOMDIR needed. One file is a tree, too."""

    reader: Reader = FileReader()

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        if not self.path.exists():
            raise BadRequest(f"There is no folder {path}.", "Check its name.")

    def found(self) -> Iterator[Found]:
        """Every regular file below, by path; links to folders are not followed."""
        if self.path.is_file():
            yield _file(self.path.stat(), str(self.path))
        else:
            yield from _below(str(self.path))


def _below(folder: str) -> Iterator[Found]:
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        yield Found(source_of(folder))  # reading it will say why
        return
    for entry in ordered:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path)
        elif entry.is_file():
            try:
                yield _file(entry.stat(), entry.path)
            except FileNotFoundError:  # removed since
                continue


def _file(stat: os.stat_result, path: str) -> Found:
    return Found(source_of(path), stat.st_size, stat.st_mtime_ns)


def source_of(path: str) -> str:
    """What the catalogue calls a file: its path; a name that is no text, percent-encoded behind `file://`."""
    raw = os.fsencode(path)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return SCHEME + quote_from_bytes(raw)


def path_of(source: str) -> Path:
    """The file behind a source."""
    if source.startswith(SCHEME):
        return Path(os.fsdecode(unquote_to_bytes(source.removeprefix(SCHEME))))
    return Path(source)


@dataclass(frozen=True)
class ArchiveReader:
    """Fetches instances from the archive, a few ahead."""

    settings: Settings

    def read(self, found: Sequence[Found]) -> Iterator[tuple[Found, bytes | Unavailable]]:
        """The bytes of each instance, in order."""
        from minipacs.archive.client import Archive  # not in workers that read files

        archive = Archive(self.settings)
        waiting = deque(found)
        under_way: deque[tuple[Found, Future[bytes]]] = deque()
        with ThreadPoolExecutor(AHEAD, "fetch") as pool:
            try:
                while waiting or under_way:
                    while waiting and len(under_way) < AHEAD:
                        one = waiting.popleft()
                        under_way.append((one, pool.submit(archive.file, one.source.removeprefix(ARCHIVE))))
                    one, future = under_way.popleft()
                    try:
                        yield one, future.result()
                    except NotInArchive:
                        yield one, Unavailable("The instance was deleted from the archive.")
            finally:
                pool.shutdown(cancel_futures=True)
                archive.close()


class Archived:
    """Studies of the archive; or one series of them."""

    def __init__(self, settings: Settings, studies: Iterable[StudyContent], series_instance_uid: str = "") -> None:
        self.reader: Reader = ArchiveReader(settings)
        self._studies, self._series = studies, series_instance_uid

    def found(self) -> Iterator[Found]:
        """Every instance, by Study, Series and SOP Instance UID."""
        for study in self._studies:
            for series in study.series:
                if not self._series or series.series_instance_uid == self._series:
                    yield from found_in(series)


def found_in(series: SeriesContent) -> Iterator[Found]:
    """The instances of a series, by SOP Instance UID."""
    return (Found(ARCHIVE + instance_id) for _uid, instance_id in series.instances)
