"""What others read in our results: codes, names, colours, volumes, and their own verdict."""

import json
import subprocess
import warnings
from shutil import which

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from data import shared_data
from minipacs.archive.content import MANUFACTURER
from minipacs.settings import ROOT
from segmentation.identity import Identity
from segmentation.labelmap import Labelmap, Segment
from segmentation.results.dicom_seg import encode_seg
from segmentation.results.dicom_sr import encode_sr, measure_segments
from segmentation.results.glb import write_glb
from segmentation.results.label_table import write_labels
from segmentation.results.nifti import write_nifti
from segmentation.results.preview import write_preview
from segmentation.results.slicer_scene import SlicerScene, make_terminology_entry
from segmentation.results.surfaces import find_surfaces
from segmentation.series_volume import load_volume, read_images, stack_images
from segmentation.vocabulary import codes

BONE = Segment("Bone", codes.TISSUE, codes.BONE, color=(241, 214, 145), family=codes.MORPHOLOGY)
FAT = Segment("Torso fat", codes.TISSUE, codes.FAT, region=codes.TRUNK, color=(230, 220, 70), surface=False)
LUNG = Segment("Left lung", codes.ANATOMICAL_STRUCTURE, codes.LUNG, codes.LEFT, color=(197, 165, 145))
BODY = Segment("Body", codes.ANATOMICAL_STRUCTURE, codes.BODY, color=(177, 122, 101), encloses=True)


class ResultOnPhantom:
    """A result on the phantom."""

    def __init__(self, images, thresholds=(300, 30, -800)):
        self.slices = stack_images(images, minimum=3)
        self.volume = load_volume(self.slices)
        bone, fat, lung = thresholds
        values = self.volume.array
        labels = np.select([values > bone, values > fat, values > lung, values > -950], [1, 2, 3, 4], 0)
        self.labelmap = Labelmap(labels.astype(np.uint8), self.volume.get_geometry(), (BONE, FAT, LUNG, BODY)).compact()
        uid = str(self.slices.images[0].SeriesInstanceUID)
        self.identity = Identity(uid, "d", "threshold", "1.2", "-")

    def seg(self, kind="BINARY"):
        return encode_seg(self.labelmap, self.slices, self.identity, kind)

    def sr(self):
        return encode_sr(
            self.labelmap, measure_segments(self.labelmap, self.volume), self.slices, self.seg(), self.identity
        )


@pytest.fixture
def made(series, phantom):
    s = series(orientation=(0.8, 0.6, 0.0, -0.36, 0.48, 0.8))
    values = phantom(s)
    values[7:10, 12:15, 12:20] = -700
    values[0:2, 0:2] = -900
    return ResultOnPhantom(s.images(values))


def save_and_read(tmp_path, dataset, name):
    dataset.save_as(tmp_path / name)
    return dcmread(tmp_path / name)


# -- SEG --------------------------------------------------------------------------------------------
def test_the_seg_carries_patient_and_study_whole(made, tmp_path):
    seg, source = save_and_read(tmp_path, made.seg(), "seg.dcm"), made.slices.images[0]
    patient = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "PatientWeight")
    study = ("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "StudyDescription", "AccessionNumber")
    for keyword in (*patient, *study, "ReferringPhysicianName", "FrameOfReferenceUID"):
        assert seg[keyword].value == source[keyword].value, keyword


def test_the_seg_is_known_as_ours(made, tmp_path):
    seg = save_and_read(tmp_path, made.seg(), "seg.dcm")
    assert (seg.Manufacturer, seg.ManufacturerModelName, seg.SoftwareVersions[0]) == (MANUFACTURER, "threshold", "1.2")
    assert seg.SeriesDescription == "threshold segmentation: 1.25 mm soft"
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == made.identity.series_instance_uid
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 12


def test_each_segment_is_named_coded_and_coloured(made, tmp_path):
    seg = save_and_read(tmp_path, made.seg(), "seg.dcm")
    bone, fat, lung, _ = seg.SegmentSequence
    assert [s.SegmentLabel for s in seg.SegmentSequence] == ["Bone", "Torso fat", "Left lung", "Body"]
    assert bone.SegmentedPropertyTypeCodeSequence[0].CodeValue == "272673000"
    assert bone.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "85756007"
    assert fat.AnatomicRegionSequence[0].CodeMeaning == "Trunk"
    laterality = lung.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert (laterality.CodeValue, laterality.CodeMeaning) == ("7771000", "Left")
    algorithm = bone.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("threshold", "1.2")
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123104"
    lab = hd.color.CIELabColor.from_rgb(*BONE.color)
    assert tuple(bone.RecommendedDisplayCIELabValue) == tuple(lab.value)


def test_what_is_left_of_an_enclosing_segment_is_not_called_the_whole(made, tmp_path):
    seg, sr = save_and_read(tmp_path, made.seg(), "seg.dcm"), made.sr()
    body = seg.SegmentSequence[3]
    assert body.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    assert body.AnatomicRegionSequence[0].CodeMeaning == "Entire body"
    group = hd.sr.Comprehensive3DSR.from_dataset(sr).content.get_volumetric_roi_measurement_groups()[3]
    assert group.finding_type.meaning == "Tissue"


def test_a_labelmap_describes_its_segments_from_one_on_as_ohif_counts_them(made, tmp_path):
    seg = save_and_read(tmp_path, made.seg("LABELMAP"), "seg.dcm")
    assert [item.SegmentNumber for item in seg.SegmentSequence] == [1, 2, 3, 4]
    assert seg.PixelPaddingValue == 0
    read = hd.seg.segread(tmp_path / "seg.dcm")
    assert list(read.segment_numbers) == [1, 2, 3, 4]


def test_empty_frames_are_left_out(made):
    seg, frames = made.seg(), 0
    for value in range(1, 5):
        frames += int((made.labelmap.array == value).any((1, 2)).sum())
    assert int(seg.NumberOfFrames) == frames


def test_encoding_twice_gives_the_same_uids(made):
    one, two = made.seg(), made.seg()
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert one[keyword].value == two[keyword].value
    assert one.SOPInstanceUID.startswith("2.25.")
    assert (
        one.DimensionIndexSequence[0].DimensionOrganizationUID == two.DimensionIndexSequence[0].DimensionOrganizationUID
    )
    assert one.SOPInstanceUID not in (made.sr().SOPInstanceUID, one.SeriesInstanceUID)


@pytest.mark.parametrize(
    "header",
    [
        {"PatientSex": "X"},
        {"PatientName": "Döe^Jané", "SpecificCharacterSet": "ISO_IR 192"},
        {"PatientID": "", "StudyDate": "", "SeriesDescription": "", "SeriesNumber": None},
    ],
)
def test_untidy_patients_are_copied_as_they_are(series, phantom, tmp_path, header, caplog):
    s = series(header=header)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = ResultOnPhantom(s.images(phantom(s)))
        for dataset in (made.seg(), made.sr()):
            read = save_and_read(tmp_path, dataset, "x.dcm")
            for keyword in {"PatientID", "PatientName", "PatientSex"}:
                assert read[keyword].value == made.slices.images[0][keyword].value
    assert "Jan" not in caplog.text


# -- SR ---------------------------------------------------------------------------------------------
def test_the_report_measures_each_segment_in_ucum_units(made, tmp_path):
    save_and_read(tmp_path, made.sr(), "sr.dcm")
    sr = hd.sr.srread(tmp_path / "sr.dcm")
    groups = sr.content.get_volumetric_roi_measurement_groups()
    assert [g.tracking_identifier for g in groups] == ["Bone", "Torso fat", "Left lung", "Body"]
    values = made.volume.array[made.labelmap.array == 2]
    found = {}
    for m in groups[1].get_measurements():
        derivation = m.derivation.meaning if m.derivation else ""
        found[f"{m.name.meaning} {derivation}".strip()] = (m.value, m.unit.value)
    assert found.pop("Volume") == (pytest.approx(values.size * 3.0 * 0.75 * 1.25 / 1000, rel=1e-5), "mL")
    assert {unit for _, unit in found.values()} == {"[hnsf'U]"}
    numbers = sorted(value for value, _ in found.values())
    assert numbers == pytest.approx(sorted([values.mean(), values.std(), values.min(), values.max()]), rel=1e-5)
    assert groups[2].finding_sites[0].laterality.meaning == "Left"
    assert groups[0].reference_type.meaning == "Referenced Segment"


def test_the_report_refers_to_our_seg_and_its_images(made):
    sr, seg = made.sr(), made.seg()
    (study,) = sr.CurrentRequestedProcedureEvidenceSequence
    series = {s.SeriesInstanceUID: s.ReferencedSOPSequence for s in study.ReferencedSeriesSequence}
    assert series[seg.SeriesInstanceUID][0].ReferencedSOPInstanceUID == seg.SOPInstanceUID
    assert len(series[made.identity.series_instance_uid]) == 12


# -- the Standard's own judge -----------------------------------------------------------------------
def find_errors_by_dciodvfy(path):
    if which("dciodvfy") is None:
        pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")
    done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    assert "Abort" not in done.stderr
    return {line for line in done.stderr.splitlines() if line.startswith("Error")}


def test_dciodvfy_finds_no_error_in_seg_and_sr(made, tmp_path):
    save_and_read(tmp_path, made.seg(), "seg.dcm")
    save_and_read(tmp_path, made.sr(), "sr.dcm")
    assert find_errors_by_dciodvfy(tmp_path / "seg.dcm") == set()
    assert find_errors_by_dciodvfy(tmp_path / "sr.dcm") == set()


@pytest.mark.parametrize(
    "folder",
    ["ct_chest_lungdx_A0001", "petctmr_sts_001/CT", "mr_t1_brain_studyforrest", "ct_totalseg_20slices/uids_filled"],
)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_dciodvfy_finds_no_error_that_a_real_source_has_not(folder, tmp_path):
    files = sorted(f for f in shared_data(folder).rglob("*") if f.is_file())
    made = ResultOnPhantom(read_images(files[:24] if len(files) > 24 else files), (300, 30, -150))
    theirs = find_errors_by_dciodvfy(files[0])
    for name, dataset in (("seg.dcm", made.seg()), ("sr.dcm", made.sr())):
        save_and_read(tmp_path, dataset, name)
        assert find_errors_by_dciodvfy(tmp_path / name) <= theirs


# -- GLB --------------------------------------------------------------------------------------------
def validate_glb(path):
    """The Khronos validator's counts: errors, warnings, infos, hints."""
    module = next(
        (m for m in (ROOT / "node_modules", ROOT / ".ohif" / "node_modules") if (m / "gltf-validator").is_dir()), None
    )
    if module is None or which("node") is None:
        pytest.skip("gltf-validator is not installed (npm install)")
    script = (
        "const v=require(process.argv[1]);const fs=require('fs');"
        "v.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2])))"
        ".then(r=>console.log(JSON.stringify(r.issues)))"
    )
    done = subprocess.run(
        ["node", "-e", script, str(module / "gltf-validator"), str(path)], capture_output=True, text=True, check=True
    )
    issues = json.loads(done.stdout)
    return [issues[f"num{kind}"] for kind in ("Errors", "Warnings", "Infos", "Hints")], issues["messages"]


@pytest.mark.parametrize("exact", [False, True])
def test_the_khronos_validator_has_nothing_to_say(made, tmp_path, exact):
    path = tmp_path / "model.glb"
    write_glb(path, find_surfaces(made.labelmap, exact=exact), made.labelmap.segments, {"series": "1.2"})
    counts, messages = validate_glb(path)
    assert counts == [0, 0, 0, 0], messages


def test_a_result_without_any_surface_is_still_a_valid_glb(made, tmp_path):
    write_glb(tmp_path / "model.glb", [], made.labelmap.segments, {})
    counts, messages = validate_glb(tmp_path / "model.glb")
    assert counts == [0, 0, 0, 0], messages


def test_meshes_carry_label_code_and_colour(made, tmp_path):
    path = tmp_path / "model.glb"
    write_glb(path, find_surfaces(made.labelmap), made.labelmap.segments, {"series": "1.2"})
    content = path.read_bytes()
    document = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
    names = [node["name"] for node in document["nodes"]]
    assert names == ["Bone", "Left lung", "Body", "segmentation"]
    lung = document["nodes"][1]["extras"]
    assert (lung["type"]["value"], lung["laterality"]["meaning"]) == ("39607008", "Left")
    assert document["materials"][2]["alphaMode"] == "BLEND"
    assert document["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"][0] == pytest.approx(0.87962, abs=1e-4)


# -- NIfTI, Slicer, preview -------------------------------------------------------------------------
def test_nifti_names_its_labels_where_readers_look(made, tmp_path):
    write_nifti(made.labelmap, tmp_path / "labels.nii.gz")
    image = nib.load(tmp_path / "labels.nii.gz")
    table = image.header.extensions[0].get_content()
    table = table.decode() if isinstance(table, bytes) else str(table)
    assert '<Label Key="3"' in table
    assert "Left lung" in table
    assert image.header.get_xyzt_units()[0] == "mm"
    assert np.allclose(image.get_qform(), image.get_sform(), atol=1e-4)
    write_labels(made.labelmap, tmp_path / "labels.json")
    labels = json.loads((tmp_path / "labels.json").read_text())["labels"]
    assert [label["value"] for label in labels] == [1, 2, 3, 4]
    assert labels[0]["voxels"] == int((made.labelmap.array == 1).sum())


def test_slicer_reads_its_segmentation_back_with_names_codes_and_colours(made, tmp_path):
    import slicer

    path = tmp_path / "segmentation.seg.nrrd"
    SlicerScene(made.labelmap, find_surfaces(made.labelmap)).save_seg_nrrd(path)
    scene, application = slicer.vtkMRMLScene(), slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLApplicationLogic(application)
    logic.SetMRMLScene(scene)
    segmentation = logic.LoadSegmentationFromFile(str(path), True, "back").GetSegmentation()
    read = [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]
    assert [s.GetName() for s in read] == ["Bone", "Torso fat", "Left lung", "Body"]
    assert [s.GetTerminology() for s in read] == [
        make_terminology_entry(s.without_enclosed_parts) for s in made.labelmap.segments
    ]
    assert np.allclose(read[0].GetColor(), np.array(BONE.color) / 255, atol=1e-3)
    assert "SCT^123037004^Anatomical Structure~SCT^39607008^Lung~SCT^7771000^Left" in read[2].GetTerminology()


def test_the_scene_holds_closed_surfaces_and_can_be_bundled(made, tmp_path):
    scene = SlicerScene(made.labelmap, find_surfaces(made.labelmap))
    bone = scene.node.GetSegmentation().GetNthSegment(0)
    bounds = bone.GetRepresentation("Closed surface").GetBounds()
    at = np.argwhere(made.labelmap.array == 1)
    ras = made.volume.map_indices_to_reference(at) * (-1, -1, 1)
    assert np.allclose(bounds[::2], ras.min(0), atol=3.5)
    assert np.allclose(bounds[1::2], ras.max(0), atol=3.5)
    scene.save_mrb(tmp_path / "scene.mrb")
    assert (tmp_path / "scene.mrb").stat().st_size > 1000


def test_no_render_window_is_ever_made():
    for file in (ROOT / "segmentation").rglob("*.py"):
        text = file.read_text("utf-8")
        assert "vtkRenderWindow" not in text, file.name
        assert "import vtk\n" not in text, f"{file.name}: import what is used, not all of VTK"


def test_the_preview_shows_three_planes_with_every_colour(made, tmp_path):
    write_preview(made.labelmap, made.volume, tmp_path / "preview.png")
    picture = np.asarray(Image.open(tmp_path / "preview.png").convert("RGB"))
    assert 300 < picture.shape[1] < 1300
    for segment in made.labelmap.segments:  # the legend
        assert (picture == segment.color).all(-1).any(), segment.label
    assert (np.ptp(picture.reshape(-1, 3).astype(int), axis=1) > 20).mean() > 0.02


def test_a_labelmap_that_does_not_fit_cannot_be_made(made):
    from minipacs.errors import EngineFailed

    geometry = made.volume.get_geometry()
    for array in (
        np.zeros((2, 2, 2), np.uint8),
        np.full(geometry.spatial_shape, 2, np.uint8),
        np.zeros(geometry.spatial_shape, int),
    ):
        with pytest.raises(EngineFailed, match="A labelmap"):
            Labelmap(array, geometry, (BONE,))


def test_segments_without_voxels_are_left_out_and_the_others_numbered_anew(made):
    array = np.where(made.labelmap.array == 3, 3, 0).astype(np.uint8)
    compact = Labelmap(array, made.volume.get_geometry(), (BONE, FAT, LUNG)).compact()
    assert compact.segments == (LUNG,)
    assert set(np.unique(compact.array)) == {0, 1}


def test_identity_changes_with_everything_it_is_made_of():
    one = Identity("1.2", "d", "slicer", "1", "-")
    others = [Identity("1.3", "d", "slicer", "1", "-"), Identity("1.2", "e", "slicer", "1", "-"),
              Identity("1.2", "d", "other", "1", "-"), Identity("1.2", "d", "slicer", "2", "-"),
              Identity("1.2", "d", "slicer", "1", "p")]  # fmt: skip
    assert len({i.derive_uid("SEG series") for i in (one, *others)}) == 6
    assert len(one.derive_uid("SEG series")) <= 64
