"""The embedded engine: works everywhere, without GPU, weights or a desktop.

CT by Hounsfield units and morphology (`segment.py`), MR as an outline alone (`outline.py`). Its labelmap is put
into a real 3D Slicer scene by `segmentation/results/slicer_scene.py`. Light to import.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minipacs.errors import NotAVolume
from minipacs.settings import Settings
from segmentation.engine import Progress, no_progress
from segmentation.labelmap import Labelmap, Segment
from segmentation.prompts import Prompt
from segmentation.vocabulary import codes

if TYPE_CHECKING:
    import numpy as np
    from highdicom import Volume
    from numpy.typing import NDArray

MIN_SLICES = 10
"""Steps from feet to head."""
MIN_WIDTH_MM = 150
"""A field of view narrower than this shows no whole body section; outside and inside look alike."""
MIN_HU = -1024
"""Air is about -1000: what lies below is padding outside the scanner's field of view."""
MAX_HU = 32767
"""The largest density that int16 holds."""
LPS_ORDER = "HPL"
"""Slices towards the head, rows towards posterior, columns towards the left."""


def _make_segment(label: str, type_: codes.Code, color: tuple[int, int, int], **more: Any) -> Segment:
    return Segment(
        label, more.pop("category", codes.ANATOMICAL_STRUCTURE), type_, color=color, family=codes.MORPHOLOGY, **more
    )


# fmt: off
CT_SEGMENTS = (
    _make_segment("Body (remainder)", codes.BODY, (177, 122, 101), encloses=True),
    _make_segment("Right lung (aerated)", codes.LUNG, (172, 138, 115), laterality=codes.RIGHT),
    _make_segment("Left lung (aerated)", codes.LUNG, (202, 164, 140), laterality=codes.LEFT),
    _make_segment("Airways", codes.TRACHEA_AND_BRONCHUS, (182, 228, 255)),
    _make_segment("Bone", codes.BONE, (241, 214, 145)),
    _make_segment("Subcutaneous fat", codes.SUBCUTANEOUS_FAT, (230, 220, 70), category=codes.TISSUE, surface=False),
    _make_segment("Torso fat", codes.FAT, (255, 170, 60), category=codes.TISSUE, region=codes.TRUNK, surface=False),
    _make_segment("Lean soft tissue", codes.SOFT_TISSUE, (192, 104, 88), category=codes.TISSUE, surface=False),
)
MR_SEGMENTS = (_make_segment("Outline", codes.BODY, (177, 122, 101)),)
# fmt: on
"""In the order of the labelmap's values (`segment.py`)."""


class CtMrEngine:
    """See the module."""

    name = "slicer"
    version = "2"
    parameters: Mapping[str, Any] = {}
    modalities = frozenset({"CT", "MR"})
    needs = "cpu"
    stall_s: float | None = None
    needs_prompts = False
    takes_prompts = False

    def segment(
        self,
        volume: "Volume",
        prompts: Sequence[Prompt] = (),
        progress: Progress = no_progress,
        *,
        modality: str = "CT",
    ) -> Labelmap:
        """Every structure that is there. Raises `NotAVolume` for a field of view too small to judge."""
        segments: tuple[Segment, ...] = MR_SEGMENTS if modality == "MR" else CT_SEGMENTS
        progress("orient")
        upright = volume.to_patient_orientation(LPS_ORDER)
        _check_field_of_view(upright)
        if modality == "MR":
            from segmentation.engines.ct_mr.outline import find_outline

            labels = find_outline(upright.array, upright.spacing)
        else:
            from segmentation.engines.ct_mr.segment import segment_ct

            labels = segment_ct(_to_int16(upright), upright.spacing, progress)

        back = upright.with_array(labels).match_geometry(volume.get_geometry())

        return Labelmap(_make_contiguous(back.array), volume.get_geometry(), segments).compact()


def create(settings: Settings) -> CtMrEngine:
    """The engine; it is always available."""
    return CtMrEngine()


def _check_field_of_view(volume: "Volume") -> None:
    slices, across = volume.spatial_shape[0], volume.spatial_shape[2] * volume.spacing[2]
    if slices < MIN_SLICES:
        raise NotAVolume(f"The series covers only {slices} steps from feet to head; the engine needs {MIN_SLICES}.")

    if across < MIN_WIDTH_MM:
        raise NotAVolume(
            f"The series shows {across:.0f} mm from right to left; the engine needs {MIN_WIDTH_MM} to tell the body."
        )


def _to_int16(volume: "Volume") -> "NDArray[np.int16]":
    """Densities as int16, C-contiguous."""
    import numpy as np

    return np.ascontiguousarray(np.clip(volume.array, MIN_HU, MAX_HU).astype(np.int16, copy=False))


def _make_contiguous(array: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    import numpy as np

    return np.ascontiguousarray(array)
