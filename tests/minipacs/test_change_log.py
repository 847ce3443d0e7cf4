"""Reading the archive's change log from a cursor, page by page."""

from minipacs.archive.client import Change, ChangePage
from minipacs.catalogue import CatalogueCursorRow
from minipacs.change_log import ChangeLogCursor, find_new_resources, read_change_log
from minipacs.database import Database

PAGE = 2


class ArchiveWithLog:
    """An archive whose log has so many entries of one type."""

    def __init__(self, entries: int) -> None:
        self.entries = [Change(number, "NewInstance", f"instance-{number}") for number in range(1, entries + 1)]

    def read_changes(self, since: int) -> ChangePage:
        after = [entry for entry in self.entries if entry.number > since]
        page = tuple(after[:PAGE])
        last = page[-1].number if page else len(self.entries)
        return ChangePage(page, last, done=len(after) <= PAGE)


def read_all(archive: ArchiveWithLog, database: Database) -> list[str]:
    cursor = ChangeLogCursor(database, CatalogueCursorRow, "test")
    found: list[str] = []
    for page in read_change_log(archive, cursor):  # type: ignore[arg-type]
        found += find_new_resources(page)
        with database.writing() as session:
            cursor.move(session, page.last)
    return found


def test_every_entry_is_read_once(database: Database) -> None:
    archive = ArchiveWithLog(5)
    assert read_all(archive, database) == [entry.resource_id for entry in archive.entries]
    assert read_all(archive, database) == []


def test_a_page_whose_cursor_was_not_moved_is_read_again(database: Database) -> None:
    archive = ArchiveWithLog(3)
    cursor = ChangeLogCursor(database, CatalogueCursorRow, "test")
    pages = read_change_log(archive, cursor)  # type: ignore[arg-type]
    assert find_new_resources(next(pages)) == ["instance-1", "instance-2"]
    assert read_all(archive, database) == ["instance-1", "instance-2", "instance-3"]


def test_the_log_of_a_new_archive_is_read_from_its_beginning(database: Database) -> None:
    read_all(ArchiveWithLog(5), database)
    assert read_all(ArchiveWithLog(3), database) == ["instance-1", "instance-2", "instance-3"]
    assert ChangeLogCursor(database, CatalogueCursorRow, "test").read() == 3


def test_an_empty_log_of_a_new_archive_takes_the_cursor_back(database: Database) -> None:
    read_all(ArchiveWithLog(5), database)
    assert read_all(ArchiveWithLog(0), database) == []
    assert ChangeLogCursor(database, CatalogueCursorRow, "test").read() == 0


def test_readers_have_cursors_of_their_own(database: Database) -> None:
    read_all(ArchiveWithLog(5), database)
    assert ChangeLogCursor(database, CatalogueCursorRow, "another").read() == 0
