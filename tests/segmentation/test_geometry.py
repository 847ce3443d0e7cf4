"""The same known shape, read back by others from every form, lies at the same patient coordinates."""

import json
import struct
import subprocess
import sys
from itertools import product
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from segmentation.identity import Identity
from segmentation.labelmap import Labelmap, Segment
from segmentation.results.dicom_seg import encode_seg
from segmentation.results.glb import write_glb
from segmentation.results.nifti import write_nifti
from segmentation.results.slicer_scene import SlicerScene
from segmentation.results.surfaces import find_surfaces
from segmentation.series_volume import load_volume, stack_images
from segmentation.vocabulary import codes

TOLERANCE_MM = 1e-3
BONE = Segment("Bone", codes.TISSUE, codes.BONE, color=(241, 214, 145))
LUNG = Segment("Left lung", codes.ANATOMICAL_STRUCTURE, codes.LUNG, codes.LEFT, color=(197, 165, 145))

PLANES = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "oblique": ((0.8, 0.6, 0.0), (-0.36, 0.48, 0.8)),
}
TURNS = {
    "as is": lambda r, c: (*r, *c),
    "rows negated": lambda r, c: (*(-x for x in r), *c),
    "columns negated": lambda r, c: (*r, *(-x for x in c)),
    "permuted": lambda r, c: (*c, *r),
}
CASES = list(product(PLANES, TURNS, ["forward", "reversed"]))


@pytest.fixture(params=CASES, ids=[" ".join(case) for case in CASES])
def labelmap_in_a_geometry(request, series, phantom):
    """A labelmap in one of the geometries, its images having arrived in random order."""
    plane, turn, order = request.param
    described = series(orientation=TURNS[turn](*PLANES[plane]), reverse=order == "reversed")
    hounsfield = phantom(described)
    images = described.images(hounsfield)
    np.random.default_rng(7).shuffle(images)
    slices = stack_images(images)
    volume = load_volume(slices)
    labels = np.where(volume.array > 300, 1, np.where(volume.array > -200, 2, 0)).astype(np.uint8)
    truth = np.where(hounsfield > 300, 1, np.where(hounsfield > -200, 2, 0))
    return described, truth, Labelmap(labels, volume.get_geometry(), (BONE, LUNG)), slices


def test_every_form_puts_the_shape_where_it_is(labelmap_in_a_geometry, tmp_path):
    described, truth, labelmap, slices = labelmap_in_a_geometry
    identity = Identity(described.uid, "d", "threshold", "1", "-")
    for kind in ("BINARY", "LABELMAP"):
        encode_seg(labelmap, slices, identity, kind).save_as(tmp_path / f"{kind}.dcm")
        check_labels(described, truth, *read_by_highdicom(tmp_path / f"{kind}.dcm"))
    write_nifti(labelmap, tmp_path / "labels.nii.gz")
    check_labels(described, truth, *read_by_nibabel(tmp_path / "labels.nii.gz"))
    SlicerScene(labelmap, find_surfaces(labelmap)).save_seg_nrrd(tmp_path / "labels.seg.nrrd")
    check_labels(described, truth, *read_by_simpleitk(tmp_path / "labels.seg.nrrd"))
    write_glb(tmp_path / "exact.glb", find_surfaces(labelmap, exact=True), labelmap.segments, {})
    check_vertices_are_half_way(described, truth, read_gltf_meshes(tmp_path / "exact.glb"))


def test_dcmqi_as_3d_slicer_uses_it_reads_the_seg_at_the_same_place(labelmap_in_a_geometry, tmp_path):
    tool = Path(sys.executable).with_name("segimage2itkimage")
    if not tool.exists():
        pytest.skip("dcmqi is not installed")
    described, truth, labelmap, slices = labelmap_in_a_geometry
    identity = Identity(described.uid, "d", "threshold", "1", "-")
    encode_seg(labelmap, slices, identity, "BINARY").save_as(tmp_path / "seg.dcm")
    line = [tool, "--inputDICOM", tmp_path / "seg.dcm", "--outputDirectory", tmp_path, "-t", "nrrd"]
    subprocess.run(line, check=True, capture_output=True)
    for value in (1, 2):
        labels, patient_to_index = read_by_simpleitk(tmp_path / f"{value}.nrrd")
        check_labels(described, np.where(truth == value, value, 0), labels, patient_to_index)
    attributes = json.loads((tmp_path / "meta.json").read_text())["segmentAttributes"]
    assert [a[0]["SegmentLabel"] for a in attributes] == ["Bone", "Left lung"]
    assert attributes[0][0]["recommendedDisplayRGBValue"] == pytest.approx(BONE.color, abs=1)


def test_a_smooth_surface_keeps_the_place_and_volume_of_its_segment(labelmap_in_a_geometry, tmp_path):
    described, truth, labelmap, _ = labelmap_in_a_geometry
    write_glb(tmp_path / "model.glb", find_surfaces(labelmap), labelmap.segments, {})
    meshes = read_gltf_meshes(tmp_path / "model.glb")
    for value, label in ((1, "Bone"), (2, "Left lung")):
        vertices, triangles = meshes[label]
        a, b, c = (vertices[triangles[:, k]] for k in range(3))
        sixths = np.einsum("ij,ij->i", a, np.cross(b, c))
        voxel = np.abs(np.linalg.det(described.axes))
        assert sixths.sum() / 6 == pytest.approx((truth == value).sum() * voxel, rel=0.05 if value == 2 else 0.25)
        middle = ((a + b + c) / 4 * sixths[:, None]).sum(0) / sixths.sum()
        expected = np.array(described.first) + described.axes @ np.argwhere(truth == value).mean(0)
        assert np.linalg.norm(middle - expected) < 0.25


def check_labels(described, truth, labels, patient_to_index):
    """Every voxel of the truth has its label at its patient coordinates, within the tolerance."""
    indices = np.argwhere(np.ones_like(truth))
    patient = np.array(described.first) + indices @ described.axes.T
    found = patient_to_index(patient)
    nearest = np.rint(found).astype(int)
    spacing = max(described.spacing)
    assert np.abs(found - nearest).max() * spacing <= TOLERANCE_MM
    inside = ((nearest >= 0) & (nearest < labels.shape)).all(1)
    read = np.zeros(len(indices), int)
    read[inside] = labels[tuple(nearest[inside].T)]
    assert (read != truth.ravel()).sum() == 0
    assert labels.astype(bool).sum() == truth.astype(bool).sum()


def read_by_highdicom(path):
    seg = hd.seg.segread(path)
    volume = seg.get_volume(combine_segments=True)
    return volume.array, lambda patient: volume.map_reference_to_indices(patient)


def read_by_nibabel(path):
    image = nib.load(path)
    back = np.linalg.inv(np.diag([-1, -1, 1, 1]) @ image.affine)
    return np.asarray(image.dataobj), lambda patient: patient @ back[:3, :3].T + back[:3, 3]


def read_by_simpleitk(path):
    image = SimpleITK.ReadImage(str(path))
    labels = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)

    def patient_to_index(patient):
        return np.array([image.TransformPhysicalPointToContinuousIndex(p) for p in patient.tolist()])

    return labels, patient_to_index


def read_gltf_meshes(path):
    """Vertices in patient coordinates (LPS mm) and triangles of each named mesh, as a viewer would place them."""
    content = path.read_bytes()
    length = struct.unpack("<I", content[12:16])[0]
    document, blob = json.loads(content[20 : 20 + length]), content[28 + length :]
    root = document["nodes"][document["scenes"][0]["nodes"][0]]
    turned = np.array(root["matrix"]).reshape(4, 4).T

    def values(number, dtype, width, stride):
        accessor = document["accessors"][number]
        view = document["bufferViews"][accessor["bufferView"]]
        raw = blob[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        return np.frombuffer(raw, dtype).reshape(-1, stride)[:, :width]

    meshes = {}
    for child in root["children"]:
        node = document["nodes"][child]
        primitive = document["meshes"][node["mesh"]]["primitives"][0]
        position = values(primitive["attributes"]["POSITION"], "<i2", 3, 4) / 32767
        local = position * node["scale"] + node["translation"]
        metres = local @ turned[:3, :3].T + turned[:3, 3]
        left, superior, anterior = metres.T * 1000
        short = document["accessors"][primitive["indices"]]["componentType"] == 5123
        triangles = values(primitive["indices"], "<u2" if short else "<u4", 3, 3).astype(int)
        meshes[node["name"]] = np.stack([left, -anterior, superior], 1), triangles
    return meshes


def check_vertices_are_half_way(described, truth, meshes):
    """Each vertex of an exact surface lies half-way between a voxel of the segment and one outside."""
    padded = np.pad(truth, 1)
    for value, label in ((1, "Bone"), (2, "Left lung")):
        patient, _ = meshes[label]
        indices = (patient - np.array(described.first)) @ np.linalg.inv(described.axes).T
        halves = np.rint(indices * 2) / 2
        assert np.abs((indices - halves) * described.spacing).max() <= TOLERANCE_MM
        between = halves % 1 == 0.5
        assert (between.sum(1) == 1).all()
        low, high = np.floor(halves).astype(int) + 1, np.ceil(halves).astype(int) + 1
        assert ((padded[tuple(low.T)] == value) != (padded[tuple(high.T)] == value)).all()


def test_there_are_enough_cases():
    assert len(CASES) >= 24
