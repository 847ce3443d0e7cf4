"""The page about segmentation says what an engine must have."""

from pathlib import Path

from segmentation.engine import Engine

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "segmentation.md").read_text("utf-8")


def test_every_attribute_of_an_engine_stands_on_the_page_and_no_other() -> None:
    attributes = [name for name in vars(Engine) if not name.startswith("_")]
    table = PAGE.partition("| attribute | what it is |")[2].partition("\n\n")[0]
    named = [row.split("`")[1] for row in table.splitlines()[2:]]
    assert named == attributes
