"""The pages that a newcomer reads first are true: docs/design.md and docs/glossary.md."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DESIGN = (ROOT / "docs" / "design.md").read_text("utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")
BOXES = ("orthanc_plugin", "minipacs", "etl", "segmentation", "api")
UNLISTED = {"versions", "stand_ins", "scripts", "static", "templates"}
"""Folders that belong to the one above them."""
MAX_WORDS = 40
NAMING = (*BOXES, "ohif_config", "benchmarks", "tests", "scripts")


def folders_in_the_tree() -> set[str]:
    """The folders that the drawing of the tree names, as paths from the root."""
    drawing = DESIGN.split("## The tree")[1].split("```")[1]
    found: set[str] = set()
    box = ""
    for line in drawing.splitlines():
        name = re.match(r"( *)([a-z_]+)/", line)
        if name is None:
            continue
        if not name[1]:
            box = name[2]
            found.add(box)
        else:
            found.add(f"{box}/{name[2]}")
    return found


def test_every_folder_of_the_tree_exists() -> None:
    for folder in folders_in_the_tree():
        assert (ROOT / folder).is_dir(), folder


def test_every_folder_of_a_box_stands_in_the_tree() -> None:
    drawing = DESIGN.split("## The tree")[1].split("```")[1]
    for box in BOXES:
        for path in (ROOT / box).iterdir():
            if path.is_dir() and path.name not in UNLISTED and any(path.glob("*.py")):
                assert re.search(rf"\b{path.name}/", drawing), path.relative_to(ROOT)


def test_every_link_of_the_design_leads_somewhere() -> None:
    for page in (DESIGN, GLOSSARY):
        for target in re.findall(r"\]\(([^)#:]+)\)", page):
            assert (ROOT / "docs" / target).exists(), target


def test_the_glossary_is_short_and_in_order() -> None:
    words = re.findall(r"^\| ([a-z][A-Za-z -]+) \|", GLOSSARY, re.MULTILINE)[1:]
    assert words == sorted(words, key=str.lower)
    assert 20 < len(words) <= MAX_WORDS


def test_every_file_that_a_page_or_a_docstring_names_exists() -> None:
    files = {path.relative_to(ROOT).as_posix() for folder in NAMING for path in (ROOT / folder).rglob("*.*")}
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    sources = [path for box in BOXES for path in (ROOT / box).rglob("*.py")]
    for page in pages + sources:
        for name in re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9.]+)+\.(?:py|js))`", page.read_text("utf-8")):
            assert any(file == name or file.endswith(f"/{name}") for file in files), f"{page.name}: {name}"
