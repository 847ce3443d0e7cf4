"""Runs in the Python that has TotalSegmentator: say what a task needs, or segment one volume.

    python in_totalsegmentator.py describe TASK SPEED       one JSON line: version, weight folders
    python in_totalsegmentator.py segment FOLDER            volume.nii.gz, request.json → labels.nii.gz, answer.json

Weights are only ever read from TOTALSEG_WEIGHTS_PATH: where a folder is missing, TotalSegmentator would
fetch it from the network, and here says so instead. Only TotalSegmentator's own Python is imported.
"""

import csv
import importlib.metadata
import importlib.resources
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

Json = dict[str, Any]
SPEEDS: dict[str, Json] = {"normal": {}, "fast": {"fast": True}, "fastest": {"fastest": True}}


class WeightsMissing(Exception):
    """A model's folder is not there."""


def describe_task(task: str, speed: str) -> Json:
    """Version of the package and the weight folders the task reads at this speed; a sentence where it cannot.

    Without a speed: fast where the task has it.
    """
    from totalsegmentator.map_tasks_config import TASK_CONFIGS, TASK_ID_WEIGHTS_CONFIGS

    if task not in TASK_CONFIGS:
        return {"error": f"TotalSegmentator has no task {task}; it has {', '.join(sorted(TASK_CONFIGS))}."}

    config = TASK_CONFIGS[task]
    modes = config.get("sub_modes", {})
    if speed in ("fast", "fastest") and speed not in modes and "fast" not in modes:
        return {"error": f"TotalSegmentator's task {task} has no speed {speed}; it has normal."}

    speed = speed or ("fast" if "fast" in modes else "normal")
    mode = modes.get("default" if speed == "normal" else speed) or modes.get("fast") or config
    numbers = mode["task_id"] if isinstance(mode["task_id"], list) else [mode["task_id"]]

    return {
        "version": importlib.metadata.version("TotalSegmentator"),
        "speed": speed,
        "weights": [get_weights_folder(TASK_ID_WEIGHTS_CONFIGS[number]) for number in numbers],
        "modality": "MR" if task.endswith("_mr") else "CT",
    }


def get_weights_folder(entry: Json) -> str:
    """A model's folder below the weights."""
    return str(Path(entry.get("rel_path") or "", entry["foldername"]))


def segment_volume(folder: Path) -> Json:
    """Segment; the answer. Never raises, so that the reason is always written."""
    request = json.loads((folder / "request.json").read_text("utf-8"))
    try:
        import nibabel
        import numpy
        from totalsegmentator import python_api
        from totalsegmentator.map_to_binary import class_map

        python_api.download_pretrained_weights = check_weights
        # the defaults would resample and save in several processes: one series has the machine's share already
        labels = python_api.totalsegmentator(
            folder / "volume.nii.gz",
            None,
            ml=True,
            task=request["task"],
            device=request["device"],
            quiet=True,
            nr_thr_resamp=1,
            nr_thr_saving=1,
            **SPEEDS[request["speed"]],
        )
        array = numpy.asanyarray(labels.dataobj).astype(numpy.uint16)
        nibabel.save(nibabel.Nifti1Image(array, labels.affine), folder / "labels.nii.gz")
        return {"segments": make_segment_rows(class_map[request["task"]])}
    except WeightsMissing as missing:
        return {
            "error": str(missing),
            "hint": "Put it there: `totalseg_download_weights` fetches it.",
            "unavailable": True,
        }
    except Exception as error:  # whatever the network's libraries raise becomes the answer
        traceback.print_exc()
        return {"error": f"TotalSegmentator failed ({type(error).__name__}): {error}"}


def check_weights(number: int) -> None:
    """In place of TotalSegmentator's download: the folder is there, or a sentence says that it is not."""
    from totalsegmentator.map_tasks_config import TASK_ID_WEIGHTS_CONFIGS

    folder = Path(os.environ["TOTALSEG_WEIGHTS_PATH"], get_weights_folder(TASK_ID_WEIGHTS_CONFIGS[number]))
    if not folder.is_dir():
        raise WeightsMissing(f"TotalSegmentator's weights {folder.name} are not in the weights folder.")


def make_segment_rows(names: dict[int, str]) -> list[Json]:
    """A row for each class: value, name, and the codes and color of TotalSegmentator's own SNOMED table."""
    table = importlib.resources.files("totalsegmentator") / "resources" / "totalsegmentator_snomed_mapping.csv"
    with table.open(encoding="utf-8") as stream:
        known = {row["Structure"]: row for row in csv.DictReader(stream)}

    return [
        {"value": value, "label": name.replace("_", " "), **read_codes(known.get(name))}
        for value, name in names.items()
    ]


def read_codes(row: Any) -> Json:
    """Codes of one line of the table, as [value, scheme, meaning]."""
    if row is None:
        return {}

    parts = {
        "category": "SegmentedPropertyCategoryCodeSequence",
        "type": "SegmentedPropertyTypeCodeSequence",
        "laterality": "SegmentedPropertyTypeModifierCodeSequence",
        "region": "AnatomicRegionSequence",
    }
    fields = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
    codes = {name: [row[f"{part}.{field}"] for field in fields] for name, part in parts.items()}
    found = {name: code for name, code in codes.items() if all(code)}
    if row["DicomRGBColor"]:
        found["color"] = [int(channel) for channel in row["DicomRGBColor"].split(",")]

    return found


if __name__ == "__main__":  # also what TotalSegmentator's own worker processes need
    if sys.argv[1] == "describe":
        print(json.dumps(describe_task(*sys.argv[2:4])))
    else:
        here = Path(sys.argv[2])
        (here / "answer.json").write_text(json.dumps(segment_volume(here)), "utf-8")
