"""Who may import whom. A datum goes one way; so do imports."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from minipacs.database import Database
from minipacs.tables import load_tables

ROOT = Path(__file__).resolve().parent.parent
OURS = {"minipacs", "etl", "segmentation", "api", "orthanc_plugin"}
MAY_IMPORT = {
    "orthanc_plugin": set(),
    "minipacs": {"minipacs"},
    "etl": {"etl", "minipacs"},
    "segmentation": {"segmentation", "minipacs"},
    "api": {"api", "minipacs"},
}
HEAVY = {"slicer", "vtk", "vtkmodules", "torch", "highdicom", "SimpleITK", "cv2", "skimage"}
LONGEST = 400
FULLEST = 18
"""Python files side by side in one folder."""
LOWER_FOLDERS = ("", "archive", "audit", "formats", "memory", "migrations")
UPPER_FOLDERS = ("jobs", "notifications", "backup", "doctor", "local")
"""Folders of minipacs/ that the lower ones never import."""


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Names of the top-level packages a file imports."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def module_name(path: Path) -> str:
    """The import name of a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def modules_imported(path: Path, known: set[str]) -> set[str]:
    """Which of our modules a file imports, wherever in it: at its top, in a function, for its types alone."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name if name in known else node.module for name in names)
    return found & known - {module_name(path)}


def import_graph() -> dict[str, set[str]]:
    """Each of our modules, and those it imports."""
    paths = [path for box in MAY_IMPORT for path in files(box)]
    known = {module_name(path) for path in paths}
    return {module_name(path): modules_imported(path, known) for path in paths}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others (Tarjan's components)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in sorted(graph[module]):
            if other not in order:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(graph):
        if module not in order:
            visit(module)
    return found


def files(box: str) -> list[Path]:
    """The Python files of a box."""
    return sorted((ROOT / box).rglob("*.py"))


@pytest.mark.parametrize("box", sorted(MAY_IMPORT))
def test_a_box_imports_only_what_it_may(box: str) -> None:
    for path in files(box):
        forbidden = (set(imports(path)) & OURS) - MAY_IMPORT[box]
        assert not forbidden, f"{path.relative_to(ROOT)} imports {sorted(forbidden)}"


def test_no_module_imports_itself_through_others() -> None:
    assert not circles(import_graph())


def test_a_circle_would_be_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert circles(graph) == [["b", "c"]]


def test_lower_folders_of_minipacs_import_no_upper_one() -> None:
    upper = tuple(f"minipacs.{folder}" for folder in UPPER_FOLDERS)
    for module, imported in import_graph().items():
        box, _, rest = module.partition(".")
        folder = rest.partition(".")[0] if (ROOT / "minipacs" / rest.partition(".")[0]).is_dir() else ""
        if box == "minipacs" and folder in LOWER_FOLDERS:
            reached = {name for name in imported if name.startswith(upper)}
            assert not reached, f"{module} imports {sorted(reached)}"


def test_no_folder_is_full() -> None:
    for box in MAY_IMPORT:
        for folder in {path.parent for path in files(box)}:
            assert len(list(folder.glob("*.py"))) <= FULLEST, folder


def test_the_plugin_needs_only_the_standard_library() -> None:
    own = {path.stem for path in files("orthanc_plugin")}
    for path in files("orthanc_plugin"):
        assert set(imports(path)) <= set(sys.stdlib_module_names) | {"orthanc"} | own
        assert len(path.read_text().splitlines()) <= 110


def test_only_the_archive_talks_to_orthanc() -> None:
    for box in ("minipacs", "etl", "segmentation", "api"):
        for path in files(box):
            if path.parent != ROOT / "minipacs" / "archive":
                assert "pyorthanc" not in imports(path), path


def test_the_front_door_never_loads_engines() -> None:
    for path in files("api"):
        assert not set(imports(path)) & HEAVY, path


def test_commands_are_light_to_import() -> None:
    light = [
        *files("minipacs"),
        *files("api"),
        *(p for p in files("etl") + files("segmentation") if "command" in p.relative_to(ROOT).as_posix()),
    ]
    for path in light:
        assert not set(imports(path, top_level_only=True)) & HEAVY, path


def test_signs_between_lps_and_ras_are_turned_in_one_place() -> None:
    flip = re.compile(r"-1(\.0?)?,\s*-1(\.0?)?,\s*\+?1\b")
    programs_of_others = ROOT / "segmentation" / "engines" / "scripts"  # run where minipacs is not installed
    for box in MAY_IMPORT:
        for path in files(box):
            if path != ROOT / "minipacs" / "formats" / "geometry.py" and path.parent != programs_of_others:
                assert not flip.search(path.read_text("utf-8")), f"{path}: minipacs.formats.geometry does that"


def test_every_change_of_a_table_has_its_step(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new.sqlite'}")
    database.upgrade_schema()
    with database.engine.connect() as connection:
        lacking = compare_metadata(MigrationContext.configure(connection), load_tables())
    database.close()
    assert not lacking, "make it with: python -m minipacs.migrations 'what changed'"


def test_no_file_is_long_and_no_name_is_vague() -> None:
    vague = {"utils", "common", "helpers", "misc", "manager", "base"}
    for box in MAY_IMPORT:
        for path in files(box):
            assert path.stem not in vague, path
            assert len(path.read_text("utf-8").splitlines()) <= LONGEST, path
