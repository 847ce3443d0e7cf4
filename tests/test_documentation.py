"""Documentation is under test: what exists is described, and what is described exists."""

import re
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path

from minipacs.settings import Settings, describe_settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_every_setting_stands_in_the_readme_with_its_meaning() -> None:
    for name, setting in describe_settings().items():
        assert re.search(rf"\| `MINIPACS_{name.upper()}` \|[^|]*\| {re.escape(setting.meaning)} \|", README), name


def test_the_readme_invents_no_setting() -> None:
    known = {f.name.upper() for f in fields(Settings)} | {"TEST_DATA"}
    assert set(re.findall(r"MINIPACS_([A-Z0-9_]+)", README)) <= known


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_top_level_folder_of_code_stands_in_the_readme() -> None:
    for folder in (
        "orthanc_plugin",
        "minipacs",
        "etl",
        "segmentation",
        "api",
        "ohif_config",
        "notebooks",
        "benchmarks",
    ):
        assert f"| `{folder}/` |" in README


def test_every_command_is_described() -> None:
    text = "\n".join(path.read_text("utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    for point in entry_points(group="minipacs.commands"):
        assert f"minipacs {point.name}" in text, point.name


def test_every_engine_is_described() -> None:
    text = (ROOT / "docs" / "engines.md").read_text("utf-8")
    for point in entry_points(group="minipacs.engines"):
        assert f"`{point.name}`" in text, point.name
