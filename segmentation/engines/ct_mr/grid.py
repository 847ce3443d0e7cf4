"""The working grid: down from the full grid, up again, and morphology on it, slice by slice in two threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import fill_voids
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Densities = NDArray[np.int16]

THREADS = 2
WORKING_MM = (2.5, 1.6)
"""Wanted distance of slices, and of pixels, on the working grid."""
MIN_COLUMNS_TO_REDUCE = 384
"""Columns from which in-plane reduction pays."""
HALF_LEVEL = 127
"""Of 255: what is more than half inside a mask belongs to it."""


@dataclass(frozen=True)
class Grid:
    """Spacing in mm along (slices, rows, columns), and how many full-grid steps one step here is."""

    spacing: tuple[float, float, float]
    steps: tuple[int, int] = (1, 1)
    """(slices, pixels)."""

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing)) / 1000

    @property
    def pixel_mm2(self) -> float:
        """Area of a pixel."""
        return self.spacing[1] * self.spacing[2]

    def measure_ml(self, mask: NDArray[np.generic]) -> float:
        """Volume of a mask."""
        return int(np.count_nonzero(mask)) * self.voxel_ml


def choose_grid(shape: tuple[int, ...], spacing: tuple[float, float, float]) -> Grid:
    """The working grid of a full grid with this shape and spacing."""
    pixels = max(1, round(WORKING_MM[1] / max(spacing[1:]))) if shape[2] >= MIN_COLUMNS_TO_REDUCE else 1
    slices = max(1, int(WORKING_MM[0] // spacing[0]))
    return Grid((spacing[0] * slices, spacing[1] * pixels, spacing[2] * pixels), (slices, pixels))


def compute_by_slice(function: Callable[[int], Any], out: NDArray[np.generic]) -> None:
    """Fill `out[k] = function(k)` for every slice, in threads (OpenCV and numpy release the interpreter)."""

    def work(start: int) -> None:
        for k in range(start, len(out), THREADS):
            out[k] = function(k)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))


def downsample_densities(densities: Densities, grid: Grid) -> Densities:
    """Mean densities on the working grid."""
    slices, pixels = grid.steps
    rows, columns = densities.shape[1] // pixels, densities.shape[2] // pixels
    out = np.empty((max(1, len(densities) // slices), rows, columns), np.int16)

    def one(k: int) -> Any:
        slab = densities[k * slices : (k + 1) * slices]
        mean = slab[0] if len(slab) == 1 else slab.mean(0).astype(np.int16)
        return mean if pixels == 1 else cv2.resize(mean, (columns, rows), interpolation=cv2.INTER_AREA)

    compute_by_slice(one, out)

    return out


def upsample_mask_slice(mask: Mask, k: int, shape: tuple[int, int], grid: Grid, level: int = HALF_LEVEL) -> Mask:
    """Slice `k` of the full grid, (rows, columns) = `shape`, from a mask of the working grid.

    Linear in every direction, cut at `level` of 255. One slice at a time: a full-grid copy of every mask would
    take more memory than the images.
    """
    place = (k + 0.5) / grid.steps[0] - 0.5
    low = int(np.floor(place))
    first, second = (mask[min(max(i, 0), len(mask) - 1)] for i in (low, low + 1))
    if not (first.any() or second.any()):
        return np.zeros(shape, np.uint8)

    weight = place - low
    mixed = cv2.addWeighted(first, 255 * (1 - weight), second, 255 * weight, 0)
    if mixed.shape != shape:
        mixed = cv2.resize(mixed, shape[::-1], interpolation=cv2.INTER_LINEAR)

    cut: Mask = (mixed > level).view(np.uint8)

    return cut


def open_mask(mask: Mask, mm: float, grid: Grid) -> Mask:
    """Opening in each slice, by a disc of this radius."""
    return _map_slices(mask, lambda s: cv2.morphologyEx(s, cv2.MORPH_OPEN, _make_disc(mm, grid)))


def close_mask(mask: Mask, mm: float, grid: Grid) -> Mask:
    """Closing in each slice; padded, so that nothing bridges over the image's border."""
    disc = _make_disc(mm, grid)
    pad = disc.shape[0]

    def one(s: Mask) -> Any:
        padded = cv2.copyMakeBorder(s, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
        return cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)[pad:-pad, pad:-pad]

    return _map_slices(mask, one)


def fill_holes_in_slices(mask: Mask) -> Mask:
    """Holes filled in each slice."""

    def one(s: Mask) -> Any:
        padded = cv2.copyMakeBorder(s, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        cv2.floodFill(padded, None, (0, 0), 2)
        return (padded[1:-1, 1:-1] != 2).view(np.uint8)

    return _map_slices(mask, one)


def fill_holes_in_volume(mask: Mask) -> Mask:
    """Enclosed holes filled in space (`fill_voids` answers in Fortran order: made C-contiguous again)."""
    return np.ascontiguousarray(fill_voids.fill(mask), np.uint8)


def dilate_mask(mask: Mask, mm: float, grid: Grid) -> Mask:
    """Dilation in space: a disc in each slice, then over neighbouring slices."""
    out = _map_slices(mask, lambda s: cv2.dilate(s, _make_disc(mm, grid)))
    return _combine_neighbouring_slices(out, mm, grid, np.bitwise_or)


def erode_mask(mask: Mask, mm: float, grid: Grid) -> Mask:
    """Erosion in space: a disc in each slice, then over neighbouring slices."""
    out = _map_slices(mask, lambda s: cv2.erode(s, _make_disc(mm, grid)))
    return _combine_neighbouring_slices(out, mm, grid, np.bitwise_and)


def smooth_slices(densities: Densities) -> Densities:
    """Mean over 3 × 3 pixels of each slice."""
    out = np.empty_like(densities)
    compute_by_slice(lambda k: cv2.blur(densities[k], (3, 3)), out)
    return out


def find_first_and_last_true(flags: NDArray[np.bool_] | np.bool_) -> tuple[int, int]:
    """First and last true index; (0, 0) when there is none."""
    found = np.flatnonzero(flags)
    return (int(found[0]), int(found[-1])) if len(found) else (0, 0)


def _map_slices(mask: Mask, function: Callable[[Mask], Any]) -> Mask:
    out = np.empty_like(mask)
    compute_by_slice(lambda k: function(mask[k]), out)
    return out


def _combine_neighbouring_slices(mask: Mask, mm: float, grid: Grid, combine: np.ufunc) -> Mask:
    out = mask.copy()
    for distance in range(1, round(mm / grid.spacing[0]) + 1):
        combine(out[distance:], mask[:-distance], out=out[distance:])
        combine(out[:-distance], mask[distance:], out=out[:-distance])

    return out


def _make_disc(mm: float, grid: Grid) -> Mask:
    across, down = (max(1, round(mm / grid.spacing[axis])) for axis in (2, 1))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * across + 1, 2 * down + 1))
    return disc.astype(np.uint8, copy=False)
