"""The plugin's own routes, with a double of Orthanc; `tests/integration/test_archive_contents.py` has a real one."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from minipacs.settings import ROOT

KEY = "3bb7b865-427ce45c-57ba7aa1-048532d8-64acd33b"
OTHER_KEY = "00000000-00000000-00000000-00000000-00000000"
INFO = f"/instances/{KEY}/attachments/dicom/info"


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A double of Orthanc."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.syspath_prepend(str(ROOT / "orthanc_plugin"))
    return importlib.reload(importlib.import_module("fake_orthanc"))


@pytest.fixture
def contents(sdk: ModuleType) -> ModuleType:
    """The plugin's module of that name, registered."""
    module = importlib.import_module("instance_contents")
    module.register(sdk)
    return module


@pytest.fixture
def deletions(sdk: ModuleType) -> ModuleType:
    """The plugin's module of that name."""
    return importlib.reload(importlib.import_module("deletion_log"))


def test_the_content_of_an_instance_is_its_md5_uuid_and_size(sdk: ModuleType, contents: ModuleType) -> None:
    sdk.resources[INFO] = b'{"UncompressedMD5": "51f2", "Uuid": "df71", "UncompressedSize": 744, "CompressedSize": 9}'
    answer = sdk.ask("/minipacs/content", method="POST", body=json.dumps([KEY, OTHER_KEY]).encode())
    assert json.loads(answer.body) == {KEY: ["51f2", "df71", 744]}


def test_an_error_of_the_index_is_not_taken_for_a_deletion(sdk: ModuleType, contents: ModuleType) -> None:
    sdk.resources[INFO] = sdk.ErrorCode.DATABASE
    answer = sdk.ask("/minipacs/content", method="POST", body=json.dumps([KEY]).encode())
    assert (answer.status, answer.body) == (500, "")


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("GET", b"", 405),
        ("POST", b"", 400),
        ("POST", b"\xff", 400),
        ("POST", b"{}", 400),
        ("POST", b"[1]", 400),
        ("POST", b'["../../../system"]', 400),
        ("POST", b"[" * 100_000, 400),
        ("POST", json.dumps([KEY] * 501).encode(), 413),
    ],
)
def test_a_wrong_request_for_contents_is_an_error_and_no_exception(
    sdk: ModuleType, contents: ModuleType, method: str, body: bytes, status: int
) -> None:
    assert sdk.ask("/minipacs/content", method=method, body=body).status == status


def test_no_exception_of_a_route_reaches_orthanc(sdk: ModuleType, contents: ModuleType, deletions: ModuleType) -> None:
    deletions.register(sdk)
    sdk.resources[INFO] = b"no JSON"
    assert sdk.ask("/minipacs/content", method="POST", body=json.dumps([KEY]).encode()).status == 500
    assert sdk.ask("/minipacs/deletions", method="GET", get="nothing of the kind").status == 500


def ask(sdk: ModuleType, **arguments: str) -> Any:
    return json.loads(sdk.ask("/minipacs/deletions", method="GET", get=arguments).body)


def test_deletions_are_numbered_in_their_order_and_read_from_a_position(sdk: ModuleType, deletions: ModuleType) -> None:
    append_change = deletions.register(sdk)
    begin = ask(sdk)
    append_change(sdk.ChangeType.DELETED, sdk.ResourceType.INSTANCE, KEY)
    append_change(sdk.ChangeType.NEW_INSTANCE, sdk.ResourceType.INSTANCE, KEY)
    append_change(sdk.ChangeType.DELETED, sdk.ResourceType.SERIES, OTHER_KEY)
    assert (begin["last"], begin["is_complete"]) == (0, False)

    answer = ask(sdk, epoch=begin["epoch"], since="0")
    assert answer["entries"] == [[1, "Instance", KEY], [2, "Series", OTHER_KEY]]
    assert (answer["last"], answer["is_complete"], answer["is_done"]) == (2, True, True)
    assert ask(sdk, epoch=begin["epoch"], since="1")["entries"] == [[2, "Series", OTHER_KEY]]
    assert ask(sdk, epoch=begin["epoch"], since="2")["entries"] == []


def test_each_start_of_orthanc_is_another_epoch(deletions: ModuleType) -> None:
    first, second = deletions.DeletionLog(), deletions.DeletionLog()
    first.append("Study", KEY)
    second.append("Study", KEY)
    assert second.read(first.epoch, 0) == {
        "epoch": second.epoch,
        "last": 1,
        "is_complete": False,
        "is_done": True,
        "entries": [],
    }


def test_entries_that_the_log_has_no_more_are_not_passed_over(deletions: ModuleType) -> None:
    log = deletions.DeletionLog(most_entries=3)
    for number in range(1, 6):
        log.append("Instance", str(number))
    assert [log.read(log.epoch, since)["is_complete"] for since in range(-1, 8)] == [
        *(False, False, False),  # -1, 0, 1: entry 2 is lost
        *(True, True, True, True),  # 2 to 5
        *(False, False),  # numbers that there never were
    ]
    assert [entry[0] for entry in log.read(log.epoch, 2)["entries"]] == [3, 4, 5]
    assert [entry[0] for entry in log.read(log.epoch, 4)["entries"]] == [5]


def test_a_long_log_is_answered_in_pages(deletions: ModuleType) -> None:
    log = deletions.DeletionLog()
    for number in range(1, 6):
        log.append("Instance", str(number))
    pages, since = [], 0
    while not (page := log.read(log.epoch, since, most=2))["is_done"]:
        pages.append(page)
        since = page["last"]
    assert [[entry[0] for entry in each["entries"]] for each in [*pages, page]] == [[1, 2], [3, 4], [5]]


@pytest.mark.parametrize(("method", "since", "status"), [("POST", "0", 405), ("GET", "x", 400), ("GET", "", 400)])
def test_a_wrong_request_for_deletions_is_an_error_and_no_exception(
    sdk: ModuleType, deletions: ModuleType, method: str, since: str, status: int
) -> None:
    deletions.register(sdk)
    assert sdk.ask("/minipacs/deletions", method=method, get={"since": since}).status == status
