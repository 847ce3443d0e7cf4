"""Where the results of segmentations lie, and the file of the rules: what more than one box must know.

OUTPUT/results/<study>/<series>/<engine>/manifest.json and the other files of a result
HOME/segmentation.toml                                 which engine segments which series
"""

from pathlib import Path

from minipacs.formats.uids import check_uid
from minipacs.settings import Settings

MANIFEST_FILE = "manifest.json"
"""Describes a result; written last, so that a folder with it is whole."""
RULES_FILE = "segmentation.toml"


def results_root(settings: Settings) -> Path:
    """The folder of all results."""
    return settings.output / "results"


def make_series_folder(settings: Settings, study_instance_uid: str, series_instance_uid: str) -> Path:
    """The folder of a series' results. Raises `Unreadable` unless both are UIDs: a sender may have put `../` there."""
    study = check_uid(study_instance_uid, "Study Instance UID")
    series = check_uid(series_instance_uid, "Series Instance UID")
    return results_root(settings) / study / series


def rules_file(settings: Settings) -> Path:
    """The file of the rules, which may be absent."""
    return settings.home / RULES_FILE
