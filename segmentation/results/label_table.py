"""`labels.json`: the labels of a labelmap as a table for programs; the manifest has the same rows."""

import json
from pathlib import Path

from segmentation.labelmap import Labelmap, SegmentJson


class LabelRow(SegmentJson):
    """A segment with what the labelmap holds of it."""

    voxels: int
    volume_ml: float


def make_label_rows(labelmap: Labelmap) -> list[LabelRow]:
    """Value, label, codes, color, voxels and volume (mL) of each segment, in their order."""
    voxel_ml = float(labelmap.geometry.voxel_volume) / 1000
    rows: list[LabelRow] = []

    for value, (segment, count) in enumerate(zip(labelmap.segments, labelmap.voxel_counts, strict=True), 1):
        voxels = int(count)
        volume_ml = round(voxels * voxel_ml, 3)
        rows.append({**segment.without_enclosed_parts.as_json(value), "voxels": voxels, "volume_ml": volume_ml})

    return rows


def write_labels(labelmap: Labelmap, path: Path) -> None:
    """Write `labels.json`."""
    path.write_text(json.dumps({"labels": make_label_rows(labelmap)}, indent=1), "utf-8")


def read_labels(path: Path) -> list[LabelRow]:
    """The rows of `labels.json`."""
    rows: list[LabelRow] = json.loads(path.read_text("utf-8"))["labels"]
    return rows
