"""OHIF's canvas at one screen pixel an image pixel, against our PNG of the same frame and window.

Writes `test-artefacts/pixel-parity.md` (the table of docs/viewer.md) and `pixel-parity.png`.
"""

import base64
from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from playwright.sync_api import Page
from pydicom.uid import generate_uid

from data import shared_data
from etl.options import Options
from etl.rendering.render import Provenance, render_frames
from minipacs.local.phantom import write_chest_ct
from stack import RunningStack
from viewer_page import HAS_IMAGE

pytestmark = pytest.mark.browser

# file, what it is, and why it may differ (then more than ±1 is allowed)
WIDTH_1 = "OHIF makes a range of zero width of it; the Standard a threshold (C.11.2.1.2.1)"
SUV = "OHIF shows PET from SUV 0 to 5, whatever the header's window"
TABLE = "OHIF reads no look-up table: its metadata provider has window, slope and intercept only"
JPEG_2000 = "transfer_syntaxes_ct/CTImage.dcm_JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm"
CASES = [
    ("ct_chest_lungdx_A0001/1-30.dcm", "CT, 12 bit unsigned, rescale, linear window", ""),
    ("derived/voi_linear_exact.dcm", "linear exact", ""),
    ("derived/voi_sigmoid.dcm", "sigmoid", ""),
    ("derived/three_windows.dcm", "three windows: the first", ""),
    ("derived/window_width_1.dcm", "window width 1", WIDTH_1),
    ("derived/no_window.dcm", "no window: full range", ""),
    ("mr_t1_brain_studyforrest", "MR, 16 bit signed, no window", ""),
    ("voi/3.dcm", "MR, 12 bit unsigned, function LINEAR named", ""),
    ("voi/vlut_04.dcm", "VOI LUT sequence, its table a straight line", ""),
    ("voi/mlut_18.dcm", "modality LUT sequence, its table a straight line", ""),
    ("mono1_dx_cr/cxr.dcm", "MONOCHROME1", ""),
    ("nm_pt/1.dcm", "PET in Bq/ml, window", SUV),
    ("petctmr_sts_001/PET", "PET in SUV, no window", SUV),
    (JPEG_2000, "CT, JPEG 2000 lossless", ""),
]
CURVED = [
    ("voi/vlut_04.dcm", "VOILUTSequence", "VOI LUT sequence, its table curved", TABLE),
    ("voi/mlut_18.dcm", "ModalityLUTSequence", "modality LUT sequence, its table curved", TABLE),
]
PUT = """series => {
    const { displaySetService, viewportGridService } = window.services;
    const [set] = displaySetService.getDisplaySetsForSeries(series);
    if (!set) return false;
    const viewportId = viewportGridService.getActiveViewportId();
    const displaySetInstanceUIDs = [set.displaySetInstanceUID];
    viewportGridService.setDisplaySetsForViewports([{ viewportId, displaySetInstanceUIDs }]);
    return true;
}"""
IS_SHOWN = """sop => window.cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports())
    .some(viewport => viewport.csImage?.imageId.includes(`/instances/${sop}/`)
        && viewport.getCurrentImageId() === viewport.csImage.imageId && viewport.getProperties().voiRange)"""
"""Whether the image itself is loaded and has its window: its identifier alone is set before it is loaded."""
DRAW = """async () => {
    const [viewport] = window.cornerstone.getRenderingEngines().flatMap(engine => engine.getViewports());
    const { voiRange, VOILUTFunction, invert } = viewport.getProperties();
    const { dimensions, spacing } = viewport.getImageData();
    const suv = viewport.csImage.preScale?.scalingParameters?.suvbw;
    const { element } = viewport;
    viewport.setProperties({ interpolationType: 0 });
    element.style.width = `${dimensions[0]}px`;
    element.style.height = `${dimensions[1]}px`;
    viewport.getRenderingEngine().resize(true, false);
    viewport.resetCamera();
    viewport.setCamera({ parallelScale: dimensions[1] * spacing[1] / 2 });
    const done = new Promise(resolve =>
        element.addEventListener(window.cornerstone.EVENTS.IMAGE_RENDERED, resolve, { once: true }));
    viewport.render();
    await done;
    const url = viewport.getCanvas().toDataURL('image/png');
    return { shown: { ...voiRange, VOILUTFunction, invert, suv }, url };
}"""


@dataclass
class Compared:
    """One case: OHIF's picture, ours, and what OHIF had chosen by itself."""

    name: str
    why: str
    theirs: NDArray[np.int16]
    ours: NDArray[np.int16]
    chosen: dict[str, Any]
    provenance: Provenance

    @property
    def difference(self) -> NDArray[np.int16]:
        return np.abs(self.theirs - self.ours)

    def row(self) -> str:
        far = self.difference
        more = 100 * float((far > 1).mean())
        values = (self.provenance.window_center, self.provenance.window_width)
        window = " / ".join("–" if value is None else str(value) for value in values)
        return f"| {self.name} | {window} | {int(far.max())} | {float(far.mean()):.3f} | {more:.3f} % | {self.why} |"


def ours(dataset: pydicom.Dataset, window: str = "first") -> tuple[NDArray[np.int16], Provenance]:
    picture = next(render_frames(dataset, Options(target=Path(), window=window))).pictures[0]
    return np.asarray(Image.open(BytesIO(picture.as_png())), np.int16), picture.provenance


def a_file(relative: str) -> Path:
    """The file, or the one in the middle of a folder."""
    path = shared_data(relative)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [p for p in files if p.is_file()][len(files) // 2]


def curved(relative: str, sequence: str) -> pydicom.Dataset:
    """The file with a square root in its look-up table (16 bit, PS3.3 C.11.1.1)."""
    dataset = pydicom.dcmread(shared_data(relative))
    table = dataset[sequence].value[0]
    rising = np.sqrt(np.linspace(0, 1, int(table.LUTDescriptor[0]))) * 65535
    table.add_new("LUTData", "OW", rising.astype("<u2").tobytes())
    return dataset


def as_series(source: pydicom.Dataset, study: str, number: int, folder: Path) -> pydicom.Dataset:
    """The image as a series of its own in the study, written into the folder."""
    dataset = deepcopy(source)
    dataset.PatientID, dataset.PatientName, dataset.StudyInstanceUID = "PIXELS", "PIXELS", study
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = generate_uid(), generate_uid()
    dataset.SeriesNumber, dataset.SOPClassUID = number, dataset.file_meta.MediaStorageSOPClassUID
    if "PixelSpacing" in dataset:
        dataset.PixelSpacing = [1, 1]  # so that 1:1 is the same in both directions
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(folder / f"{number}.dcm")
    return dataset


def drawn(page: Page, dataset: pydicom.Dataset) -> tuple[NDArray[np.int16], dict[str, Any]]:
    """OHIF's canvas, as large as the image, and the window that OHIF had chosen."""
    page.wait_for_function(PUT, arg=dataset.SeriesInstanceUID, polling=500)
    page.wait_for_function(IS_SHOWN, arg=dataset.SOPInstanceUID)
    answer = page.evaluate(DRAW)
    content = base64.b64decode(answer["url"].partition(",")[2])
    picture = np.asarray(Image.open(BytesIO(content)).convert("RGB"), np.int16)
    assert (picture.max(2) == picture.min(2)).all()
    return picture[..., 0], answer["shown"]


def compared(
    page: Page, stack: RunningStack, folder: Path, cases: list[tuple[pydicom.Dataset, str, str]]
) -> list[Compared]:
    """Each case as a series of one study, drawn after the other."""
    study = generate_uid()
    datasets = [as_series(source, study, n, folder) for n, (source, _, _) in enumerate(cases, 1)]
    stack.send(folder)
    page.set_viewport_size({"width": 1900, "height": 1400})
    page.goto(f"{stack.address}/ohif/viewer?StudyInstanceUIDs={study}")
    page.wait_for_function(HAS_IMAGE)
    found = []
    for dataset, (_, name, why) in zip(datasets, cases, strict=True):
        theirs, chosen = drawn(page, dataset)
        mine, provenance = ours(dataset)
        assert theirs.shape == mine.shape, name
        found.append(Compared(name, why, theirs, mine, chosen, provenance))
        print(found[-1].row(), chosen, flush=True)
        if why == SUV:  # the same window, in the unit of the image
            suv = chosen["suv"]
            mine, provenance = ours(dataset, f"{2.5 / suv}/{5 / suv}/LINEAR_EXACT")
            found.append(Compared(f"{name}; ours by OHIF's", "", theirs, mine, chosen, provenance))
            print(found[-1].row(), flush=True)
    return found


def sheet(compared: list[Compared], path: Path) -> None:
    """A row a case: OHIF, ours, and their difference in 64 steps of grey."""
    side = 200
    image = Image.new("L", (3 * side + 20, len(compared) * (side + 22)), 255)
    write = ImageDraw.Draw(image)
    for n, case in enumerate(compared):
        top = n * (side + 22)
        write.text((4, top + 4), f"{case.name}: OHIF | ours | difference x 64", fill=0)
        for k, pixels in enumerate((case.theirs, case.ours, np.minimum(case.difference * 64, 255))):
            tile = Image.fromarray(pixels.astype(np.uint8))
            tile.thumbnail((side, side), Image.Resampling.NEAREST)
            image.paste(tile, (k * (side + 10), top + 20))
    image.save(path, optimize=True)


def test_ohif_and_our_png_show_a_synthetic_ct_alike(page: Page, stack: RunningStack, tmp_path: Path) -> None:
    (file,) = write_chest_ct(tmp_path / "made", patient_id="PIXELS", slices=1)
    (case,) = compared(page, stack, tmp_path, [(pydicom.dcmread(file), "synthetic CT", "")])
    assert case.ours.std() > 10
    assert case.difference.max() <= 1


def test_ohif_and_our_pngs_show_the_same_grey(page: Page, stack: RunningStack, tmp_path: Path, artefacts: Path) -> None:
    cases = [(pydicom.dcmread(a_file(relative)), name, why) for relative, name, why in CASES]
    cases += [(curved(relative, sequence), name, why) for relative, sequence, name, why in CURVED]
    found = compared(page, stack, tmp_path, cases)
    header = ["| case | window of our PNG | largest | mean | more than 1 | why |", "|---|---|---:|---:|---:|---|"]
    (artefacts / "pixel-parity.md").write_text("\n".join([*header, *(c.row() for c in found)]) + "\n", "utf-8")
    sheet(found, artefacts / "pixel-parity.png")
    wrong = [c.row() for c in found if not c.why and c.difference.max() > 1]
    assert not wrong, "\n".join(wrong)
