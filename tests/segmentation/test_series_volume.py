"""Which series are volumes."""

import nibabel as nib
import numpy as np
import pytest

from data import shared_data
from minipacs.errors import NotAVolume, Unreadable
from segmentation.series_volume import load_volume, read_images, read_volume_and_modality, stack_images

OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)


def test_voxels_keep_their_hounsfield_units_and_their_place(series, phantom):
    s = series(orientation=OBLIQUE)
    slices = stack_images(s.images(phantom(s)), {"CT"})
    volume = load_volume(slices)
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, phantom(s))
    index = np.array([[7, 3, 19]])
    assert np.allclose(volume.map_indices_to_reference(index)[0], np.array(s.first) + s.axes @ index[0], atol=1e-4)


def test_order_of_arrival_does_not_matter(series, phantom):
    s = series(orientation=OBLIQUE, reverse=True)
    images = s.images(phantom(s))
    np.random.default_rng(1).shuffle(images)
    volume = load_volume(stack_images(images))
    assert np.array_equal(volume.array, phantom(s)[::-1])


def test_a_fractional_rescale_gives_float(series, phantom):
    s = series(header={"RescaleSlope": 0.5})
    assert load_volume(stack_images(s.images(phantom(s)))).array.dtype == np.float32


def move_image(image, *offset):
    image.ImagePositionPatient = [p + o for p, o in zip(image.ImagePositionPatient, offset, strict=True)]


def tilt_images(images):
    for k, image in enumerate(images):
        move_image(image, 0, 0.6 * k, 0)


def make_setter(keyword, value, start=0):
    def do(images):
        for image in images[start:]:
            setattr(image, keyword, value)

    return do


def make_remover(keyword):
    def do(images):
        for image in images:
            delattr(image, keyword)

    return do


REFUSALS = {
    "it has 9 images": lambda i: i.__delitem__(slice(9, None)),
    "a gap: images 3.00 mm apart, and 9.00 mm; about 2 missing": lambda i: i.__delitem__(slice(2, 4)),
    "gantry is tilted by 11.3": tilt_images,
    "1 of its 12 images lie where another one lies": lambda i: move_image(i[5], 0, 0, -3.0),
    "unevenly spaced": lambda i: move_image(i[-1], 0, 0, 0.9),
    "different orientations": lambda i: make_setter("ImageOrientationPatient", [0, 1, 0, 0, 0, -1], 8)(i),
    "differ in size: 20×28 and 28×20": lambda i: (setattr(i[0], "Rows", 28), setattr(i[0], "Columns", 20)),
    "differ in pixel spacing": make_setter("PixelSpacing", [0.7, 1.2], 6),
    "different frames of reference": make_setter("FrameOfReferenceUID", "1.2.3", 6),
    "a localiser": make_setter("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    "it is MR; the engine takes CT": make_setter("Modality", "MR"),
    "not Hounsfield units": make_setter("RescaleType", "OD"),
    "rescale is missing": make_remover("RescaleSlope"),
    "lack ImagePositionPatient": make_remover("ImagePositionPatient"),
    "multi-frame": make_setter("NumberOfFrames", 4),
    "in colour": make_setter("SamplesPerPixel", 3),
    "holds no images": make_remover("Rows"),
    "no UIDs": make_setter("SOPInstanceUID", ""),
    "not two perpendicular unit vectors": make_setter("ImageOrientationPatient", [1, 0, 0, 0.5, 1, 0]),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_a_series_that_is_no_volume_is_refused_in_a_sentence(series, phantom, reason):
    s = series()
    images = s.images(phantom(s))
    REFUSALS[reason](images)
    with pytest.raises(NotAVolume) as refusal:
        stack_images(images, {"CT"})
    assert reason in refusal.value.message
    assert refusal.value.message.startswith("The series cannot be segmented: ")


def test_a_localiser_filed_with_the_series_is_left_out(series, phantom):
    s = series()
    images = s.images(phantom(s))
    scout = s.images(phantom(s)[:1])[0]
    scout.ImageType, scout.ImageOrientationPatient = ["ORIGINAL", "PRIMARY", "LOCALIZER"], [0, 1, 0, 0, 0, -1]
    assert len(stack_images([scout, *images]).images) == 12


def test_a_series_without_frame_of_reference_is_a_space_of_its_own(series, phantom, write_images):
    s = series(header={"FrameOfReferenceUID": ""})
    images = read_images(write_images(s.images(phantom(s))))
    assert len({i.FrameOfReferenceUID for i in images}) == 1
    assert images[0].FrameOfReferenceUID.startswith("2.25.")


@pytest.mark.parametrize(("keep", "reason"), [(900, "003.dcm"), (-100, "cannot be decoded"), (10, "003.dcm")])
def test_a_file_that_is_cut_off_is_named(series, phantom, write_images, keep, reason):
    s = series()
    files = write_images(s.images(phantom(s)))
    files[3].write_bytes(files[3].read_bytes()[:keep])
    with pytest.raises(Unreadable, match=reason):
        load_volume(stack_images(read_images(files)))


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("geometry_traps/gantrytilting_001", "tilted by 14.0°"),
        ("geometry_traps/sliceincrement_001", "images 5.00 mm apart, and 10.00 mm"),
        ("geometry_traps/notavolume_001", "lie where another one lies"),
        ("derived/gap_series", "images 5.00 mm apart, and 15.00 mm; about 2 missing"),
        ("enhanced", "multi-frame"),
        ("sc", "in colour"),
        ("ct_totalseg_20slices/as_published", "no UIDs"),
    ],
)
def test_real_traps_are_refused(folder, reason):
    files = sorted(f for f in shared_data(folder).rglob("*") if f.is_file())
    with pytest.raises(NotAVolume, match=reason):
        stack_images(read_images(files), minimum=3)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize(
    ("folder", "shape"),
    [
        ("ct_chest_lungdx_A0001", (64, 512, 512)),
        ("ct_totalseg_20slices/uids_filled", (20, 512, 512)),
        ("petctmr_sts_001/PET", (59, 43, 41)),
        ("mr_t1_brain_studyforrest", (120, 384, 274)),
    ],
)
def test_real_volumes_pass(folder, shape):
    files = sorted(f for f in shared_data(folder).rglob("*") if f.is_file())
    assert load_volume(stack_images(read_images(files))).array.shape == shape


def test_a_file_s_voxels_keep_their_place_and_tell_its_modality(tmp_path):
    affine = np.array([[0.8, -0.36, 0.48, -10], [0.6, 0.48, -0.64, 20], [0, 0.8, 0.6, 30], [0, 0, 0, 1]])
    affine = affine @ np.diag([1.25, 0.75, 3, 1])
    values = (np.arange(60).reshape(5, 4, 3) * 37 - 1000).astype(np.int16)  # (columns, rows, slices)
    nib.save(nib.Nifti1Image(values, np.diag([-1, -1, 1, 1]) @ affine), tmp_path / "ct.nii.gz")
    volume, modality = read_volume_and_modality(tmp_path / "ct.nii.gz", {"CT"})
    assert modality == "CT"
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, values.T)
    assert np.allclose(volume.map_indices_to_reference(np.array([[2, 1, 4]])), (affine @ [4, 1, 2, 1])[:3])
    with pytest.raises(NotAVolume, match="it is CT; the engine takes MR"):
        read_volume_and_modality(tmp_path / "ct.nii.gz", {"MR"})


def test_a_file_that_is_no_volume_is_refused_by_its_name(tmp_path):
    (tmp_path / "text.nii").write_text("hello")
    with pytest.raises(Unreadable, match=r"text\.nii: The file is not NIfTI"):
        read_volume_and_modality(tmp_path / "text.nii")
    with pytest.raises(Unreadable, match=r"none\.nrrd cannot be opened"):
        read_volume_and_modality(tmp_path / "none.nrrd")
    nib.save(nib.Nifti1Image(np.zeros((5, 4, 3, 2), np.int16), np.eye(4)), tmp_path / "four.nii")
    with pytest.raises(NotAVolume, match="not one grey-scale volume"):
        read_volume_and_modality(tmp_path / "four.nii")
    nib.save(nib.Nifti1Image(np.full((5, 4, 3), np.nan, np.float32), np.eye(4)), tmp_path / "holes.nii")
    with pytest.raises(Unreadable, match="not numbers"):
        read_volume_and_modality(tmp_path / "holes.nii")
    sheared = np.eye(4)
    sheared[0, 2] = 0.05
    nib.save(nib.Nifti1Image(np.zeros((5, 4, 3), np.int16), sheared), tmp_path / "sheared.nii")
    with pytest.raises(NotAVolume, match="right angles"):
        read_volume_and_modality(tmp_path / "sheared.nii")
