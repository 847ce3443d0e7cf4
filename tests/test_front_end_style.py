"""The files of the front end keep short lines and one spelling; the linter (biome.json) checks the rest."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_LINE_CHARACTERS = 160
TEMPLATES = sorted((ROOT / "api" / "templates").glob("*.html"))
SOURCES = sorted(
    path
    for folder in (ROOT / "api" / "static", ROOT / "ohif_config")
    for path in folder.rglob("*")
    if path.suffix in {".js", ".css"}
)


def test_no_line_of_the_front_end_is_over_160_characters() -> None:
    long_lines = [
        f"{path.name}:{number}"
        for path in TEMPLATES + SOURCES
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if len(line) > MAX_LINE_CHARACTERS
    ]
    assert long_lines == []


def test_the_front_end_spells_color_as_its_data_do() -> None:
    assert [path.name for path in TEMPLATES + SOURCES if "colour" in path.read_text("utf-8").lower()] == []
