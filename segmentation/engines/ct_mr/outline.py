"""MR without weights: the outline of head or body, and nothing more; MR values have no unit."""

import cc3d
import numpy as np
from numpy.typing import NDArray

from segmentation.engines.ct_mr.grid import Grid, close_mask, fill_holes_in_slices, fill_holes_in_volume, open_mask

TOP_PERCENTILE = 99.5
"""The top of the range of values; the few brighter ones are artefacts."""
MAX_NOISE_SHARE = 0.02
"""Of the range up to its top: nothing below it is signal."""
SAMPLE_STEP = 2
"""The range is read from every second voxel along each axis."""
MAX_SPECK_ML = 0.05
"""A smaller part is a speck, and is left out."""
GAP_MM = 10.0
"""Radius of the closing over gaps of the skin; half of it is that of the opening afterwards."""


def find_outline(values: NDArray[np.generic], spacing: tuple[float, float, float]) -> NDArray[np.uint8]:
    """1 inside the outline, else 0. `values`: (slices, rows, columns) in LPS order; spacing in mm."""
    grid = Grid(spacing)
    signal = values.astype(np.float32)
    mask = (signal > _choose_threshold(signal)).view(np.uint8)
    # skin is a thin shell, apart from what it encloses: specks go by their size, and only then gaps are closed
    mask = cc3d.dust(mask, threshold=max(2, int(MAX_SPECK_ML / grid.voxel_ml)), connectivity=6).astype(np.uint8)
    whole = open_mask(fill_holes_in_volume(fill_holes_in_slices(close_mask(mask, GAP_MM, grid))), GAP_MM / 2, grid)
    if not whole.any():
        return whole

    return cc3d.largest_k(whole, k=1, connectivity=6, binary_image=True).astype(np.uint8)


def _choose_threshold(signal: NDArray[np.float32]) -> float:
    """Otsu's threshold over the noise-free range, halved: dark tissue belongs to the body too."""
    from skimage.filters import threshold_otsu

    sample = signal[::SAMPLE_STEP, ::SAMPLE_STEP, ::SAMPLE_STEP]
    top = float(np.percentile(sample, TOP_PERCENTILE))
    sample = sample[(sample > MAX_NOISE_SHARE * top) & (sample < top)]

    return float(threshold_otsu(sample)) / 2 if len(np.unique(sample)) > 1 else top
