"""The older image server's tree and label tables, over our results."""

import gzip
from typing import Any

import nibabel as nib
import numpy as np

SERIES = "1.2.3.4.1.1"
SCAN = f"{SERIES}_slicer"


def test_the_label_table_answers_as_the_older_server_did(viewer: Any) -> None:
    answer = viewer(f"/output/P1/voxels/{SCAN}/original/labels.nii.gz/labels").get_json()
    assert answer["voxel_filename"] == "labels.nii.gz"
    assert answer["labels"][1] == {"id": 2, "name": "Left lung"}


def test_the_tree_of_a_patient_can_be_walked(viewer: Any) -> None:
    names = lambda path: [e["name"] for e in viewer(path).get_json()["entries"]]  # noqa: E731
    assert names("/output/P1/") == ["nifti", "scans", "voxels"]
    assert names("/output/P1/scans/") == [f"{SCAN}.nii.gz"]
    assert names(f"/output/P1/voxels/{SCAN}/") == ["original", "right_lung.nii.gz", "left_lung.nii.gz", "bone.nii.gz"]
    lung: Any = nib.Nifti1Image.from_bytes(gzip.decompress(viewer(f"/output/P1/voxels/{SCAN}/left_lung.nii.gz").data))
    assert set(np.unique(np.asanyarray(lung.dataobj))) == {0, 2}
    assert "Breadcrumbs" in viewer("/output/P1/scans/", headers={"Accept": "text/html"}).get_data(as_text=True)
    assert viewer("/output/nobody/scans/").status_code == 404
