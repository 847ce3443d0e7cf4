"""The catalogue for notebooks: one function with the parameters of `minipacs etl`, and pictures to look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from etl.catalogue_run import catalogue
from etl.changes import forget
from etl.extract import FolderSource, count_items
from etl.folder import prune_folder
from etl.options import Options
from etl.progress_bar import bar
from etl.split import SEED, scaled
from etl.study import summary
from minipacs.database import Database


def catalogue_folder(
    source_dir: str | Path,
    target_dir: str | Path,
    *,
    db_path: str | Path = "medical_imaging.db",
    training_ratio: float = 0.7,
    validation_ratio: float = 0.15,
    seed: str = SEED,
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
        ratios=scaled(training_ratio, validation_ratio, 1 - training_ratio - validation_ratio),
        seed=seed,
    )
    database = Database(f"sqlite:///{Path(db_path).expanduser().resolve()}")
    folder = FolderSource(Path(source_dir))
    try:
        database.create()
        if delete_db:
            forget(database)
        removed = prune_folder(database, folder) if prune else 0
        with bar(count_items(folder), shown=verbose) as progress:
            tally = catalogue(folder, database, options, workers=workers, progress=progress)
    finally:
        database.close()
    tally.removed = removed
    if verbose:
        print(summary(tally))
    return tally.as_json()


def contact_sheet(paths: Sequence[str], *, across: int = 8, size: int = 128) -> Image.Image:
    """PNGs side by side, each fitted into `size` × `size` pixels, `across` in a row."""
    down = max(1, -(-len(paths) // across))
    sheet = Image.new("RGB", (across * size, down * size), "black")
    for n, path in enumerate(paths):
        with Image.open(path) as picture:
            shown = picture if picture.mode != "I;16" else Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            small = shown.convert("RGB")
        small.thumbnail((size, size))
        left, top = n % across * size, n // across * size
        sheet.paste(small, (left + (size - small.width) // 2, top + (size - small.height) // 2))
    return sheet
