"""A mask as run lengths: start, length, start, length, … of row-major flat pixel indices, 0-based."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segmentation.prompter import Mask


def encode_runs(mask: Mask) -> list[int]:
    """The runs of a mask (rows, columns), as [start, length, start, length, …]; none for an empty mask."""
    padded = np.zeros(mask.size + 2, np.int8)
    padded[1:-1] = mask.ravel()

    ends = np.flatnonzero(np.diff(padded))
    starts, stops = ends[::2], ends[1::2]
    runs: NDArray[np.int64] = np.stack([starts, stops - starts], 1).ravel()

    return [int(number) for number in runs]


def decode_runs(runs: Sequence[int], shape: tuple[int, int]) -> Mask:
    """The mask whose pixels [start, length, start, length, …] tells; `shape`: (rows, columns)."""
    mask = np.zeros(shape[0] * shape[1], np.bool_)

    for start, length in zip(runs[::2], runs[1::2], strict=True):
        mask[start : start + length] = True

    return mask.reshape(shape)
