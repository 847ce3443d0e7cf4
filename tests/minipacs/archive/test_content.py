from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from minipacs.archive.content import MANUFACTURER, InstanceContent, SeriesContent, StudyContent, uids_digest

INSTANCES = tuple(InstanceContent(f"1.2.3.{n}", f"key-{n}", f"md5-{n}", f"uuid-{n}", n) for n in range(4))
CT = SeriesContent("s", "1.2.3", "CT", "Maker", "", INSTANCES)
OURS = SeriesContent("o", "2.25.1", "SEG", MANUFACTURER, "", (InstanceContent("2.25.2", "key-o", "md5-o"),))
STUDY = StudyContent("a", "1.2", (CT, OURS))


@given(st.permutations(INSTANCES))
def test_the_order_of_arrival_does_not_change_the_content(instances: list[InstanceContent]) -> None:
    assert replace(CT, instances=tuple(instances)).content_digest == CT.content_digest


def test_other_bytes_another_instance_or_another_key_are_another_content() -> None:
    first, *rest = INSTANCES
    others = [
        (replace(first, content_md5="another"), *rest),
        (replace(first, instance_id="another"), *rest),
        tuple(rest),
        (*INSTANCES, InstanceContent("1.2.3.9", "key-9", "md5-9")),
        (),
    ]
    digests = [replace(CT, instances=instances).content_digest for instances in [INSTANCES, *others]]
    assert len(set(digests)) == len(digests)


def test_another_file_with_the_same_bytes_is_the_same_content() -> None:
    stored_anew = tuple(replace(instance, file_uuid="another") for instance in INSTANCES)
    assert replace(CT, instances=stored_anew).content_digest == CT.content_digest


def test_the_digest_of_uids_is_as_before_the_content_was_known() -> None:
    assert CT.digest == uids_digest(f"1.2.3.{n}" for n in range(4))
    assert STUDY.digest(include_ours=True) == uids_digest([*(f"1.2.3.{n}" for n in range(4)), "2.25.2"])


def test_our_own_objects_are_in_the_content_of_a_study_where_they_are_asked_for() -> None:
    assert STUDY.content_digest(include_ours=False) == StudyContent("a", "1.2", (CT,)).content_digest(include_ours=True)
    assert STUDY.content_digest(include_ours=False) == CT.content_digest
    assert STUDY.content_digest(include_ours=True) != CT.content_digest
