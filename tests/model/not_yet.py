"""What the product does not hold yet, each with the reason: the test in `scripts/test` leaves these out.

A line goes when its part of the work is done; `benchmarks/bench_identity.py` runs them all today.
"""

OPERATIONS_NOT_YET = {
    "store_under_another_id": "A segment job takes the first of two studies that bear its Study Instance UID.",
    "replace_study": "Work is known by UIDs, not by content: other bytes under the same UIDs are no new work.",
    "delete_study": "Results, files and caches of a deleted study stay.",
    "delete_series": "A deletion within a study is not noticed: only studies are compared.",
    "delete_instance": "A deletion within a study is not noticed: only studies are compared.",
    "delete_our_result": "That a person deleted a result is no decision yet: nothing says so, and its row stays.",
    "delete_at_front_door": "There is no such route.",
    "modify_study": "Our results are copied with the study, and refer to the images of the one before.",
    "change_patient_id": "Our results are copied with the study, and are known by UIDs that are there twice.",
    "merge_studies": "Our results are copied with the study, and refer to the images of the one before.",
    "split_study": "Our results are copied with the study, and refer to the images of the one before.",
    "anonymize_study": "Our results are copied with the study: there are two for its images.",
    "give_study_to_group": "The name in the row of a Patient ID may be another person's.",
    "copy_series": "Results are known by Series Instance UID: the copy gets none.",
}
"""Operations, by name."""

INVARIANTS_NOT_YET = {
    "content_of_each_row_is_the_archives": "The rows have no MD5 yet.",
    "a_study_says_what_its_objects_say_of_the_patient": "A study's person is the row of its Patient ID.",
    "a_member_of_a_group_reads_no_other_name": "A group has UIDs, which another person's study may bear, too.",
}
"""Invariants that fail with the other operations, too."""
