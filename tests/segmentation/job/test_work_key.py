"""The keys of jobs and the UIDs of results never change: with other ones, all work would be done again."""

from dataclasses import replace

import pytest

from minipacs.archive.content import InstanceContent, SeriesContent, StudyContent
from segmentation.identity import Identity, digest_parameters
from segmentation.job import work

CT = SeriesContent(
    "a",
    "1.2.3.1",
    "CT",
    "Phantom Makers",
    "Thorax",
    (InstanceContent("1.2.3.1.1", "x"), InstanceContent("1.2.3.1.2", "y")),
)
OURS = SeriesContent("b", "2.25.9", "SEG", "minipacs", "", (InstanceContent("2.25.9.1", "z"),))
STUDY = StudyContent("s", "1.2.3", (CT, OURS))
BEGIN = "segment/1.2.3/e68ad8b3f0ccedd4e79e765f03da5294"
RULES = """type = "BINARY"
superseded = "remove"
[[rule]]
modality = "CT"
body_part = "CHEST"
description = "(?i)thorax"
slices = [30, 2000]
engine = "crashing"
[[rule]]
engine = "absent"
parameters = { task = "total" }
"""


@pytest.mark.parametrize(
    ("engine", "key"),
    [("threshold", f"{BEGIN}/threshold/1.2/a2bbae2511d8906a"), ("absent", f"{BEGIN}/absent/absent/-")],
)
def test_the_key_of_automatic_work_is_that_of_the_first_release(settings, engines, engine, key):
    (order,) = work.orders(STUDY, replace(settings, engine=engine))
    assert order.key == key


def test_the_key_under_rules_is_that_of_the_first_release(settings, engines):
    settings.home.mkdir()
    (settings.home / "segmentation.toml").write_text(RULES)
    (order,) = work.orders(STUDY, settings)
    assert order.key == f"{BEGIN}/threshold/1.2/201d268e0fda477a"


def test_the_key_of_requested_work_is_that_of_the_first_release(settings, engines):
    assert work.create_order(STUDY, settings, "crashing").key == f"{BEGIN}/crashing/1.2/a2bbae2511d8906a"


def test_the_uids_of_results_are_those_of_the_first_release():
    identity = Identity("1.2.3.1", CT.digest, "threshold", "2", digest_parameters({"b": 1, "a": [2]}))
    assert identity.derive_uid("SEG series") == "2.25.70112621090759002474739050514485685430"
    assert identity.derive_uid("SR instance") == "2.25.270304882906627222056631197246987854556"
    assert digest_parameters({}) == "-"
