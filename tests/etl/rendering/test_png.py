"""Our PNGs are read back by others, to the last bit."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from etl.rendering.png import encode_png


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (3, 1), (1, 9), (512, 384)])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "rgb"])
def test_pillow_reads_what_we_write(shape: tuple[int, int], kind: str) -> None:
    dtype = np.uint16 if kind == "uint16" else np.uint8
    size = (*shape, 3) if kind == "rgb" else shape
    pixels = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, size, dtype, endpoint=True)
    with Image.open(BytesIO(encode_png(pixels))) as picture:
        picture.load()
        np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_rows_need_not_lie_one_after_the_other_in_memory() -> None:
    pixels = np.arange(70, dtype=np.uint8).reshape(7, 10)[::2, ::-3]
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(encode_png(pixels)))), pixels)
