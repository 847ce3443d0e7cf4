"""The catalogue for notebooks: one function with the parameters of `minipacs etl`, and pictures to look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from etl.catalogue_run import load_source_into_catalogue
from etl.extract import FolderSource, count_source_items
from etl.loading.prune import remove_instances_missing_from_folder
from etl.loading.removal import clear_catalogue
from etl.options import Options
from etl.progress_bar import show_progress_bar
from etl.split import DEFAULT_SEED, normalise_ratios
from minipacs.database import Database

__all__ = ["catalogue_folder", "contact_sheet"]


def catalogue_folder(
    source_dir: str | Path,
    target_dir: str | Path,
    *,
    db_path: str | Path = "medical_imaging.db",
    training_ratio: float = 0.7,
    validation_ratio: float = 0.15,
    seed: str = DEFAULT_SEED,
    window: str = "first",
    bit_depth: int = 8,
    workers: int = 1,
    prune: bool = False,
    delete_db: bool = False,
    verbose: bool = True,
) -> dict[str, Any]:
    """Catalogue a folder of any files into an SQLite file, PNGs below `target_dir`; what was done, as a dict.

    What the ratios leave of 1 is the test set. `delete_db` empties the catalogue and its PNGs first; without
    it a second call does only what is new.
    """
    options = Options(
        target=Path(target_dir).expanduser().resolve(),
        window=window,
        bit_depth=bit_depth,
        ratios=normalise_ratios(training_ratio, validation_ratio, 1 - training_ratio - validation_ratio),
        seed=seed,
    )
    database = Database(f"sqlite:///{Path(db_path).expanduser().resolve()}")
    folder = FolderSource(Path(source_dir))

    try:
        database.upgrade_schema()
        if delete_db:
            clear_catalogue(database)
        removed = remove_instances_missing_from_folder(database, folder) if prune else 0
        with show_progress_bar(count_source_items(folder), shown=verbose) as progress:
            tally = load_source_into_catalogue(folder, database, options, workers=workers, progress=progress)
    finally:
        database.close()

    tally.removed = removed
    if verbose:
        print(tally.as_sentence())
    return tally.as_json()


def contact_sheet(paths: Sequence[str], *, across: int = 8, size: int = 128) -> Image.Image:
    """PNGs side by side, each fitted into `size` × `size` pixels, `across` in a row."""
    down = max(1, -(-len(paths) // across))
    sheet = Image.new("RGB", (across * size, down * size), "black")

    for index, path in enumerate(paths):
        thumbnail = _make_thumbnail(path, size)
        left, top = index % across * size, index // across * size
        sheet.paste(thumbnail, (left + (size - thumbnail.width) // 2, top + (size - thumbnail.height) // 2))
    return sheet


def _make_thumbnail(path: str, size: int) -> Image.Image:
    """A PNG in RGB, at most `size` × `size` pixels; of 16 bits the higher 8 are shown."""
    with Image.open(path) as picture:
        if picture.mode == "I;16":
            thumbnail = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
        else:
            thumbnail = picture.convert("RGB")
    thumbnail.thumbnail((size, size))
    return thumbnail
