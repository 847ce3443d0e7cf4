"""The cut between sure pixels of the segment and of the rest: geodesic distances, smoothed by a max-flow cut.

Distances are measured with steps that cost where grey values change and where they are unlikely for their
side; the nearer side wins, smoothed along edges.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segmentation.prompter import Mask, Plane

BIN_WIDTH = 8.0
"""Of a histogram, levels."""
BINS = 81
"""Of a histogram that knows nothing: each value is as likely as any other."""
MIN_STEP_COST, COST_PER_LEVEL, UNLIKELY_COST = 0.02, 0.05, 0.35
"""Cost of a step: anywhere, per level of the gradient, and where the value speaks for the other side."""
SMOOTH_COST, MIN_SMOOTH_COST, EDGE_LEVELS = 1.5, 0.2, 12.0
"""Cost of a cut between neighbours: where they are alike, anywhere, and the difference (levels) that ends it."""
CERTAIN = 1e4
"""Weight of a pixel that surely belongs to its side."""
MAX_DISTANCE = 1e6
"""The distance of what cannot be reached."""
FEW_SEEDS = 50
"""So few pixels of the rest say nothing about its values."""

NEIGHBOURS = ((1, [[0, 0, 0], [0, 0, 1], [0, 0, 0]]), (0, [[0, 0, 0], [0, 0, 0], [0, 1, 0]]))
"""The axis, and the next pixel along it as PyMaxflow wants it."""


def segment_by_max_flow(values: Plane, inside: Mask, outside: Mask) -> Mask:
    """The side of `inside`. `values`: (rows, columns), levels; `inside`, `outside`: sure pixels, none of both.

    The masks have the shape of `values`.
    """
    smooth = smooth_noise(values)
    likelihood = _measure_log_likelihood(smooth, inside, outside)
    near, far = _measure_geodesic_distances(smooth, likelihood, inside, outside)
    preference = 4 * (far - near) / (near + far + 1e-6) + 0.25 * np.clip(likelihood, -4, 4)

    return _cut_graph(smooth, preference, inside, outside)


def smooth_noise(values: Plane) -> Plane:
    """The values, blurred by a pixel."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), 1.0))


def _measure_geodesic_distances(
    smooth: Plane, likelihood: NDArray[np.float64], inside: Mask, outside: Mask
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each pixel, the distance to `inside` and to `outside`."""
    probability = cv2.GaussianBlur((1 / (1 + np.exp(-np.clip(likelihood, -8, 8)))).astype(np.float32), (0, 0), 0.8)
    steep = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8))
    cost = MIN_STEP_COST + COST_PER_LEVEL * steep

    near = _measure_geodesic_distance(cost + UNLIKELY_COST * (1 - probability), inside, outside)
    far = _measure_geodesic_distance(cost + UNLIKELY_COST * probability, outside, inside)

    return near, far


def _measure_geodesic_distance(costs: NDArray[np.float32], seeds: Mask, others: Mask) -> NDArray[np.float64]:
    """No path leads through what surely belongs to the other side, nor need one lead through the seeds."""
    from skimage.graph import MCP_Geometric

    rim = seeds & ~ndimage.binary_erosion(seeds, border_value=1)
    if not rim.any():
        return np.full(costs.shape, MAX_DISTANCE)

    distances, _ = MCP_Geometric(np.where(others | seeds & ~rim, -1, costs)).find_costs(np.argwhere(rim))

    return np.asarray(np.minimum(distances, MAX_DISTANCE))


def _cut_graph(smooth: Plane, preference: NDArray[np.float64], inside: Mask, outside: Mask) -> Mask:
    """The cut of least cost; `preference`: above 0 for the segment, below for the rest."""
    import maxflow

    graph = maxflow.Graph[float]()
    nodes = graph.add_grid_nodes(smooth.shape)

    for axis, structure in NEIGHBOURS:
        change = np.diff(smooth, axis=axis, append=np.take(smooth, [-1], axis))
        weights = SMOOTH_COST * np.exp(-(change**2) / (2 * EDGE_LEVELS**2)) + MIN_SMOOTH_COST
        graph.add_grid_edges(nodes, weights=weights, structure=np.array(structure), symmetric=True)

    source, sink = np.maximum(preference, 0), np.maximum(-preference, 0)
    source[inside], sink[inside] = CERTAIN, 0
    sink[outside], source[outside] = CERTAIN, 0
    graph.add_grid_tedges(nodes, source, sink)

    graph.maxflow()

    return ~np.asarray(graph.get_grid_segments(nodes), np.bool_)


def _measure_log_likelihood(smooth: Plane, inside: Mask, outside: Mask) -> NDArray[np.float64]:
    """log p(value | segment) − log p(value | rest), from histograms of the seeds."""
    lowest = float(smooth.min())
    bins = ((smooth - lowest) / BIN_WIDTH).astype(np.intp)
    size = int(bins.max()) + 1

    segment = ndimage.gaussian_filter1d(_make_histogram(bins[inside], size, 1.5), 1.5)
    rest = _make_histogram(bins[outside], size, 2.0) if outside.sum() > FEW_SEEDS else np.full(size, 1 / BINS)
    rest = 0.7 * rest + 0.3 / BINS

    ratio = np.log(segment + 1e-6) - np.log(rest + 1e-6)

    return np.asarray(ratio[bins])


def _make_histogram(bins: NDArray[np.intp], size: int, blur: float) -> NDArray[np.float64]:
    """The share of each bin, blurred; none is zero."""
    counts = ndimage.gaussian_filter1d(np.bincount(bins, minlength=size).astype(float), blur)
    counts += 1e-3 * max(1.0, float(counts.sum())) / BINS

    return np.asarray(counts / counts.sum())
