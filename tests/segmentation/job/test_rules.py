"""The table that says which engine segments which series."""

import pytest

from minipacs.errors import SettingsError
from segmentation.job.rules import read_rules

TABLE = """
superseded = "remove"
type = "BINARY"
[[rule]]
modality = "CT"
body_part = "HEAD"
engine = ""
[[rule]]
description = "(?i)thorax|chest"
slices = [30, 300]
engine = "slicer"
parameters = { detail = 2 }
"""


@pytest.fixture
def rules(settings):
    def read(table):
        settings.home.mkdir(exist_ok=True)
        (settings.home / "segmentation.toml").write_text(table)
        return read_rules(settings)

    return read


def test_without_a_table_the_setting_decides(settings):
    assert read_rules(settings).find_rule("CT", "", "", 100).engine == "threshold"


def test_the_first_rule_that_fits_decides(rules):
    table = rules(TABLE)
    assert (table.superseded, table.type) == ("remove", "BINARY")
    assert table.needs_body_part
    assert table.engines == ["slicer", "threshold"]
    assert table.find_rule("CT", "head", "Chest", 100).engine == ""
    assert table.find_rule("CT", "CHEST", "Low dose THORAX", 100).parameters == {"detail": 2}
    assert table.find_rule("CT", "CHEST", "Low dose THORAX", 301).engine == "threshold"
    assert table.find_rule("MR", "HEAD", "", 100).engine == "threshold"


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("[[rule]]\nmodality = 'CT'", "a rule names no engine"),
        ("[[rule]]\nengine = 'a'\ncolour = 1", "colour"),
        ("[[rule]]\nengine = 'a'\ndescription = '('", "unterminated"),
        ("[[rule]]\nengine = 'a'\nslices = [1]", "unpack"),
        ("superseded = 'burn'", "none of keep, remove"),
        ("type = 'FRACTIONAL'", "none of BINARY, LABELMAP"),
        ("speed = 1", "speed is not known"),
        ("= nonsense", "Invalid"),
    ],
)
def test_a_wrong_table_is_named_with_its_fault(rules, table, reason):
    with pytest.raises(SettingsError, match=reason) as error:
        rules(table)
    assert error.value.message.startswith("HOME/segmentation.toml cannot be used: ")
