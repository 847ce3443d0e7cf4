"""A prompt engine as every other engine: all prompts at once, one labelmap of one segment."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from segmentation.labelmap import Labelmap, Segment
from segmentation.prompt_pixels import PromptOnSlice, find_slice_range, group_by_slice
from segmentation.prompter import PromptedSeries, Prompter, PromptsInPixels
from segmentation.prompts import Prompt
from segmentation.vocabulary import codes

if TYPE_CHECKING:
    from highdicom import Volume

PROMPTED = Segment("Prompted", codes.ANATOMICAL_STRUCTURE, codes.SOFT_TISSUE, algorithm="SEMIAUTOMATIC")
"""What is segmented: the prompts do not say what it is."""


def segment_volume(prompter: Prompter, volume: "Volume", prompts: Sequence[Prompt], modality: str) -> Labelmap:
    """The segment, propagated through the slices; raises `WrongPrompts` without a usable prompt."""
    series = PromptedSeries(volume, modality, [str(k) for k in range(volume.array.shape[0])])
    on_slices = [PromptOnSlice(prompt) for prompt in prompts]
    patient_to_index = np.linalg.inv(np.asarray(volume.affine, float))

    in_pixels = PromptsInPixels(
        group_by_slice(on_slices, patient_to_index, series.shape),
        find_slice_range(on_slices, patient_to_index, series.shape[0]),
        propagate=True,
    )

    array = np.zeros(series.shape, np.uint8)

    for k, mask in prompter.make_masks(series, in_pixels).items():
        array[k] = mask

    return Labelmap(array, volume.get_geometry(), (PROMPTED,))
