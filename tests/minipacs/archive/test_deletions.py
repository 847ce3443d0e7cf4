import httpx
import pytest

from minipacs.archive.client import Archive
from minipacs.archive.deletions import Deletion, DeletionCursor, DeletionPage, read_deletion_log
from minipacs.errors import ArchiveRefused
from minipacs.settings import Settings

SETTINGS = Settings.from_env({"MINIPACS_ORTHANC_PASSWORD": "secret", "MINIPACS_ORTHANC_URL": "http://orthanc"})


def page(position: int, *numbers: int, is_last: bool = False) -> DeletionPage:
    entries = tuple(Deletion(number, "Instance", f"key-{number}") for number in numbers)
    return DeletionPage(entries, DeletionCursor("epoch", position), is_complete=True, is_last=is_last)


def test_a_page_of_the_log_is_asked_for_with_the_cursor() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.path, dict(request.url.params)))
        entries = [[8, "Series", "a key"]]
        head = {"epoch": "an epoch", "last": 8, "is_complete": True, "is_done": False}
        return httpx.Response(200, json={**head, "entries": entries})

    found = Archive(SETTINGS, httpx.MockTransport(answer)).read_deletions(DeletionCursor("an epoch", 7))
    assert asked == [("/minipacs/deletions", {"epoch": "an epoch", "since": "7"})]
    assert found == DeletionPage(
        (Deletion(8, "Series", "a key"),), DeletionCursor("an epoch", 8), is_complete=True, is_last=False
    )


def test_the_log_is_read_to_its_end_page_after_page() -> None:
    pages = {0: page(2, 1, 2), 2: page(4, 3, 4), 4: page(5, 5, is_last=True)}
    read = list(read_deletion_log(lambda cursor: pages[cursor.position], DeletionCursor("epoch")))
    assert read == list(pages.values())


def test_without_our_plugin_there_are_no_pages() -> None:
    archive = Archive(SETTINGS, httpx.MockTransport(lambda _request: httpx.Response(404)))
    assert list(read_deletion_log(archive.read_deletions, DeletionCursor())) == []


def test_an_error_of_the_log_is_not_taken_for_its_absence() -> None:
    archive = Archive(SETTINGS, httpx.MockTransport(lambda _request: httpx.Response(500)))
    with pytest.raises(ArchiveRefused):
        archive.read_deletions(DeletionCursor())
