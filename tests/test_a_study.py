"""docs/a-study.md is true: each station exists, does what its line says, and leads to the next."""

import ast
import hmac
import re
import socket
from pathlib import Path
from types import ModuleType

import pytest

from minipacs.jobs.stable_study_listener import StableStudyListener

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "a-study.md").read_text("utf-8")
STATION = re.compile(r"^\| \d \| `([^`]+)` `([^`]+)` \| [^|]+ \| `([^`]+)` \|$", re.MULTILINE)
STATIONS: list[tuple[str, str, str]] = STATION.findall(PAGE)
NAMED_IN = {
    "minipacs/jobs/planner.py": ("minipacs/jobs/service.py", "planner.step(notified)"),
    "minipacs/jobs/runner.py": ("minipacs/jobs/service.py", "runner.step()"),
    "minipacs/jobs/task.py": ("minipacs/jobs/runner.py", "run_job"),
    "segmentation/job/work.py": ("minipacs/jobs/task.py", "kinds_of_work()[job.kind].run(task)"),
    "segmentation/job/pipeline.py": ("segmentation/job/child.py", "segment_files"),
    "segmentation/results/store.py": ("segmentation/job/work.py", "store.store_and_record"),
}
"""The file from which a station is reached, and the code that stands there."""


def source_of(file: str, qualified_name: str) -> str:
    """The source of a function or a method."""
    text = (ROOT / file).read_text("utf-8")
    scope: ast.AST = ast.parse(text)
    for name in qualified_name.split("."):
        found = [node for node in ast.iter_child_nodes(scope) if getattr(node, "name", None) == name]
        assert len(found) == 1, f"{file} has no {qualified_name}"
        scope = found[0]
    return ast.get_source_segment(text, scope) or ""


def test_a_study_has_seven_stations() -> None:
    assert len(STATIONS) == 7
    assert len({file for file, _, _ in STATIONS}) == 7


@pytest.mark.parametrize(("file", "function", "code"), STATIONS)
def test_a_station_exists_and_does_what_its_line_says(file: str, function: str, code: str) -> None:
    assert code in source_of(file, function)


@pytest.mark.parametrize(("file", "function", "code"), STATIONS[1:])
def test_a_station_is_reached_from_the_one_before(file: str, function: str, code: str) -> None:
    where, words = NAMED_IN[file]
    assert words in (ROOT / where).read_text("utf-8")


def test_the_datagram_of_the_plugin_reaches_the_planner() -> None:
    plugin = ModuleType("notify_alone")
    plugin.__dict__.update(hmac=hmac, socket=socket)
    exec(compile(source_of("orthanc_plugin/plugin.py", "notify"), "plugin.py", "exec"), plugin.__dict__)
    listener = StableStudyListener(("127.0.0.1", 0), "a key")
    try:
        assert plugin.notify(listener.address, "4f3c-study", "a key")
        assert listener.receive(5.0) == {"4f3c-study"}
    finally:
        listener.close()


def test_every_file_that_the_page_names_exists() -> None:
    for file in re.findall(r"`([a-z_]+(?:/[a-z_]+)+\.(?:py|md))`", PAGE):
        assert (ROOT / file).is_file(), file
