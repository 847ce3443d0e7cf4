"""The embedded method on planes whose truth is known."""

import numpy as np
import pytest

from segmentation.engines.geodesic.plane_cut import segment_next_plane, segment_plane
from segmentation.engines.geodesic.propagation import propagate_masks
from segmentation.prompter import SlicePrompts


def draw_discs(*discs: tuple[int, int, int, float], shape: tuple[int, int] = (160, 220)) -> np.ndarray:
    """Discs (row, column, radius, HU) on −100 HU with noise."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    plane = np.random.default_rng(7).normal(-100, 8, shape).astype(np.float32)
    for row, column, radius, value in discs:
        plane[np.hypot(rows - row, columns - column) < radius] += value + 100
    return plane


def make_disc_mask(row: int, column: int, radius: int, shape: tuple[int, int] = (160, 220)) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(rows - row, columns - column) < radius


def measure_dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * int((one & other).sum()) / max(1, int(one.sum() + other.sum()))


TWO = ((60, 50, 22, 60.0), (90, 160, 28, 60.0))


@pytest.mark.parametrize(
    "prompts",
    [
        SlicePrompts(positive=((60, 50),)),
        SlicePrompts(boxes=((36, 26, 84, 74),)),
        SlicePrompts(boxes=((36, 26, 84, 74),), positive=((60, 50),)),
        SlicePrompts(boxes=((36, 26, 84, 74),), negative=((20, 20),)),
    ],
)
def test_a_click_or_a_box_finds_its_disc_and_not_the_other(prompts: SlicePrompts) -> None:
    found = segment_plane(draw_discs(*TWO), prompts)
    assert measure_dice(found, make_disc_mask(60, 50, 22)) > 0.95
    assert not found[make_disc_mask(90, 160, 28)].any()


def test_a_click_in_the_marrow_of_a_boxed_bone_takes_its_cortex_too() -> None:
    denser = ((60, 50, radius, -170.0) for radius in range(20, 2, -2))  # by 70 HU a ring, from the middle outwards
    plane = draw_discs((60, 50, 22, 900.0), *denser)
    found = segment_plane(plane, SlicePrompts(boxes=((36, 26, 84, 74),), positive=((60, 50),)))
    assert measure_dice(found, make_disc_mask(60, 50, 22)) > 0.9


def test_every_box_and_every_free_point_counts() -> None:
    plane = draw_discs(*TWO, (130, 40, 12, 60.0))
    prompts = SlicePrompts(boxes=((36, 26, 84, 74), (58, 128, 122, 192)), positive=((130, 40),))
    truth = make_disc_mask(60, 50, 22) | make_disc_mask(90, 160, 28) | make_disc_mask(130, 40, 12)
    assert measure_dice(segment_plane(plane, prompts), truth) > 0.93


def test_a_negative_point_takes_a_part_away() -> None:
    plane = draw_discs((70, 80, 20, 60.0), (70, 130, 20, 60.0))
    plane[66:75, 80:130] = 60  # a bridge
    both = segment_plane(plane, SlicePrompts(boxes=((40, 50, 100, 160),), positive=((70, 80), (70, 130))))
    one = segment_plane(plane, SlicePrompts(boxes=((40, 50, 100, 160),), positive=((70, 80),), negative=((70, 130),)))
    assert measure_dice(both, make_disc_mask(70, 80, 20) | make_disc_mask(70, 130, 20)) > 0.8
    assert one[make_disc_mask(70, 80, 15)].mean() > 0.9
    assert one[make_disc_mask(70, 130, 4)].sum() == 0
    assert one.sum() < both.sum()


def test_the_same_prompts_give_the_same_mask() -> None:
    prompts = SlicePrompts(boxes=((36, 26, 84, 74),), positive=((60, 50),))
    assert np.array_equal(segment_plane(draw_discs(*TWO), prompts), segment_plane(draw_discs(*TWO), prompts))


def test_a_point_at_the_corner_of_the_image_is_no_error() -> None:
    for pixel in ((0, 0), (159, 219), (0, 219)):
        assert segment_plane(draw_discs(*TWO), SlicePrompts(positive=(pixel,))).shape == (160, 220)
    assert segment_plane(np.zeros((160, 220), np.float32), SlicePrompts(positive=((5, 5),))).dtype == bool
    assert segment_plane(draw_discs(*TWO), SlicePrompts(boxes=((0, 0, 159, 219),))).shape == (160, 220)


def test_a_propagation_follows_a_moving_disc_and_ends_with_it() -> None:
    centres = [50 + 3 * k for k in range(12)]
    stack = [draw_discs((60, c, 20, 60.0)) if 2 <= k <= 9 else draw_discs() for k, c in enumerate(centres)]
    keys = {5: segment_plane(stack[5], SlicePrompts(positive=((60, centres[5]),)))}
    found = propagate_masks(keys, lambda k: stack[k], {}, (0, 11))
    assert set(found) == set(range(2, 10))
    for k, mask in found.items():
        assert measure_dice(mask, make_disc_mask(60, centres[k], 20)) > 0.9
    assert set(propagate_masks(keys, lambda k: stack[k], {}, (4, 7))) == {4, 5, 6, 7}


def test_between_two_prompted_slices_each_side_reaches_the_middle() -> None:
    stack = [draw_discs((60, 50, 20, 60.0), (100, 150, 20, 60.0)) for _ in range(9)]
    keys = {1: make_disc_mask(60, 50, 20), 7: make_disc_mask(100, 150, 20)}
    found = propagate_masks(keys, lambda k: stack[k], {}, (0, 8))
    assert [bool(found[k][60, 50]) for k in range(9)] == [True] * 5 + [False] * 4


def test_carrying_nothing_gives_nothing() -> None:
    assert not segment_next_plane(draw_discs(*TWO), draw_discs(*TWO), np.zeros((160, 220), bool)).any()


def test_a_segment_that_fills_the_image_is_carried_on() -> None:
    assert segment_next_plane(draw_discs(), draw_discs(), np.ones((160, 220), bool)).all()
