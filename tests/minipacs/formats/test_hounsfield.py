"""A volume that does not say what it is, is a CT where it goes below what only Hounsfield units reach."""

import pytest

from minipacs.formats.hounsfield import is_hounsfield


@pytest.mark.parametrize(("lowest", "ct"), [(-1024, True), (-500.5, True), (-500, False), (0, False), (-3.5, False)])
def test_only_hounsfield_units_go_below_minus_500(lowest: float, ct: bool) -> None:
    assert is_hounsfield(lowest) is ct
