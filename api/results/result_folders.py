"""The folders of results as the user of this request may see them: the one place where their paths are opened.

Below OUTPUT/results the first name of a path is a Study Instance UID. A path of a study that is not visible is
answered as one that is not there.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from api.context import AppContext, context
from api.web.file_responses import resolve_below
from minipacs.errors import NotFound
from minipacs.result_paths import MANIFEST_FILE, results_root


def resolve_result_path(relative: str) -> Path:
    """The file or folder of this relative path; raises `NotFound` for what is not there or not visible."""
    return resolve_visible_path(context(), relative)


def resolve_visible_path(context: AppContext, relative: str) -> Path:
    """The same, as this context sees it."""
    study = name_study_of_path(relative)
    if not context.is_study_visible(study):
        raise NotFound("There is no such file.", "The study's page and GET /files list what there is.")

    root = results_root(context.settings)
    path = resolve_below(root, relative)
    if path != root.resolve() and path.relative_to(root.resolve()).parts[0] != study:  # a link inside the root
        raise NotFound("There is no such file.", "The study's page and GET /files list what there is.")
    return path


def name_study_of_path(relative: str) -> str:
    """The Study Instance UID that a path below OUTPUT/results begins with."""
    return relative.partition("/")[0]


def list_result_folders() -> Iterator[Path]:
    """Every visible folder with a manifest, the newest first."""
    root = results_root(context().settings)
    if not root.is_dir():
        return
    visible = context().keep_visible(path.name for path in root.glob("[0-9]*"))
    found = [
        (stat.st_mtime, folder)
        for series in root.glob("[0-9]*/*")
        if series.parent.name in visible
        for folder, stat in read_file_stats(series)
    ]
    for _, folder in sorted(found, reverse=True):
        if not folder.name.startswith(".") and (folder / MANIFEST_FILE).is_file():
            yield folder


def read_file_stats(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """What is in a folder, by name, without what goes away meanwhile: results are replaced at any time."""
    found = []
    try:
        for path in sorted(folder.iterdir()):
            with suppress(FileNotFoundError):
                found.append((path, path.stat()))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return found


def name_of_result_file(file: Path) -> str:
    """The path of a file below OUTPUT/results, as answers have it."""
    return file.relative_to(results_root(context().settings)).as_posix()
