"""The process beside: what it writes, and what is said when it breaks."""

from pathlib import Path

import numpy as np
import psutil
import pytest
from highdicom import VolumeGeometry

from minipacs.errors import EngineFailed
from segmentation import codes
from segmentation.engine import Labelmap, Segment
from segmentation.shapes import Shapes, beside


@pytest.fixture
def labelmap() -> Labelmap:
    """A block of bone."""
    array = np.zeros((12, 20, 30), np.uint8)
    array[2:9, 3:15, 4:25] = 1
    segment = Segment("Bone", codes.ANATOMICAL_STRUCTURE, codes.BONE)
    return Labelmap(array, VolumeGeometry(np.eye(4), array.shape, "PATIENT"), (segment,))


def children() -> list[psutil.Process]:
    """Processes of this one that serve surfaces."""
    return [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]


def test_it_writes_every_shape_and_leaves_no_process(labelmap: Labelmap, tmp_path: Path) -> None:
    with beside() as shapes:
        assert len(children()) == 1
        shapes.begin(labelmap, tmp_path, "1.2", bundle=True)
        assert set(shapes.end()) == {"surfaces", "GLB", "seg.nrrd", "mrb"}
    assert sorted(f.name for f in tmp_path.iterdir()) == ["model.glb", "scene.mrb", "segmentation.seg.nrrd"]
    assert not children()


def test_a_series_that_is_refused_leaves_no_process() -> None:
    with pytest.raises(KeyError), beside():
        raise KeyError
    assert not children()


def killed_before(shapes: Shapes, labelmap: Labelmap, out: Path) -> None:
    children()[0].kill()
    shapes.begin(labelmap, out, "1.2")
    shapes.end()


def killed_at_work(shapes: Shapes, labelmap: Labelmap, out: Path) -> None:
    shapes.begin(labelmap, out, "1.2")
    children()[0].kill()
    shapes.end()


@pytest.mark.parametrize("crash", [killed_before, killed_at_work])
def test_a_crash_is_told(crash, labelmap, tmp_path):
    with beside() as shapes, pytest.raises(EngineFailed, match="crashed while surfaces were made"):
        crash(shapes, labelmap, tmp_path)


def test_its_error_is_told_as_it_is(labelmap: Labelmap, tmp_path: Path) -> None:
    (tmp_path / "model.glb").mkdir()
    with beside() as shapes:
        shapes.begin(labelmap, tmp_path, "1.2")
        with pytest.raises(IsADirectoryError):
            shapes.end()
