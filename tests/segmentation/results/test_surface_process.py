"""The process beside: what it writes, and what is said when it breaks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from highdicom import VolumeGeometry

from minipacs.errors import EngineFailed
from segmentation.labelmap import Labelmap, Segment
from segmentation.results.surface_process import start_surface_process
from segmentation.vocabulary import codes


@pytest.fixture
def labelmap() -> Labelmap:
    """A block of bone."""
    array = np.zeros((12, 20, 30), np.uint8)
    array[2:9, 3:15, 4:25] = 1
    segment = Segment("Bone", codes.ANATOMICAL_STRUCTURE, codes.BONE)
    return Labelmap(array, VolumeGeometry(np.eye(4), array.shape, "PATIENT"), (segment,))


@pytest.fixture
def started() -> Callable[[], list[psutil.Process]]:
    """Processes that this test has started and that still run."""
    ours = psutil.Process()
    before = set(ours.children())
    return lambda: [p for p in ours.children() if p not in before and "spawn_main" in " ".join(p.cmdline())]


def test_it_writes_every_shape_and_leaves_no_process(labelmap, started, tmp_path):
    with start_surface_process() as surfaces:
        assert len(started()) == 1
        surfaces.send_labelmap(labelmap, tmp_path, "1.2", bundle=True)
        assert set(surfaces.wait_for_durations()) == {"surfaces", "GLB", "seg.nrrd", "mrb"}
    assert sorted(f.name for f in tmp_path.iterdir()) == ["model.glb", "scene.mrb", "segmentation.seg.nrrd"]
    assert not started()


def test_a_series_that_is_refused_leaves_no_process(started):
    with pytest.raises(KeyError), start_surface_process():
        raise KeyError
    assert not started()


@pytest.mark.parametrize("early", [True, False])
def test_a_crash_is_told(labelmap, started, tmp_path, early):
    def killed() -> None:
        if early:
            started()[0].kill()
        surfaces.send_labelmap(labelmap, tmp_path, "1.2")
        if not early:
            started()[0].kill()
        surfaces.wait_for_durations()

    with start_surface_process() as surfaces, pytest.raises(EngineFailed, match="crashed while surfaces were made"):
        killed()


def test_its_error_is_told_as_it_is(labelmap: Labelmap, tmp_path: Path) -> None:
    (tmp_path / "model.glb").mkdir()
    with start_surface_process() as surfaces:
        surfaces.send_labelmap(labelmap, tmp_path, "1.2")
        with pytest.raises(IsADirectoryError):
            surfaces.wait_for_durations()
