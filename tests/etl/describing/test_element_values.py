"""Dates and times come out of every form in which devices write them."""

import datetime

import pytest

from etl.describing.element_values import parse_date, parse_date_time, parse_time


def test_dates_and_times_in_all_their_forms() -> None:
    assert parse_date("1993.08.22") == parse_date("19930822") == datetime.date(1993, 8, 22)
    assert parse_time("07") == datetime.time(7)
    assert parse_time("07:09:05.1") == parse_time("070905.100000") == datetime.time(7, 9, 5, 100000)
    assert parse_time("235960") == datetime.time(23, 59, 59)
    moment = datetime.datetime(2024, 2, 29, 7, 9, 5, 120000)
    assert parse_date_time("20240229070905.12+0130") == parse_date_time("20240229070905.12-0500") == moment
    assert parse_date_time("2024") == datetime.datetime(2024, 1, 1)
    assert parse_date_time("202402") == datetime.datetime(2024, 2, 1)
    for wrong in ("", "2024022", "20241301", "x"):
        with pytest.raises(ValueError, match=r"\S"):
            parse_date(wrong)
