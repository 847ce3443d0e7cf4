"""What is read of an engine before it runs."""

from segmentation import registry
from segmentation.registry import EngineFacts


class Bare:
    """An engine of another package, with nothing but what every engine has."""

    name, version, parameters = "bare", "1", {}
    modalities, needs_prompts = frozenset({"CT"}), False


class Full(Bare):
    """An engine that says everything."""

    needs, stall_s, takes_prompts = "gpu", 5.0, False


def test_an_engine_that_leaves_out_what_it_may_runs_anywhere_and_checks_its_prompts_itself():
    assert EngineFacts.from_engine(Bare()) == EngineFacts("bare", "1", {}, "cpu", None, takes_prompts=True)


def test_what_an_engine_says_of_itself_counts():
    assert EngineFacts.from_engine(Full()) == EngineFacts("bare", "1", {}, "gpu", 5.0, takes_prompts=False)


def test_an_engine_that_is_not_available_has_the_version_of_its_absence(settings, engines):
    assert registry.read_engine_facts("absent", settings) == EngineFacts("absent", "absent", {})
    assert registry.read_engine_facts("nobody", settings) == EngineFacts("nobody", "absent", {})
