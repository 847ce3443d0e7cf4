"""A prompt engine as every other engine: all prompts at once, one labelmap."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from segmentation.labelmap import Labelmap, Segment
from segmentation.prompting.pixels import Placed, Prompter, Source, Wish, clues, limits
from segmentation.prompts import Prompt
from segmentation.vocabulary import codes

if TYPE_CHECKING:
    from highdicom import Volume


PROMPTED = Segment("Prompted", codes.ANATOMICAL_STRUCTURE, codes.SOFT_TISSUE, algorithm="SEMIAUTOMATIC")


def whole(engine: Prompter, volume: "Volume", prompts: Sequence[Prompt], modality: str) -> Labelmap:
    """The labelmap of one segment, propagated; raises `WrongPrompts` without a usable prompt."""
    source = Source(volume, modality, [str(k) for k in range(volume.array.shape[0])])
    placed = [Placed(prompt) for prompt in prompts]
    to_index = np.linalg.inv(np.asarray(volume.affine, float))
    wish = Wish(clues(placed, to_index, source.shape), limits(placed, to_index, source.shape[0]), propagate=True)
    array = np.zeros(source.shape, np.uint8)
    for k, mask in engine.masks(source, wish).items():
        array[k] = mask
    return Labelmap(array, volume.get_geometry(), (PROMPTED,))
