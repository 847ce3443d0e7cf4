"""The embedded method in one plane: geodesic distances from seeds, smoothed by a max-flow cut.

A region around the prompts is cropped. Seeds of the segment are discs at the positive points and an
ellipse in the middle of a box (with points: where it looks like them); seeds of the rest are discs at the
negative points, the region's border and all that lies outside the box. Two distances are measured, with
steps that cost where grey values change and where they are unlikely for their side; the nearer side
wins, smoothed along edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]
Pixel = tuple[int, int]
"""(row, column), 0-based."""
Rectangle = tuple[int, int, int, int]
"""First row, first column, last row, last column; all inside."""

SEED = 4
"""Radius of the disc of a click, pixels."""
LEAST_SPREAD = 12.0
"""The least that the values around a click are taken to spread, levels."""
MARGIN = 90
"""Around clicks without a box, pixels."""
BOX_MARGIN = 0.2
"""Around a box, of its size; 8 pixels at least."""
CORE = 0.3
"""Half axes of the ellipse in the middle of a box, of its sides."""
BIN = 8.0
"""Width of a histogram's bin, levels."""
LEAST_STEP, PER_LEVEL, UNLIKELY = 0.02, 0.05, 0.35
"""Cost of a step: anywhere, per level of the gradient, and where the value speaks for the other side."""
SMOOTH, SMOOTH_ANYWHERE, EDGE = 1.5, 0.2, 12.0
"""Cost of a cut between neighbours: where they are alike, anywhere, and the difference (levels) that ends it."""
CERTAIN = 1e4
FAR = 1e6
ALIKE = 60.0
"""Levels by which the core of a propagated segment may change from slice to slice."""


@dataclass(frozen=True)
class Clues:
    """What was prompted in one plane."""

    boxes: tuple[Rectangle, ...] = ()
    positive: tuple[Pixel, ...] = ()
    negative: tuple[Pixel, ...] = ()

    @property
    def ask(self) -> bool:
        """Whether anything is wanted here: a negative point alone wants nothing."""
        return bool(self.positive or self.boxes)

    @property
    def parts(self) -> list[tuple[Rectangle | None, list[Pixel]]]:
        """Every box with the positive points in it; those outside of boxes together are one more part."""
        free = [p for p in self.positive if not any(within(p, box) for box in self.boxes)]
        found: list[tuple[Rectangle | None, list[Pixel]]] = [
            (box, [p for p in self.positive if within(p, box)]) for box in self.boxes
        ]
        return [*found, (None, free)] if free else found


def segment(levels: Plane, clues: Clues) -> Mask:
    """The segment in one plane: all its parts.

    `levels`: (rows, columns), HU for CT, else values brought to a similar range (`Source.levels`).
    """
    mask = np.zeros(levels.shape, np.bool_)
    for box, positive in clues.parts:
        window, found = _part(levels, positive, clues.negative, box)
        mask[window] |= found
    return mask


def carry(levels: Plane, before: Plane, previous: Mask, negative: Sequence[Pixel] = ()) -> Mask:
    """The segment in a neighbouring plane: its core is sure to belong to it, what is far from it is not.

    `before` and `previous`: levels and mask of the plane it comes from. The core keeps their values.
    """
    empty = np.zeros(levels.shape, np.bool_)
    rows, columns = np.nonzero(previous)
    if not rows.size:
        return empty
    reach = max(2, int(0.18 * np.sqrt(rows.size)))
    margin = reach + 12
    window = (
        slice(max(0, int(rows.min()) - margin), int(rows.max()) + margin + 1),
        slice(max(0, int(columns.min()) - margin), int(columns.max()) + margin + 1),
    )
    values, shape = np.ascontiguousarray(levels[window]), previous[window].astype(np.uint8)
    inside = cv2.erode(shape, _ellipse(reach)) > 0
    if inside.sum() < 6:
        inside = cv2.erode(shape, _ellipse(1)) > 0
    if inside.sum() < 6:
        return empty
    inside &= np.abs(_smooth(values) - np.median(before[window][inside])) < ALIKE
    outside = cv2.dilate(shape, _ellipse(min(reach, 8) + 2)) == 0
    outside |= _discs(values.shape, negative, window) & ~inside
    inside &= ~outside
    if inside.sum() < 6:
        return empty
    empty[window] = _finished(_cut(values, inside, outside), inside) & ~outside
    return empty


def within(pixel: Pixel, box: Rectangle) -> bool:
    """Whether a pixel lies in a box."""
    return box[0] <= pixel[0] <= box[2] and box[1] <= pixel[1] <= box[3]


# -- one part ---------------------------------------------------------------------------------------
def _part(
    levels: Plane, positive: Sequence[Pixel], negative: Sequence[Pixel], box: Rectangle | None
) -> tuple[tuple[slice, slice], Mask]:
    window = _window(levels.shape, positive, box)
    values = np.ascontiguousarray(levels[window])
    outside = _surroundings(values.shape, window, box)
    denied = [pixel for pixel in negative if box is not None and within(pixel, box)]
    inside = np.zeros(values.shape, np.bool_)
    for pixel in positive:
        disc = _discs(values.shape, [pixel], window)
        middle, spread = _spread(values[disc])
        spread = max(LEAST_SPREAD, spread)
        inside |= disc & (np.abs(values - middle) < 2.5 * spread)
        if box is not None and not denied:  # as far from the click's value as the middle's values are from each other
            core = _core(values.shape, window, box)
            inside |= core & (np.abs(values - middle) < max(spread, 1.2 * _spread(values[core])[1]))
    if box is not None and not positive:
        inside = _core(values.shape, window, box) & ~_discs(values.shape, denied, window, 2 * SEED)
        inside &= _alike(values, inside)
    outside |= _discs(values.shape, negative, window) & ~inside
    inside &= ~outside
    if not inside.any():
        return window, inside
    return window, _finished(_cut(values, inside, outside), inside) & ~outside


def _window(shape: tuple[int, ...], positive: Sequence[Pixel], box: Rectangle | None) -> tuple[slice, slice]:
    if box is not None:
        top, left, bottom, right = box
        down, across = max(8, int(BOX_MARGIN * (bottom - top))), max(8, int(BOX_MARGIN * (right - left)))
    else:
        rows, columns = [p[0] for p in positive], [p[1] for p in positive]
        top, left, bottom, right = min(rows), min(columns), max(rows), max(columns)
        down = across = MARGIN
    return (
        slice(max(0, top - down), min(shape[0], bottom + down + 1)),
        slice(max(0, left - across), min(shape[1], right + across + 1)),
    )


def _surroundings(shape: tuple[int, ...], window: tuple[slice, slice], box: Rectangle | None) -> Mask:
    """The region's border, and all that lies outside the box: surely not of the segment."""
    rest = np.ones(shape, np.bool_)
    top, left, bottom, right = (0, 0, *shape)
    if box is not None:
        first_row, first_column = window[0].start, window[1].start
        top, left = box[0] - first_row, box[1] - first_column
        bottom, right = box[2] - first_row + 1, box[3] - first_column + 1
    rest[max(2, top) : min(shape[0] - 2, bottom), max(2, left) : min(shape[1] - 2, right)] = False
    return rest


def _core(shape: tuple[int, ...], window: tuple[slice, slice], box: Rectangle) -> Mask:
    """An ellipse in the middle of a box: what a box is taken to be drawn around."""
    rows, columns = np.ogrid[window[0].start : window[0].start + shape[0], window[1].start : window[1].start + shape[1]]
    down, across = (max(3.0, CORE * (box[k + 2] - box[k])) for k in (0, 1))
    distance = ((rows - (box[0] + box[2]) // 2) / down) ** 2 + ((columns - (box[1] + box[3]) // 2) / across) ** 2
    return np.asarray(distance <= 1, np.bool_)


def _alike(values: Plane, seeds: Mask) -> Mask:
    """Where values are those of most seeds: a box drawn by hand is seldom in the middle of what is meant."""
    if not seeds.any():
        return seeds
    middle, spread = _spread(values[seeds])
    return np.asarray(np.abs(values - middle) < 3 * max(30.0, spread), np.bool_)


def _spread(values: NDArray[np.float32]) -> tuple[float, float]:
    """The median, and the median distance from it as a standard deviation."""
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - middle)))


def _discs(shape: tuple[int, ...], pixels: Sequence[Pixel], window: tuple[slice, slice], radius: int = SEED) -> Mask:
    drawn = np.zeros(shape, np.uint8)
    for row, column in pixels:
        cv2.circle(drawn, (column - window[1].start, row - window[0].start), radius, (1,), -1)
    return drawn > 0


# -- the cut ----------------------------------------------------------------------------------------
def _cut(values: Plane, inside: Mask, outside: Mask) -> Mask:
    """Distances to both kinds of seeds, and the cut between them."""
    import maxflow
    from skimage.graph import MCP_Geometric

    smooth = _smooth(values)
    likelihood = _likelihood(smooth, inside, outside)
    probability = cv2.GaussianBlur((1 / (1 + np.exp(-np.clip(likelihood, -8, 8)))).astype(np.float32), (0, 0), 0.8)
    steep = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8))
    cost = LEAST_STEP + PER_LEVEL * steep

    def distance(costs: NDArray[Any], seeds: Mask, others: Mask) -> NDArray[np.float64]:
        """No way leads through what surely belongs to the other side, nor need one lead through the seeds."""
        rim = seeds & ~ndimage.binary_erosion(seeds, border_value=1)
        if not rim.any():
            return np.full(costs.shape, FAR)
        found, _ = MCP_Geometric(np.where(others | seeds & ~rim, -1, costs)).find_costs(np.argwhere(rim))
        return np.asarray(np.minimum(found, FAR))

    near = distance(cost + UNLIKELY * (1 - probability), inside, outside)
    far = distance(cost + UNLIKELY * probability, outside, inside)
    preference = 4 * (far - near) / (near + far + 1e-6) + 0.25 * np.clip(likelihood, -4, 4)
    graph = maxflow.Graph[float]()
    nodes = graph.add_grid_nodes(values.shape)
    for axis, structure in ((1, [[0, 0, 0], [0, 0, 1], [0, 0, 0]]), (0, [[0, 0, 0], [0, 0, 0], [0, 1, 0]])):
        change = np.diff(smooth, axis=axis, append=np.take(smooth, [-1], axis))
        weights = SMOOTH * np.exp(-(change**2) / (2 * EDGE**2)) + SMOOTH_ANYWHERE
        graph.add_grid_edges(nodes, weights=weights, structure=np.array(structure), symmetric=True)
    source, sink = np.maximum(preference, 0), np.maximum(-preference, 0)
    source[inside], sink[inside] = CERTAIN, 0
    sink[outside], source[outside] = CERTAIN, 0
    graph.add_grid_tedges(nodes, source, sink)
    graph.maxflow()
    return ~np.asarray(graph.get_grid_segments(nodes), np.bool_)


def _likelihood(smooth: Plane, inside: Mask, outside: Mask) -> NDArray[np.float64]:
    """log p(value | segment) − log p(value | rest), from histograms of the seeds."""
    lowest = float(smooth.min())
    bins = ((smooth - lowest) / BIN).astype(np.intp)
    size = int(bins.max()) + 1
    ours = ndimage.gaussian_filter1d(_histogram(bins[inside], size, 1.5), 1.5)
    theirs = _histogram(bins[outside], size, 2.0) if outside.sum() > 50 else np.full(size, 1 / 81)
    theirs = 0.7 * theirs + 0.3 / 81
    ratio = np.log(ours + 1e-6) - np.log(theirs + 1e-6)
    return np.asarray(ratio[bins])


def _histogram(bins: NDArray[np.intp], size: int, blur: float) -> NDArray[np.float64]:
    counts = ndimage.gaussian_filter1d(np.bincount(bins, minlength=size).astype(float), blur)
    counts += 1e-3 * max(1.0, float(counts.sum())) / 81
    return np.asarray(counts / counts.sum())


def _smooth(values: Plane) -> Plane:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), 1.0))


def _ellipse(radius: int) -> Any:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _finished(mask: Mask, inside: Mask) -> Mask:
    """The parts that touch a seed, without whiskers and holes."""
    parts, _ = ndimage.label(mask)
    kept = np.unique(parts[inside])
    mask = np.isin(parts, kept[kept > 0])
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return np.asarray(ndimage.binary_fill_holes(opened), np.bool_)
