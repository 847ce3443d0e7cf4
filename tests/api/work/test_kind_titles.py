"""A kind of work that is installed beside ours has its own title on the pages, said in its module alone."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from flask import Flask
from sqlalchemy import update

from minipacs.jobs import contract
from minipacs.jobs.record import Job

STUDY = "1.2.3.4.1"
HTML = {"Accept": "text/html"}


@pytest.fixture
def app_with_other_work(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """One kind has a title, one has none, one cannot be imported."""
    monkeypatch.setitem(sys.modules, "quality_report_work", cast(ModuleType, SimpleNamespace(TITLE="Quality report")))
    monkeypatch.setitem(sys.modules, "untitled_work", ModuleType("untitled_work"))
    modules = {"quality": "quality_report_work", "untitled": "untitled_work", "broken": "no_such_module"}
    others = [EntryPoint(kind, module, "minipacs.work") for kind, module in modules.items()]
    installed = [*contract.entry_points(group="minipacs.work")]
    monkeypatch.setattr(contract, "entry_points", lambda group: [*installed, *others])
    contract.kind_titles.cache_clear()
    yield app
    contract.kind_titles.cache_clear()


def test_ours_have_titles() -> None:
    assert contract.kind_titles() == {"catalogue": "Catalogue", "segment": "Segmentation"}


def test_the_page_of_jobs_filters_by_every_installed_kind(app_with_other_work: Flask, viewer: Any) -> None:
    page = viewer("/jobs", headers=HTML).get_data(as_text=True)
    assert 'href="/jobs?kind=quality">Quality report</a>' in page
    assert 'href="/jobs?kind=untitled">untitled</a>' in page


@pytest.mark.parametrize(
    ("kind", "title"),
    [("quality", "Quality report"), ("untitled", "untitled"), ("broken", "broken"), ("removed", "removed")],
)
def test_the_status_of_a_study_names_a_step_by_the_title(
    app_with_other_work: Flask, viewer: Any, kind: str, title: str
) -> None:
    with app_with_other_work.extensions["minipacs"].database.writing() as session:
        session.execute(update(Job).where(Job.study_instance_uid == STUDY).values(kind=kind, args={}))
    (study,) = viewer(f"/where?q={STUDY}").get_json()["studies"]
    assert study["steps"][-1]["step"] == title


def test_a_job_bears_the_title_in_its_answer_and_on_its_page(app_with_other_work: Flask, viewer: Any) -> None:
    with app_with_other_work.extensions["minipacs"].database.writing() as session:
        session.execute(update(Job).values(kind="quality", args={}))
    (job, *_) = viewer("/jobs").get_json()["jobs"]
    assert (job["kind"], job["title"]) == ("quality", "Quality report")
    assert "<h1>Quality report" in viewer(f"/jobs/{job['id']}", headers=HTML).get_data(as_text=True)
    assert "<td>Quality report</td>" in viewer("/jobs", headers=HTML).get_data(as_text=True)
