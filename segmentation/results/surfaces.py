"""Surfaces of segments, and their GLB: one named, coloured mesh a segment under one root.

A surface is made on a blurred, area-averaged copy of the segment (about 1.5 mm), where flying edges
find the half-level between voxels: 0.1 mm from the full-resolution surface on average, at a tenth of
its triangles and time. Vertices are patient coordinates (LPS, mm); the GLB's root node turns them to
metres with Y up (glTF 2.0, 3.4), the patient's face along +Z.
"""

import json
import struct
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.engine import Labelmap, Segment

TARGET_MM = 1.5
"""Voxels smaller than this are averaged before the surface is found."""
ENCLOSING_MM = 2.5
"""The same for a segment that encloses the others."""
FINE = 10
"""A segment keeps at least so many voxels along each side of its box: what is small is not averaged away."""
SMOOTHING = 20
"""Iterations of windowed sinc smoothing, which does not shrink (Taubin)."""
TRIANGLES = 60_000
"""At most, a segment."""
HASTE = 9
"""Of thinning: as near to the full surface as with its default 7 (mean and 99 % of distances), a quarter faster."""
ENCLOSING_ALPHA = 0.3
LEVEL = 127.5
"""Half of a full voxel."""
ONE_MESH = Lock()
"""fast_simplification keeps its mesh in static memory: of two at once, one would get the other's triangles."""
METRES = 0.001
ROOT_MATRIX = [METRES, 0, 0, 0, 0, 0, -METRES, 0, 0, METRES, 0, 0, 0, 0, 0, 1]
"""Column by column: (left, posterior, superior) mm to (left, superior, anterior) m."""


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


def surfaces(labelmap: Labelmap, *, exact: bool = False) -> list[Surface]:
    """The surface of every segment that asks for one, in their order.

    `exact`: on the voxels as they are, neither averaged, smoothed nor thinned: every vertex lies
    half-way between a voxel of the segment and one outside.
    """
    wanted = [
        value
        for value, (segment, box) in enumerate(zip(labelmap.segments, labelmap.boxes, strict=True), 1)
        if segment.surface and (box is not None or (segment.encloses and labelmap.array.any()))
    ]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda value: _surface(value, labelmap, exact=exact), wanted))


def _surface(value: int, labelmap: Labelmap, *, exact: bool) -> Surface:
    segment, box, geometry = labelmap.segments[value - 1], labelmap.boxes[value - 1], labelmap.geometry
    if segment.encloses or box is None:
        mask, start = labelmap.array > 0, [0, 0, 0]
    else:
        mask, start = labelmap.array[box] == value, [edge.start for edge in box]
    target_mm = 0.0 if exact else ENCLOSING_MM if segment.encloses else TARGET_MM
    spacing = np.asarray(geometry.spacing)
    factors = [max(1, min(round(target_mm / s), n // FINE)) for s, n in zip(spacing, mask.shape, strict=True)]
    grid = _averaged(mask, factors)
    if max(factors) > 1 and grid.max(initial=0) <= LEVEL:  # too small to survive the average
        factors = [1, 1, 1]
        grid = _averaged(mask, factors)
    points, triangles = _flying_edges(grid, np.asarray(factors) * spacing, smooth=target_mm > 0)
    if target_mm > 0 and len(triangles) > TRIANGLES:
        points, triangles = _thinned(points, triangles)
    f = np.asarray(factors, float)
    indices = points.astype(np.float64) / spacing + (np.asarray(start) - 2 * f + (f - 1) / 2)
    vertices = np.asarray(geometry.map_indices_to_reference(indices), np.float32)
    faces, normals = _outwards(vertices, triangles.astype(np.uint32))
    return Surface(value, vertices, faces, normals)


def _averaged(mask: NDArray[np.bool_], factors: Sequence[int]) -> NDArray[np.uint8]:
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


def _flying_edges(
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
    edges.SetValue(0, LEVEL)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    edges.ComputeScalarsOff()
    edges.Update()
    mesh = edges.GetOutput()
    if smooth and mesh.GetNumberOfPoints():
        sinc = vtkWindowedSincPolyDataFilter()
        sinc.SetInputData(mesh)
        sinc.SetNumberOfIterations(SMOOTHING)
        sinc.SetPassBand(0.1)
        sinc.NormalizeCoordinatesOn()
        sinc.BoundarySmoothingOff()
        sinc.FeatureEdgeSmoothingOff()
        sinc.Update()
        mesh = sinc.GetOutput()
    points = vtk_to_numpy(mesh.GetPoints().GetData())[:, ::-1].copy()
    triangles = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).reshape(-1, 3).copy()
    return points, triangles


def _thinned(
    points: NDArray[np.float32], triangles: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """About `TRIANGLES` of the triangles (quadric edge collapse)."""
    import fast_simplification

    with ONE_MESH:
        points, triangles = fast_simplification.simplify(points, triangles, target_count=TRIANGLES, agg=HASTE)
    return points, triangles


def _outwards(
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


# -- GLB --------------------------------------------------------------------------------------------
def write_glb(path: Path, meshes: Iterable[Surface], segments: Sequence[Segment], extras: dict[str, Any]) -> None:
    """A binary glTF 2.0 with KHR_mesh_quantization: 16-bit positions, 8-bit normals.

    A position is off by at most 1/131068 of its mesh's longest side. Label and codes stand in each
    node's `extras`; `extras`: of the root.
    """
    meshes = list(meshes)
    blob = bytearray()
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    nodes: list[dict[str, Any]] = []
    gltf_meshes: list[dict[str, Any]] = []
    materials: list[dict[str, Any]] = []

    def accessor(data: NDArray[Any], target: int, stride: int, **described: Any) -> int:
        blob.extend(b"\0" * (-len(blob) % 4))
        view = {"buffer": 0, "byteOffset": len(blob), "byteLength": data.nbytes, "target": target}
        views.append({**view, "byteStride": stride} if stride else view)
        blob.extend(data.tobytes())
        accessors.append({"bufferView": len(views) - 1, **described})
        return len(accessors) - 1

    for mesh in meshes:
        segment = segments[mesh.value - 1]
        low, high = mesh.vertices.min(0).astype(np.float64), mesh.vertices.max(0).astype(np.float64)
        centre, scale = (low + high) / 2, float((high - low).max() / 2) or 1.0
        count = len(mesh.vertices)
        positions = np.zeros((count, 4), np.int16)
        positions[:, :3] = np.rint((mesh.vertices - centre) / scale * 32767)
        normals = np.zeros((count, 4), np.int8)
        normals[:, :3] = np.rint(mesh.normals * 127)
        short = count < 65535
        bounds = {"min": positions[:, :3].min(0).tolist(), "max": positions[:, :3].max(0).tolist()}
        vector = {"count": count, "type": "VEC3", "normalized": True}
        position = accessor(positions, 34962, 8, componentType=5122, **vector, **bounds)
        normal = accessor(normals, 34962, 4, componentType=5120, **vector)
        corners = mesh.triangles.astype(np.uint16 if short else np.uint32)
        indices = accessor(corners, 34963, 0, componentType=5123 if short else 5125, count=corners.size, type="SCALAR")
        attributes = {"POSITION": position, "NORMAL": normal}
        primitive = {"attributes": attributes, "indices": indices, "material": len(materials)}
        gltf_meshes.append({"name": segment.whole_label, "primitives": [primitive]})
        materials.append(_material(segment))
        nodes.append(
            {
                "name": segment.whole_label,
                "mesh": len(gltf_meshes) - 1,
                "translation": centre.tolist(),
                "scale": [scale] * 3,
                "extras": described(mesh.value, segment),
            }
        )
    root = {"name": "segmentation", "matrix": ROOT_MATRIX, "extras": extras}
    if nodes:
        root["children"] = list(range(len(nodes)))
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "minipacs"},
        "scene": 0,
        "scenes": [{"name": "segmentation", "nodes": [len(nodes)]}],
        "nodes": [*nodes, root],
    }
    if nodes:
        extension = ["KHR_mesh_quantization"]
        document |= {"extensionsUsed": extension, "extensionsRequired": extension, "materials": materials}
        document |= {"meshes": gltf_meshes, "accessors": accessors, "bufferViews": views}
        document["buffers"] = [{"byteLength": len(blob)}]
    path.write_bytes(_glb(document, bytes(blob)))


def described(value: int, segment: Segment) -> dict[str, Any]:
    """A segment's label and codes as JSON: in GLB extras, label tables and manifests."""
    codes = {"category": segment.category, "type": segment.type, "family": segment.family}
    codes |= {k: v for k, v in (("laterality", segment.laterality), ("region", segment.region)) if v}
    return {
        "value": value,
        "label": segment.label,
        **{k: {"value": c.value, "scheme": c.scheme, "meaning": c.meaning} for k, c in codes.items()},
        "color": list(segment.color),
        "algorithm": segment.algorithm,
    }


def _material(segment: Segment) -> dict[str, Any]:
    alpha = ENCLOSING_ALPHA if segment.encloses else 1.0
    factor = [*(_linear(channel) for channel in segment.color), alpha]
    material: dict[str, Any] = {
        "name": segment.whole_label,
        "doubleSided": True,
        "pbrMetallicRoughness": {"baseColorFactor": factor, "metallicFactor": 0, "roughnessFactor": 0.6},
    }
    return {**material, "alphaMode": "BLEND"} if segment.encloses else material


def _linear(channel: int) -> float:
    """sRGB 0 to 255 as linear light 0 to 1 (IEC 61966-2-1): what glTF's baseColorFactor is."""
    c = channel / 255
    return round(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4, 5)


def _glb(document: dict[str, Any], blob: bytes) -> bytes:
    """glTF 2.0, 4.4: a header and one or two chunks, each padded to 4 bytes."""
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    blob += b"\0" * (-len(blob) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if blob:
        chunks += struct.pack("<II", len(blob), 0x004E4942) + blob
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks
