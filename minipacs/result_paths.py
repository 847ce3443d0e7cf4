"""Where the results of segmentations lie, and the file of the rules: what more than one box must know.

OUTPUT/results/<study>/<series>/<engine>/manifest.json and the other files of a result
HOME/segmentation.toml                                 which engine segments which series
"""

from pathlib import Path

from minipacs.settings import Settings

MANIFEST_FILE = "manifest.json"
"""Describes a result; written last, so that a folder with it is whole."""
RULES_FILE = "segmentation.toml"


def results_root(settings: Settings) -> Path:
    """The folder of all results."""
    return settings.output / "results"


def rules_file(settings: Settings) -> Path:
    """The file of the rules, which may be absent."""
    return settings.home / RULES_FILE
