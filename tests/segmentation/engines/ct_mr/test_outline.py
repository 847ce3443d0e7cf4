"""The outline of a head in MR: skin is a thin shell around a dark skull, and belongs to it."""

import numpy as np

from segmentation.engines.ct_mr.outline import find_outline

SPACING = (2.0, 1.1, 0.9)
SHAPE = (60, 150, 170)


def test_the_outline_reaches_to_the_skin_and_no_further():
    random = np.random.default_rng(3)
    centre = np.array(SHAPE) / 2
    distance = np.sqrt(sum(
        ((np.arange(n) - c) * s).reshape([-1 if axis == i else 1 for i in range(3)]) ** 2
        for axis, (n, c, s) in enumerate(zip(SHAPE, centre, SPACING, strict=True))
    ))  # fmt: skip
    head = distance < 55
    values = np.zeros(SHAPE)
    values[head & (distance > 52)] = 900  # skin and the fat below it
    values[distance < 44] = 450  # brain; the skull between them is as dark as air
    noisy = np.hypot(values + random.normal(0, 12, SHAPE), random.normal(0, 12, SHAPE))
    found = find_outline(noisy.astype(np.int16), SPACING).view(bool)
    assert found[head].mean() > 0.97
    assert (found & ~head).sum() < 0.02 * head.sum()


def test_an_empty_image_has_no_outline():
    assert not find_outline(np.zeros(SHAPE, np.int16), SPACING).any()
