"""SAM's real code path, on tiny randomly initialised models that the test makes; without torch: skipped.

The Python with torch and transformers is MINIPACS_SAM_PYTHON, or ~/.cache/minipacs/sam/bin/python:

    python -m venv ~/.cache/minipacs/sam && ~/.cache/minipacs/sam/bin/pip install torch==2.13.0+cpu transformers==5.23.0
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from minipacs.errors import EngineFailed, EngineUnavailable
from minipacs.settings import Settings
from segmentation import registry
from segmentation.engines.sam.engine import SamEngine
from segmentation.prompter import PromptedSeries, PromptsInPixels, SlicePrompts
from segmentation.prompts import Box, Point
from waiting import PATIENCE_S

PYTHON = Path(os.environ.get("MINIPACS_SAM_PYTHON") or "~/.cache/minipacs/sam/bin/python").expanduser()
MAKE = """
import sys, torch
from transformers import *
torch.manual_seed(0)
kind, folder = sys.argv[1:]
if kind == "sam":
    v = SamVisionConfig(hidden_size=32, output_channels=32, num_hidden_layers=2, num_attention_heads=2,
        image_size=256, patch_size=16, global_attn_indexes=[1], window_size=8, mlp_dim=64, num_pos_feats=16)
    p = SamPromptEncoderConfig(hidden_size=32, image_size=256, patch_size=16)
    d = SamMaskDecoderConfig(hidden_size=32, mlp_dim=64, num_hidden_layers=2, num_attention_heads=2,
        iou_head_hidden_dim=32)
    model = SamModel(SamConfig(vision_config=v.to_dict(), prompt_encoder_config=p.to_dict(),
        mask_decoder_config=d.to_dict()))
else:
    from transformers import (Sam2Config, Sam2HieraDetConfig, Sam2MaskDecoderConfig, Sam2Model,
        Sam2PromptEncoderConfig, Sam2VisionConfig)
    b = Sam2HieraDetConfig(hidden_size=12, num_attention_heads=1, image_size=[128, 128], blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[12, 24, 48, 96], num_attention_heads_per_stage=[1, 1, 2, 4],
        window_size_per_stage=[8, 4, 4, 4], window_positional_embedding_background_size=[7, 7],
        global_attention_blocks=[3])
    v = Sam2VisionConfig(backbone_config=b.to_dict(), backbone_channel_list=[96, 48, 24, 12],
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]], fpn_hidden_size=32)
    model = Sam2Model(Sam2Config(vision_config=v.to_dict(),
        prompt_encoder_config=Sam2PromptEncoderConfig(hidden_size=32, image_size=128).to_dict(),
        mask_decoder_config=Sam2MaskDecoderConfig(hidden_size=32, mlp_dim=32, num_attention_heads=2,
        iou_head_hidden_dim=32).to_dict()))
model.save_pretrained(folder)
"""
SHAPE = (4, 60, 84)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model of this kind, made once."""
    if not PYTHON.is_file():
        pytest.skip("no Python with torch and transformers: set MINIPACS_SAM_PYTHON")
    root = tmp_path_factory.mktemp("models")

    def make(kind: str) -> Path:
        if not (root / kind).is_dir():
            command = [str(PYTHON), "-c", MAKE, kind, str(root / kind)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
            assert done.returncode == 0, done.stderr[-2000:]
        return root / kind

    return make


@pytest.fixture(scope="module")
def engines(
    models: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], SamEngine]]:
    """The engine on a tiny model of this kind, asked for from the registry; started once."""
    started: dict[str, SamEngine] = {}

    def make(kind: str) -> SamEngine:
        if kind not in started:
            home = tmp_path_factory.mktemp("home")
            settings = Settings(home=home, sam_model=str(models(kind)), sam_python=str(PYTHON)).complete()
            engine: Any = registry.create_engine("sam", settings, group=registry.PROMPTERS)
            started[kind] = engine
        return started[kind]

    yield make
    for engine in started.values():
        engine.close()


@pytest.fixture
def sam(engines: Callable[[str], SamEngine], request: pytest.FixtureRequest) -> SamEngine:
    """On SAM's model, or the one a test names."""
    return engines(getattr(request, "param", "sam"))


@pytest.fixture
def series() -> PromptedSeries:
    """A CT of four slices, each with its own disc."""
    from highdicom import Volume

    array = np.random.default_rng(5).normal(0, 20, SHAPE).astype(np.int16)
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    for k in range(SHAPE[0]):
        array[k][np.hypot(rows - 30, columns - 30 - 3 * k) < 14] += 200
    volume = Volume(array, np.diag([2.0, 0.8, 0.6, 1.0]), "PATIENT")
    return PromptedSeries(volume, "CT", [f"1.2.{k}" for k in range(SHAPE[0])], [(40.0, 400.0)] * SHAPE[0])


def in_pixels(by_slice: dict[int, SlicePrompts], **more: Any) -> PromptsInPixels:
    return PromptsInPixels(by_slice, (0, SHAPE[0] - 1), **more)


BOX = SlicePrompts(boxes=((10, 10, 50, 50),))


@pytest.mark.parametrize("sam", ["sam", "sam2"], indirect=True)
def test_every_kind_of_prompt_gets_a_mask_of_the_images_shape(sam: SamEngine, series: PromptedSeries) -> None:
    for clue in (
        SlicePrompts(positive=((30, 30),)),
        SlicePrompts(positive=((30, 30), (20, 40)), negative=((50, 70),)),
        BOX,
        SlicePrompts(boxes=BOX.boxes, positive=((30, 30),), negative=((5, 5),)),
        SlicePrompts(boxes=(*BOX.boxes, (30, 40, 55, 80)), positive=((5, 5),)),
    ):
        for mask in sam.make_masks(series, in_pixels({1: clue})).values():
            assert mask.shape == SHAPE[1:]
            assert mask.dtype == np.bool_
        assert 0 <= sam.process.last_facts["score"] <= 1.5
        assert sam.process.last_facts["held"] > 0


def test_an_image_is_encoded_once_for_each_window(sam: SamEngine, series: PromptedSeries) -> None:
    def cached(index: int, window: tuple[float, float] | None) -> bool:
        sam.make_masks(series, in_pixels({index: BOX}, window=window))
        return bool(sam.process.last_facts["cached"])

    series = replace(series, names=[f"1.3.{k}" for k in range(SHAPE[0])])  # images that no other test has shown it
    asked = [(1, None), (1, None), (1, (40.0, 400.0)), (1, (-600.0, 1500.0)), (1, (40.0, 400.0)), (2, None)]
    assert [cached(*each) for each in asked] == [False, True, True, False, True, False]


def test_embeddings_stay_within_their_bound(
    models: Callable[[str], Path], settings: Settings, series: PromptedSeries
) -> None:
    settings = replace(settings, sam_model=str(models("sam")), sam_python=str(PYTHON), sam_memory_mb=0)
    engine: Any = registry.create_engine("sam", settings, group=registry.PROMPTERS)
    engine.make_masks(series, in_pixels({1: BOX}))
    held = engine.process.last_facts["held"]
    for index in (2, 3, 1, 2):
        engine.make_masks(series, in_pixels({index: BOX}))
        assert engine.process.last_facts == {**engine.process.last_facts, "held": held, "cached": False}
    engine.close()


def test_the_same_prompt_gives_the_same_mask_and_windows_matter(sam: SamEngine, series: PromptedSeries) -> None:
    def asked(window: tuple[float, float]) -> np.ndarray:
        found = sam.make_masks(series, in_pixels({1: BOX}, window=window))
        return found.get(1, np.zeros(SHAPE[1:], bool))

    assert np.array_equal(asked((40, 400)), asked((40, 400)))
    assert not np.array_equal(series.render_grey(1, (40, 400)), series.render_grey(1, (100, 50)))


def test_as_an_engine_it_gives_a_labelmap_on_the_volumes_grid(sam: SamEngine, series: PromptedSeries) -> None:
    volume = series.volume
    prompts = [Point((2.0, 24.0, 18.0)), Box((2.0, 8.0, 6.0), (2.0, 40.0, 30.0))]
    labelmap = sam.segment(volume, prompts)
    assert labelmap.array.shape == SHAPE
    assert labelmap.segments[0].algorithm == "SEMIAUTOMATIC"


def test_a_process_that_was_killed_is_started_again(sam: SamEngine, series: PromptedSeries) -> None:
    def process() -> list[psutil.Process]:
        return [c for c in psutil.Process().children() if sam.process.folder in c.cmdline()]

    before = sam.make_masks(series, in_pixels({1: BOX}))
    (child,) = process()
    child.kill()
    child.wait(PATIENCE_S)
    after = sam.make_masks(series, in_pixels({1: BOX}))
    assert {k: m.sum() for k, m in before.items()} == {k: m.sum() for k, m in after.items()}
    assert process() != [child]
    sam.close()
    assert not process()


def test_a_propagation_follows_by_the_embedded_method(
    sam: SamEngine, series: PromptedSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    disc = np.hypot(rows - 30, columns - 33) < 14
    monkeypatch.setattr(sam.process, "request_mask", lambda request: disc)
    found = sam.make_masks(series, in_pixels({1: BOX}, propagate=True))
    assert set(found) == {0, 1, 2, 3}


def test_a_folder_that_is_no_model_is_refused(
    models: Callable[[str], Path], settings: Settings, series: PromptedSeries, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "model.safetensors").write_bytes(b"")
    models("sam")
    settings = replace(settings, sam_model=str(folder), sam_python=str(PYTHON))
    engine: Any = registry.create_engine("sam", settings, group=registry.PROMPTERS)
    with pytest.raises(EngineUnavailable, match="cannot be loaded"):
        engine.make_masks(series, in_pixels({1: BOX}))


def test_without_a_model_or_a_python_it_says_what_to_set(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    for changes, setting in (
        ({}, "MINIPACS_SAM_MODEL"),
        ({"sam_model": str(tmp_path / "nothing")}, "MINIPACS_SAM_MODEL"),
        ({"sam_model": str(tmp_path)}, "MINIPACS_SAM_PYTHON"),
        ({"sam_model": str(tmp_path), "sam_python": str(tmp_path / "no")}, "MINIPACS_SAM_PYTHON"),
    ):
        with pytest.raises(EngineUnavailable) as refused:
            registry.create_engine("sam", replace(settings, **changes), group=registry.PROMPTERS)
        assert setting in refused.value.hint


def test_a_broken_answer_is_an_error_of_ours(settings: Settings, tmp_path: Path, series: PromptedSeries) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho '{\"ready\": true}'\nread line\nexit 3\n")
    script.chmod(0o755)
    engine = SamEngine(replace(settings, sam_model=str(tmp_path)), _model(tmp_path), script)
    with pytest.raises(EngineFailed, match="ended, or took too long"):
        engine.make_masks(series, in_pixels({1: BOX}))


def _model(folder: Path) -> Path:
    (folder / "config.json").write_text("{}")
    return folder
