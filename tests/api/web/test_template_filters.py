"""Pages say one image, two images, and times a person can read."""

import pytest

from api.web import template_filters


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [(1, "study", "1 study"), (0, "study", "0 studies"), (2, "image", "2 images"), (2, "series", "2 series")],
)
def test_one_is_not_many(number: int, noun: str, said: str) -> None:
    assert template_filters.format_count(number, noun) == said


def test_a_time_is_read_by_people_and_by_machines() -> None:
    shown = template_filters.time_element("2026-11-21T09:01:46+00:00")
    assert ">2026-11-21 09:01:46</time>" in shown
    assert 'datetime="2026-11-21T09:01:46+00:00"' in shown
    assert template_filters.time_element(None) == "–"
    assert "<script" not in template_filters.time_element("<script>alert(1)</script>")
