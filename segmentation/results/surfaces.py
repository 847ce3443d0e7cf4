"""Surfaces of segments: closed triangle meshes in patient coordinates (LPS, mm).

A surface is made on a blurred, area-averaged copy of the segment (about 1.5 mm), where flying edges
find the half-level between voxels: 0.1 mm from the full-resolution surface on average, at a tenth of
its triangles and time.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from segmentation.labelmap import Labelmap

TARGET_MM = 1.5
"""Voxels smaller than this are averaged before the surface is found."""
ENCLOSING_TARGET_MM = 2.5
"""The same for a segment that encloses the others."""
MIN_VOXELS_ACROSS = 10
"""A segment keeps at least so many voxels along each side of its box: what is small is not averaged away."""
SMOOTHING_ITERATIONS = 20
"""Of windowed sinc smoothing, which does not shrink (Taubin)."""
MAX_TRIANGLES = 60_000
"""Of one surface."""
SIMPLIFY_AGGRESSION = 9
"""As near to the full surface as with its default 7 (mean and 99 % of distances), a quarter faster."""
SIMPLIFY_LOCK = Lock()
"""fast_simplification keeps its mesh in static memory: of two at once, one would get the other's triangles."""
HALF_LEVEL = 127.5
"""Half of a full voxel, 255."""
THREADS = 2


@dataclass(frozen=True)
class Surface:
    """A closed triangle mesh in patient coordinates."""

    value: int
    """Of the labelmap; its segment is `segments[value - 1]`."""
    vertices: NDArray[np.float32]
    """(n, 3), LPS mm"""
    triangles: NDArray[np.uint32]
    """(m, 3), 0-based indices of vertices, counter-clockwise seen from outside"""
    normals: NDArray[np.float32]
    """(n, 3), unit vectors, outwards"""


def find_surfaces(labelmap: Labelmap, *, exact: bool = False) -> list[Surface]:
    """The surface of every segment that has one, in their order.

    `exact`: on the voxels as they are, neither averaged, smoothed nor thinned: every vertex lies
    half-way between a voxel of the segment and one outside.
    """
    wanted = [
        value
        for value, (segment, box) in enumerate(zip(labelmap.segments, labelmap.boxes, strict=True), 1)
        if segment.surface and (box is not None or (segment.encloses and labelmap.array.any()))
    ]

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda value: _find_surface(value, labelmap, exact=exact), wanted))


def _find_surface(value: int, labelmap: Labelmap, *, exact: bool) -> Surface:
    segment, box = labelmap.segments[value - 1], labelmap.boxes[value - 1]
    geometry = labelmap.geometry

    if segment.encloses or box is None:
        mask, start = labelmap.array > 0, [0, 0, 0]
    else:
        mask, start = labelmap.array[box] == value, [edge.start for edge in box]

    target_mm = 0.0 if exact else ENCLOSING_TARGET_MM if segment.encloses else TARGET_MM
    spacing = np.asarray(geometry.spacing)
    factors = [
        max(1, min(round(target_mm / step), voxels // MIN_VOXELS_ACROSS))
        for step, voxels in zip(spacing, mask.shape, strict=True)
    ]
    grid = _downsample_mask(mask, factors)
    if max(factors) > 1 and grid.max(initial=0) <= HALF_LEVEL:  # too small to survive the average
        factors = [1, 1, 1]
        grid = _downsample_mask(mask, factors)

    points, triangles = _run_flying_edges(grid, np.asarray(factors) * spacing, smooth=target_mm > 0)
    if target_mm > 0 and len(triangles) > MAX_TRIANGLES:
        points, triangles = _reduce_triangles(points, triangles)

    f = np.asarray(factors, float)
    padding = 2 * f - (f - 1) / 2  # two averaged voxels, and from a block's corner to its centre
    indices = points.astype(np.float64) / spacing + (np.asarray(start) - padding)
    vertices = np.asarray(geometry.map_indices_to_reference(indices), np.float32)

    faces, normals = _orient_outwards(vertices, triangles.astype(np.uint32))

    return Surface(value, vertices, faces, normals)


def _downsample_mask(mask: NDArray[np.bool_], factors: Sequence[int]) -> NDArray[np.uint8]:
    """The mask times 255, with two averaged voxels of nothing around, averaged by whole factors and blurred."""
    import cv2

    fs, fr, fc = factors
    (before, after), (top, bottom), (left, right) = (
        (2 * f, 2 * f + (-n) % f) for n, f in zip(mask.shape, factors, strict=True)
    )

    rows, columns = (mask.shape[1] + top + bottom) // fr, (mask.shape[2] + left + right) // fc
    small = np.zeros((mask.shape[0] + before + after, rows, columns), np.uint8)

    for plane, out in zip(mask, small[before : before + len(mask)], strict=True):
        if not plane.any():
            continue
        full = np.pad(plane.view(np.uint8) * np.uint8(255), ((top, bottom), (left, right)))
        if fr > 1 or fc > 1:
            mean = cv2.resize(full, (columns, rows), interpolation=cv2.INTER_AREA)
            cv2.GaussianBlur(mean, (0, 0), 0.4, dst=out)
        else:
            out[:] = full

    if fs == 1:
        return small

    slabs: NDArray[np.float32] = small.reshape(-1, fs, rows, columns).mean(1, dtype=np.float32)

    return np.rint(slabs).astype(np.uint8)


def _run_flying_edges(
    grid: NDArray[np.uint8], spacing: NDArray[np.float64], *, smooth: bool
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Points as (slice, row, column) mm of the padded grid, and triangles."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D, vtkWindowedSincPolyDataFilter

    grid = np.ascontiguousarray(grid)
    image = vtkImageData()
    image.SetDimensions(*grid.shape[::-1])
    image.SetSpacing(*spacing[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(grid.ravel(), deep=0))

    edges = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, HALF_LEVEL)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    edges.ComputeScalarsOff()
    edges.Update()

    mesh = edges.GetOutput()
    if smooth and mesh.GetNumberOfPoints():
        sinc = vtkWindowedSincPolyDataFilter()
        sinc.SetInputData(mesh)
        sinc.SetNumberOfIterations(SMOOTHING_ITERATIONS)
        sinc.SetPassBand(0.1)
        sinc.NormalizeCoordinatesOn()
        sinc.BoundarySmoothingOff()
        sinc.FeatureEdgeSmoothingOff()
        sinc.Update()
        mesh = sinc.GetOutput()

    points = vtk_to_numpy(mesh.GetPoints().GetData())[:, ::-1].copy()
    triangles = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).reshape(-1, 3).copy()

    return points, triangles


def _reduce_triangles(
    points: NDArray[np.float32], triangles: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """About `MAX_TRIANGLES` of the triangles (quadric edge collapse)."""
    import fast_simplification

    with SIMPLIFY_LOCK:
        points, triangles = fast_simplification.simplify(
            points, triangles, target_count=MAX_TRIANGLES, agg=SIMPLIFY_AGGRESSION
        )

    return points, triangles


def _orient_outwards(
    vertices: NDArray[np.float32], triangles: NDArray[np.uint32]
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Triangles turned so that the enclosed volume is positive, and area-weighted vertex normals."""
    a, b, c = (vertices[triangles[:, k]].astype(np.float64) for k in range(3))
    facing = np.cross(b - a, c - a)
    if np.einsum("ij,ij->", a - vertices.mean(0), facing) < 0:
        triangles, facing = np.ascontiguousarray(triangles[:, ::-1]), -facing

    normals = np.zeros((len(vertices), 3))

    for corner in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(triangles[:, corner], facing[:, axis], len(vertices))

    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(lengths > 1e-12, normals / np.maximum(lengths, 1e-12), (0.0, 0.0, 1.0))

    return triangles, normals.astype(np.float32)
