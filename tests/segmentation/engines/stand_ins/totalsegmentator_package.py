"""Stands in for the package TotalSegmentator: what our script imports of it, with a threshold for a network.

`install(folder)` writes it there, as pip would. STAND_IN says what goes wrong: crash, hang, elsewhere,
fetch (a model that is missing is wanted).
"""

from pathlib import Path

FILES = {
    "totalsegmentator/__init__.py": "",
    "totalsegmentator/map_tasks_config.py": """
TASK_CONFIGS = {
    "total": {"sub_modes": {"fast": {"task_id": 297}, "fastest": {"task_id": 298}, "default": {"task_id": [291, 292]}}},
    "lung_vessels": {"task_id": 258},
    "body_mr": {"sub_modes": {"fast": {"task_id": 853}, "default": {"task_id": 598}}},
}
NAMES = {297: "D297", 298: "D298", 291: "D291", 292: "D292", 258: "D258", 853: "D853", 598: "D598"}
TASK_ID_WEIGHTS_CONFIGS = {number: {"foldername": name, "version": "v"} for number, name in NAMES.items()}
""",
    "totalsegmentator/map_to_binary.py": """
class_map = {"total": {1: "spleen", 2: "kidney_right", 3: "spaceship"}}
""",
    "totalsegmentator/python_api.py": """
import os, time
import nibabel as nib, numpy as np

def download_pretrained_weights(number):
    raise SystemExit("the network was asked")

def totalsegmentator(input, output=None, ml=False, nr_thr_resamp=1, nr_thr_saving=6, fast=False, fastest=False,
                     task="total", quiet=False, device="gpu"):
    mischief = os.environ.get("STAND_IN", "")
    assert (ml, quiet, device, fast) == (True, True, "cpu", True)
    if mischief == "crash": os.abort()
    if mischief == "hang": time.sleep(100_000)
    download_pretrained_weights(298 if mischief == "fetch" else 297)
    image = nib.load(input)
    values = np.asanyarray(image.dataobj)
    labels = np.where(values > 200, 2, np.where(values > -200, 3, 0)).astype(np.uint8)
    affine = image.affine.copy()
    if mischief == "elsewhere": affine[:3, 3] += 7
    return nib.Nifti1Image(labels, affine)
""",
    "totalsegmentator/resources/totalsegmentator_snomed_mapping.csv": "",
    "totalsegmentator-2.18.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: TotalSegmentator\nVersion: 2.18.0\n",
}
PARTS = ("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence")
MORE = ("SegmentedPropertyTypeModifierCodeSequence", "AnatomicRegionSequence")


def install(folder: Path) -> None:
    """Write the package below `folder`, its SNOMED table with one structure included."""
    fields = [f"{p}.{f}" for p in PARTS + MORE for f in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")]
    head = ",".join(["Structure", *fields, "DicomRGBColor"])
    kidney = "SCT,123037004,Anatomical Structure,SCT,64033007,Kidney,SCT,24028007,Right,,,"
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text or (f'{head}\nkidney_right,{kidney},"12,34,56"\n' if name.endswith(".csv") else ""))
