"""The notebook runs from its first cell to its last, without a screen."""

import sqlite3
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from data import shared_data
from dicom_objects import as_file, image
from etl.notebook import catalogue_folder, contact_sheet
from waiting import PATIENCE_S

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "catalogue.ipynb"
NAMES = ("verbose", "source_dir", "target_dir", "training_ratio", "validation_ratio", "delete_db", "db_path")
PIXELS = np.arange(35, dtype=np.uint16).reshape(5, 7)


def test_the_notebook_has_one_cell_of_parameters_and_no_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    assert len(cells) == 1
    values: dict[str, Any] = {}
    exec(cells[0].source, values)
    assert set(NAMES) <= values.keys()
    assert not any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.filterwarnings("ignore")  # Jupyter's own
def test_the_notebook_runs_headless(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (cell,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    given = {"source_dir": shared_data("voi"), "target_dir": tmp_path / "png", "db_path": tmp_path / "catalogue.db"}
    cell.source += "\n" + "\n".join(f"{name} = {str(value)!r}" for name, value in given.items())
    limits = {"timeout": round(PATIENCE_S), "startup_timeout": round(PATIENCE_S)}
    NotebookClient(notebook, **limits, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [o for c in notebook.cells for o in c.get("outputs", ()) if "image/png" in o.get("data", {})]
    assert len(pictures) == 2  # contact sheet and histogram
    with sqlite3.connect(tmp_path / "catalogue.db") as connection:
        (number,) = connection.execute("SELECT count(*) FROM rendering").fetchone()
    connection.close()
    assert number == len(list((tmp_path / "png").rglob("*.png"))) == 4


def test_the_function_does_only_what_is_new_unless_told_to_begin_anew(tmp_path: Path, capsys: Any) -> None:
    source, target, db = tmp_path / "dicom", tmp_path / "png", tmp_path / "x.db"
    source.mkdir()
    (source / "a").write_bytes(as_file(image(PIXELS, 1)))
    assert catalogue_folder(source, target, db_path=db)["added"] == 1
    assert capsys.readouterr().out == "1 added, 0 unchanged, 1 pictures.\n"
    assert catalogue_folder(source, target, db_path=db, verbose=False)["unchanged"] == 1
    assert catalogue_folder(source, target, db_path=db, delete_db=True)["added"] == 1
    assert len(list(target.rglob("*.png"))) == 1


def test_a_contact_sheet_shows_each_picture_in_its_square(tmp_path: Path) -> None:
    source, target = tmp_path / "dicom", tmp_path / "png"
    source.mkdir()
    for number in range(1, 4):
        (source / f"{number}").write_bytes(as_file(image(np.full((5, 7), 1000, np.uint16), number)))
    catalogue_folder(source, target, db_path=tmp_path / "x.db", window="0/1", verbose=False)
    sheet = contact_sheet([str(p) for p in target.rglob("*.png")], across=2, size=8)
    assert sheet.size == (16, 16)
    assert sheet.getpixel((4, 4)) == sheet.getpixel((12, 4)) == sheet.getpixel((4, 12)) == (255, 255, 255)
    assert sheet.getpixel((12, 12)) == (0, 0, 0)
