"""Every segment has its own colour and name in OHIF, and what OHIF saves is read back by others and by us."""

import base64
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page
from pydicom.uid import generate_uid

from minipacs.local.phantom import write_chest_ct
from segmentation.results.convert_seg import convert_seg
from stack import RunningStack
from viewer_page import HAS_IMAGE, HAS_REPRESENTATION, show
from waiting import until

pytestmark = pytest.mark.browser

OPAQUE = """() => {
    for (const [property, value] of [['FillAlpha', 1], ['RenderOutline', false]]) {
        window.commandsManager.runCommand('set' + property, { type: 'Labelmap', value });
    }
}"""
CANVAS = """() => {
    const [viewport] = window.cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports());
    viewport.render();
    return viewport.getCanvas().toDataURL('image/png');
}"""
SHOWN = """() => {
    const [viewport] = window.cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports());
    return viewport.getCurrentImageId();
}"""
ON_CANVAS = """points => {
    const [viewport] = window.cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports());
    return points.map(point => viewport.worldToCanvas(point));
}"""
ALL_LOADED = """() => window.cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports())
    .every(viewport => viewport.getImageIds().every(id => window.cornerstone.cache.getImage(id)))"""
"""OHIF saves a segmentation only when every image below it is there."""
NAMED = """() => window.cornerstoneTools.segmentation.state.getSegmentations()
    .flatMap(one => Object.entries(one.segments).map(([number, segment]) => [Number(number), segment.label]))"""
SAVE = """async () => {
    const [one] = window.cornerstoneTools.segmentation.state.getSegmentations();
    const { segmentationId } = one;
    const made = await window.commandsManager.runCommand('generateSegmentation', { segmentationId });
    const dataset = made.dataset ?? made;
    await window.extensionManager.getActiveDataSource()[0].store.dicom(dataset);
    return [dataset.SOPInstanceUID, dataset.SeriesInstanceUID];
}"""
FAR_FROM_THE_EDGE = 3


def inside(labels: NDArray[np.uint8], value: int) -> tuple[int, int] | None:
    """A pixel (row, column) of this label whose neighbours have it as well."""
    same = labels == value
    for axis in (0, 1):
        for shift in range(-FAR_FROM_THE_EDGE, FAR_FROM_THE_EDGE + 1):
            same = same & np.roll(labels == value, shift, axis)
    places = np.argwhere(same)
    return (int(places[len(places) // 2][0]), int(places[len(places) // 2][1])) if len(places) else None


def labels_of(seg: hd.seg.Segmentation, instance: str) -> NDArray[np.uint8]:
    """The label of each pixel of one source image. OHIF does not say that locations are preserved; they are."""
    pixels = seg.get_pixels_by_source_instance(
        [instance],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
        skip_overlap_checks=True,
        ignore_spatial_locations=True,
    )
    return np.asarray(pixels[0], np.uint8)


def colour_of(seg: pydicom.Dataset, number: int) -> NDArray[np.float64]:
    """The RGB of Recommended Display CIELab Value (0062,000D)."""
    (item,) = [s for s in seg.SegmentSequence if s.SegmentNumber == number]
    return np.asarray(CIELabColor.from_dicom_value(item.RecommendedDisplayCIELabValue).to_rgb(), float)


def picture(page: Page) -> NDArray[np.int16]:
    """The canvas as it is now: (rows, columns, RGB)."""
    content = base64.b64decode(page.evaluate(CANVAS).partition(",")[2])
    return np.asarray(Image.open(BytesIO(content)).convert("RGB"), np.int16)


def place(image: pydicom.Dataset, row: int, column: int) -> list[float]:
    """A pixel's place in the patient (C.7.6.2.1.1); axial images."""
    x, y, z = (float(v) for v in image.ImagePositionPatient)
    return [x + column * float(image.PixelSpacing[1]), y + row * float(image.PixelSpacing[0]), z]


def segmented(stack: RunningStack, folder: Path, patient: str) -> tuple[list[pydicom.Dataset], pydicom.Dataset, Path]:
    """A synthetic chest with its automatic SEG: images in order, the SEG, the result's folder."""
    files = write_chest_ct(folder, patient_id=patient)
    images = sorted((pydicom.dcmread(f) for f in files), key=lambda d: float(d.ImagePositionPatient[2]))
    stack.send(folder)
    study = str(images[0].StudyInstanceUID)
    stack.wait_segmented(study)
    (result,) = (stack.settings.output / "results" / study).glob("*/slicer")
    return images, pydicom.dcmread(result / "seg.dcm"), result


def another(result: Path, kind: str, *, background: bool) -> pydicom.Dataset:
    """The result's SEG in the other form; with the item for the background, number 0, that highdicom writes."""
    seg = pydicom.dcmread(convert_seg(result, kind))
    if background:
        item = deepcopy(seg.SegmentSequence[0])
        item.SegmentNumber, item.SegmentLabel = 0, "Background"
        item.RecommendedDisplayCIELabValue = list(CIELabColor.from_rgb(0, 0, 0).value)
        seg.SegmentSequence.insert(0, item)
    seg.SeriesInstanceUID, seg.SOPInstanceUID = generate_uid(), generate_uid()
    seg.file_meta.MediaStorageSOPInstanceUID = seg.SOPInstanceUID
    return seg


def written(dataset: pydicom.Dataset) -> bytes:
    content = BytesIO()
    dataset.save_as(content)
    return content.getvalue()


@pytest.mark.parametrize("form", ["BINARY", "LABELMAP", "LABELMAP with a background"])
def test_each_segment_has_the_colour_and_name_of_the_seg(
    page: Page, stack: RunningStack, tmp_path: Path, artefacts: Path, form: str
) -> None:
    images, seg, result = segmented(stack, tmp_path, f"COLOURS-{form[:16]}")
    kind, _, background = form.partition(" with ")
    if seg.SegmentationType != kind or background:
        seg = another(result, kind, background=bool(background))
        stack.archive.store_file(written(seg))
    series = f"{images[0].SeriesInstanceUID},{seg.SeriesInstanceUID}"
    page.goto(f"{stack.address}/ohif/viewer?StudyInstanceUIDs={images[0].StudyInstanceUID}&SeriesInstanceUIDs={series}")
    page.wait_for_function(HAS_IMAGE)
    page.wait_for_function(HAS_REPRESENTATION)
    show(page, len(images) // 2)
    page.evaluate(OPAQUE)
    (image,) = [d for d in images if d.SOPInstanceUID in page.evaluate(SHOWN)]
    labels = labels_of(hd.seg.Segmentation.from_dataset(seg), image.SOPInstanceUID)
    segments = [s for s in seg.SegmentSequence if s.SegmentNumber > 0]
    assert dict(page.evaluate(NAMED)) == {int(s.SegmentNumber): s.SegmentLabel for s in segments}
    seen = {n: found for n in range(1, len(segments) + 1) if (found := inside(labels, n))}
    assert len(seen) >= 4
    places = np.rint(page.evaluate(ON_CANVAS, [place(image, *found) for found in seen.values()])).astype(int)

    def wrong() -> dict[int, Any]:
        drawn = picture(page)[places[:, 1], places[:, 0]]
        pairs = {n: (pixel, colour_of(seg, n)) for n, pixel in zip(seen, drawn, strict=True)}
        return {n: pair for n, pair in pairs.items() if np.abs(pair[0] - pair[1]).max() > 3}

    try:
        until(lambda: not wrong(), what="the colours of the SEG")
    finally:
        page.screenshot(path=artefacts / f"colours-{form.lower().replace(' ', '-')}.png")
        print(form, wrong())


def test_what_ohif_saves_is_read_back(page: Page, stack: RunningStack, tmp_path: Path) -> None:
    images, seg, _ = segmented(stack, tmp_path, "SAVED-BY-OHIF")
    study = str(images[0].StudyInstanceUID)
    page.goto(f"{stack.address}/ohif/viewer?StudyInstanceUIDs={study}")
    page.wait_for_function(HAS_REPRESENTATION)
    page.wait_for_function(ALL_LOADED)
    instance, _series = page.evaluate(SAVE)
    (held,) = until(lambda: stack.archive.find_ids("Instance", instance), what="the saved SEG in the archive")
    saved = hd.seg.segread(BytesIO(stack.archive.read_file(held)))
    assert saved.SegmentationType == "BINARY"
    ours = hd.seg.Segmentation.from_dataset(seg)
    names = {int(s.SegmentNumber): str(s.SegmentLabel) for s in saved.SegmentSequence}
    assert list(names.values()) == [str(s.SegmentLabel) for s in seg.SegmentSequence]
    for image in images[:: len(images) // 6]:
        np.testing.assert_array_equal(
            labels_of(saved, image.SOPInstanceUID), labels_of(ours, image.SOPInstanceUID), str(image.InstanceNumber)
        )
