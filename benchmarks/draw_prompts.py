"""The prompts of `benchmarks/bench_prompts.py` as a picture: contours of the reference and of our answer.

    MINIPACS_TEST_DATA=FOLDER .venv/bin/python -m benchmarks.draw_prompts docs/prompts.png

One tile a target of the research note (largest first): box and one click, reference green, answer orange.
"""

import os
import random
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchmarks.bench_prompts import STUDY, Mask, box_around, dice, find_targets, load_study, next_click
from segmentation.engines.geodesic import plane_cut
from segmentation.prompter import Pixel, Rectangle, SlicePrompts

TILE = 208
ACROSS = 4
GREEN, ORANGE, BLUE, WHITE = (70, 220, 90), (255, 150, 30), (90, 170, 255), (255, 255, 255)
WINDOW_LOW = -160
WINDOW_WIDTH = 400
"""The soft-tissue window, HU."""


def main() -> None:
    """Draw the targets and write the picture."""
    values, labels, names = load_study(Path(os.environ["MINIPACS_TEST_DATA"], STUDY))
    random.seed(1)
    chosen = random.sample(find_targets(labels, names), 16)
    sheet = Image.new("RGB", (ACROSS * TILE, -(-len(chosen) // ACROSS) * TILE))
    for number, (z, name, truth) in enumerate(sorted(chosen, key=lambda t: -int(t[2].sum()))):
        down, across = divmod(number, ACROSS)
        sheet.paste(draw_tile(values[z], truth, name.replace("_", " ")), (across * TILE, down * TILE))
    sheet.quantize(64, dither=Image.Dither.NONE).save(sys.argv[1], optimize=True)


def draw_tile(values: NDArray[np.int16], truth: Mask, name: str) -> Image.Image:
    """Draw one target, cropped around its box."""
    box, (pixel, _) = box_around(truth), next_click(truth, np.zeros_like(truth))
    answer = plane_cut.segment_plane(values.astype(np.float32), SlicePrompts(boxes=(box,), positive=(pixel,)))
    half = max(box[2] - box[0], box[3] - box[1]) * 0.65 + 6
    top, left = (int((box[k] + box[k + 2]) / 2 - half) for k in (0, 1))
    scale = TILE / (2 * half)
    shown = np.clip((values.astype(np.float32) - WINDOW_LOW) / WINDOW_WIDTH * 255, 0, 255).astype(np.uint8)

    def enlarge(picture: NDArray[np.uint8], how: int) -> NDArray[np.uint8]:
        move = np.array([[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - top) * scale - 0.5]])
        return np.asarray(cv2.warpAffine(picture, move, (TILE, TILE), flags=how), np.uint8)

    drawn = np.repeat(enlarge(shown, cv2.INTER_CUBIC)[..., None], 3, 2)
    for mask, color in ((truth, GREEN), (answer, ORANGE)):
        outlines, _ = cv2.findContours(
            enlarge(mask.astype(np.uint8), cv2.INTER_NEAREST), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(drawn, outlines, -1, color, 1)
    picture = Image.fromarray(drawn)
    _annotate(picture, box, pixel, (top, left), scale)
    ImageDraw.Draw(picture).text((5, 4), f"{name}  {dice(answer, truth):.2f}", WHITE, stroke_width=1, stroke_fill=0)
    return picture


def _annotate(picture: Image.Image, box: Rectangle, click: Pixel, corner: Pixel, scale: float) -> None:
    draw = ImageDraw.Draw(picture)
    first = [(box[k] - corner[k]) * scale for k in (1, 0)]
    last = [(box[k + 2] + 1 - corner[k]) * scale for k in (1, 0)]
    draw.rectangle([*first, *last], outline=BLUE)
    x, y = ((click[k] + 0.5 - corner[k]) * scale for k in (1, 0))
    draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=BLUE)


if __name__ == "__main__":
    main()
