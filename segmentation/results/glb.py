"""Surfaces as a GLB (binary glTF 2.0): one named, colored mesh a segment under one root.

KHR_mesh_quantization: 16-bit positions and 8-bit normals. Vertices are patient coordinates (LPS, mm); the
root node turns them to metres with Y up (glTF 2.0, 3.4), the patient's face along +Z.
"""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.labelmap import Segment
from segmentation.results.surfaces import Surface

METRES_PER_MM = 0.001
ROOT_MATRIX = [METRES_PER_MM, 0, 0, 0, 0, 0, -METRES_PER_MM, 0, 0, METRES_PER_MM, 0, 0, 0, 0, 0, 1]
"""Column by column: (left, posterior, superior) mm to (left, superior, anterior) m."""
ENCLOSING_ALPHA = 0.3
"""Opacity of a segment that encloses the others."""
QUANTIZATION = "KHR_mesh_quantization"

BYTE, SHORT, UNSIGNED_SHORT, UNSIGNED_INT = 5120, 5122, 5123, 5125
"""glTF 2.0, 3.6.2.2: types of components."""
VERTICES, TRIANGLES = 34962, 34963
"""glTF 2.0, 5.11.5: what a buffer view is for."""
MAX_SHORT_INDEX = 65535
"""Meshes with fewer vertices have 16-bit indices; the highest one is reserved (glTF 2.0, 3.7.2.1)."""

Json = dict[str, Any]
"""A part of the glTF document."""


def write_glb(path: Path, surfaces: Iterable[Surface], segments: Sequence[Segment], extras: Mapping[str, str]) -> None:
    """Write the surfaces; label and codes stand in each node's `extras`. `extras`: of the root.

    A position is off by at most 1/131068 of its mesh's longest side.
    """
    document = _GltfDocument()
    for surface in surfaces:
        document.add_surface(surface, segments[surface.value - 1])

    path.write_bytes(_pack_glb(document.as_json(extras), bytes(document.buffer)))


class _GltfDocument:
    """The parts of a glTF document, and its one buffer."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._views: list[Json] = []
        self._accessors: list[Json] = []
        self._materials: list[Json] = []
        self._meshes: list[Json] = []
        self._nodes: list[Json] = []

    def add_surface(self, surface: Surface, segment: Segment) -> None:
        """Add a surface as mesh, material and node."""
        low, high = (edge.astype(np.float64) for edge in (surface.vertices.min(0), surface.vertices.max(0)))
        centre = (low + high) / 2
        scale = float((high - low).max() / 2) or 1.0

        attributes = {
            "POSITION": self._add_positions(surface.vertices, centre, scale),
            "NORMAL": self._add_normals(surface.normals),
        }
        primitive = {
            "attributes": attributes,
            "indices": self._add_triangles(surface.triangles, len(surface.vertices)),
            "material": len(self._materials),
        }

        self._meshes.append({"name": segment.surface_label, "primitives": [primitive]})
        self._materials.append(_make_material(segment))
        self._nodes.append(
            {
                "name": segment.surface_label,
                "mesh": len(self._meshes) - 1,
                "translation": centre.tolist(),
                "scale": [scale] * 3,
                "extras": segment.as_json(surface.value),
            }
        )

    def as_json(self, extras: Mapping[str, str]) -> Json:
        """The whole document; without a surface, only its root."""
        root: Json = {"name": "segmentation", "matrix": ROOT_MATRIX, "extras": dict(extras)}
        document: Json = {
            "asset": {"version": "2.0", "generator": "minipacs"},
            "scene": 0,
            "scenes": [{"name": "segmentation", "nodes": [len(self._nodes)]}],
            "nodes": [*self._nodes, root],
        }
        if not self._nodes:
            return document

        root["children"] = list(range(len(self._nodes)))

        return document | {
            "extensionsUsed": [QUANTIZATION],
            "extensionsRequired": [QUANTIZATION],
            "materials": self._materials,
            "meshes": self._meshes,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self.buffer)}],
        }

    def _add_positions(self, vertices: NDArray[np.float32], centre: NDArray[np.float64], scale: float) -> int:
        positions = np.zeros((len(vertices), 4), np.int16)  # four components, so that each vertex is aligned
        positions[:, :3] = np.rint((vertices - centre) / scale * 32767)

        bounds = {"min": positions[:, :3].min(0).tolist(), "max": positions[:, :3].max(0).tolist()}

        return self._add_accessor(positions, VERTICES, 8, _describe_vectors(SHORT, len(vertices)) | bounds)

    def _add_normals(self, normals: NDArray[np.float32]) -> int:
        quantized = np.zeros((len(normals), 4), np.int8)
        quantized[:, :3] = np.rint(normals * 127)

        return self._add_accessor(quantized, VERTICES, 4, _describe_vectors(BYTE, len(normals)))

    def _add_triangles(self, triangles: NDArray[np.uint32], vertices: int) -> int:
        is_short = vertices < MAX_SHORT_INDEX
        corners = triangles.astype(np.uint16 if is_short else np.uint32)

        layout = {
            "componentType": UNSIGNED_SHORT if is_short else UNSIGNED_INT,
            "count": corners.size,
            "type": "SCALAR",
        }

        return self._add_accessor(corners, TRIANGLES, 0, layout)

    def _add_accessor(self, data: NDArray[Any], target: int, stride: int, layout: Json) -> int:
        """Append the data to the buffer, aligned to 4 bytes; the number of its accessor. `stride`: 0 for none."""
        self.buffer.extend(b"\0" * (-len(self.buffer) % 4))
        view = {"buffer": 0, "byteOffset": len(self.buffer), "byteLength": data.nbytes, "target": target}
        self.buffer.extend(data.tobytes())

        self._views.append(view | {"byteStride": stride} if stride else view)
        self._accessors.append({"bufferView": len(self._views) - 1} | layout)

        return len(self._accessors) - 1


def _describe_vectors(component_type: int, count: int) -> Json:
    return {"componentType": component_type, "count": count, "type": "VEC3", "normalized": True}


def _make_material(segment: Segment) -> Json:
    alpha = ENCLOSING_ALPHA if segment.encloses else 1.0
    color = [*(_to_linear_light(channel) for channel in segment.color), alpha]

    material: Json = {
        "name": segment.surface_label,
        "doubleSided": True,
        "pbrMetallicRoughness": {"baseColorFactor": color, "metallicFactor": 0, "roughnessFactor": 0.6},
    }

    return material | {"alphaMode": "BLEND"} if segment.encloses else material


def _to_linear_light(channel: int) -> float:
    """sRGB 0 to 255 as linear light 0 to 1 (IEC 61966-2-1): what glTF's baseColorFactor is."""
    c = channel / 255
    return round(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4, 5)


def _pack_glb(document: Json, buffer: bytes) -> bytes:
    """glTF 2.0, 4.4: a header and one or two chunks, each padded to 4 bytes."""
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text

    buffer += b"\0" * (-len(buffer) % 4)
    if buffer:
        chunks += struct.pack("<II", len(buffer), 0x004E4942) + buffer

    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks
