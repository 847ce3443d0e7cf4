"""Segment Anything (SAM, SAM 2, MedSAM) from a local folder, in its own long-lived process and Python.

MINIPACS_SAM_MODEL names a folder as `save_pretrained` writes it, MINIPACS_SAM_PYTHON the Python of an
environment with torch and transformers. Nothing is ever fetched. The image is shown to the model as the
viewer shows it: 8 bits through the viewer's window. Propagation is the embedded engine's
(`geodesic/propagation.py`): a foundation model needs seconds for every slice. Light to import.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minipacs.errors import EngineUnavailable
from minipacs.settings import Settings
from segmentation.engine import Progress, no_progress
from segmentation.labelmap import Labelmap
from segmentation.prompts import Prompt

if TYPE_CHECKING:
    from highdicom import Volume

    from segmentation.engines.sam.process import SamProcess
    from segmentation.prompter import Mask, PromptedSeries, PromptsInPixels, SlicePrompts

SET_MODEL = "Set MINIPACS_SAM_MODEL to a folder with config.json and model.safetensors of a SAM or SAM 2 model."
SET_PYTHON = "Set MINIPACS_SAM_PYTHON to the python of an environment with torch and transformers."


class SamEngine:
    """See the module."""

    name = "sam"
    modalities = frozenset({"CT", "MR", "PT", "NM", "XA", "US", "OT"})
    needs = "cpu"
    stall_s: float | None = None
    needs_prompts = True
    takes_prompts = True

    def __init__(self, settings: Settings, folder: Path, python: Path) -> None:
        self._settings, self._folder, self._python = settings, folder, python
        self.parameters: Mapping[str, Any] = {"model": _compute_fingerprint(folder)}
        self.version = f"3 {self.parameters['model']}"

    @cached_property
    def process(self) -> "SamProcess":
        """The model's process, not yet started."""
        from segmentation.engines.sam.process import SamProcess

        return SamProcess(self._python, self._folder, self._settings)

    def make_masks(self, series: "PromptedSeries", prompts: "PromptsInPixels") -> "dict[int, Mask]":
        """The segment by slice index."""
        from segmentation.engines.geodesic.propagation import segment_slices

        return segment_slices(series, prompts, lambda k, here: self._segment_slice(series, k, here, prompts.window))

    def segment(
        self,
        volume: "Volume",
        prompts: Sequence[Prompt] = (),
        progress: Progress = no_progress,
        *,
        modality: str = "CT",
    ) -> Labelmap:
        """One segment from all prompts, through the slices."""
        from segmentation.engines.prompted_volume import segment_volume

        try:
            return segment_volume(self, volume, prompts, modality)
        finally:
            self.close()

    def close(self) -> None:
        """End the model's process."""
        self.process.close()

    def _segment_slice(
        self, series: "PromptedSeries", index: int, prompts: "SlicePrompts", window: tuple[float, float] | None
    ) -> "Mask":
        import numpy as np

        from segmentation.engines.sam.process import MaskRequest

        centre, width = window or series.get_window(index)
        key = f"{series.names[index]} {centre:g} {width:g}"
        grey = series.render_grey(index, (centre, width))

        mask = np.zeros(grey.shape, np.bool_)

        for box, positive in prompts.boxes_with_points:
            mask |= self.process.request_mask(MaskRequest(key, grey, positive, prompts.negative, box))

        return mask


def create(settings: Settings) -> SamEngine:
    """Create the engine; raises `EngineUnavailable` without a model's folder or a Python that has the packages."""
    if not settings.sam_model:
        raise EngineUnavailable("No SAM model is set.", SET_MODEL)

    folder = Path(settings.sam_model).expanduser()
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise EngineUnavailable("The SAM model's folder is not there, or not whole.", SET_MODEL)

    python = Path(settings.sam_python).expanduser()
    if not settings.sam_python or not os.access(python, os.X_OK):
        raise EngineUnavailable("No Python with torch and transformers is set.", SET_PYTHON)

    missing = _find_missing_packages(str(python))
    if missing != "there":
        raise EngineUnavailable(f"The Python of SAM lacks {missing}.", f"pip install {missing} there. {SET_PYTHON}")

    return SamEngine(settings, folder, python)


@lru_cache
def _find_missing_packages(python: str) -> str:
    """Names of the packages that this Python lacks, or `there`."""
    from segmentation.engines import foreign

    return foreign.read_program_output(
        "SAM's Python", (python, str(foreign.SCRIPTS / "in_sam.py"), "check"), SET_PYTHON
    )


def _compute_fingerprint(folder: Path) -> str:
    """Changes when another model is put in place: of names, sizes and configuration, not of the gigabytes."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    text = "\n".join(f"{file.name} {file.stat().st_size}" for file in files)
    return hashlib.sha256(text.encode() + (folder / "config.json").read_bytes()).hexdigest()[:16]
