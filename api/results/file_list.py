"""The list of result files, for scripts and as the page from which they are shared."""

from itertools import islice
from stat import S_ISREG
from typing import TypedDict

from flask import Blueprint
from flask.typing import ResponseReturnValue

from api.results import shares
from api.results.result_folders import list_result_folders, name_of_result_file, read_file_stats
from api.web.describe_route import answers
from api.web.disclosed import note_disclosed
from api.web.responses import send_json_or_page
from api.web.row_json import iso_time

blueprint = Blueprint("files", __name__)
MAX_RESULTS = 500
"""Folders of results of one list."""


class FileJson(TypedDict):
    """A result file: name below the results folder, bytes, time of its last change."""

    name: str
    size: int
    changed: str | None
    url: str


class FileList(TypedDict):
    """Result files, those of the newest results first."""

    files: list[FileJson]


@blueprint.get("/files")
@answers(FileList, page="files.html")
def files() -> ResponseReturnValue:
    """Result files, the newest first."""
    found = list_result_files()

    def page_values() -> dict[str, object]:
        folders: dict[str, list[FileJson]] = {}
        for file in found:
            folders.setdefault(file["name"].rpartition("/")[0], []).append(file)
        return {"folders": folders, "shares": shares.list_active_shares()}

    return send_json_or_page(FileList(files=found), page_values)


def list_result_files() -> list[FileJson]:
    """Every result file; those of the newest results first."""
    found: list[FileJson] = []
    for folder in islice(list_result_folders(), MAX_RESULTS):
        for file, stat in read_file_stats(folder):
            if S_ISREG(stat.st_mode) and not file.name.startswith("."):
                name = name_of_result_file(file)
                changed = iso_time(stat.st_mtime)
                found.append({"name": name, "size": stat.st_size, "changed": changed, "url": f"/results/{name}"})
    note_disclosed((file["name"].partition("/")[0] for file in found), rows=len(found))
    return found
