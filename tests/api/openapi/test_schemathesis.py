"""Schemathesis makes requests from our OpenAPI document: no answer is a mistake, none breaks the document.

A quick share in every run; `MINIPACS_API_CASES=5000` asks for so many one by one, and half as many in sequences
(docs/api.md).
"""

import os
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import hypothesis
import pytest
import schemathesis
from flask import Flask
from hypothesis.stateful import get_state_machine_test
from schemathesis.specs.openapi import checks as described

from waiting import SCALE

STUDY, SERIES, ODD = "1.2.3.4.1", "1.2.3.4.1.1", "A/B 50%-ü"
PICTURE = "0b6f6c3e-5f0e-5f0e-8f0e-000000000001"
CASES = int(os.environ.get("MINIPACS_API_CASES", "600"))
ONLY_SEED = os.environ.get("MINIPACS_API_SEED")
"""The one sequence of requests to make, as a failure has named it; None makes all."""
NOT_HERE = ("/dicom-web", "/jobs/events", "/prompts", "/segment_input", "/get_", "/health_check")
"""Orthanc's answers (tests/api/dicomweb), a stream that does not end, and the prompt service's answers."""
REAL: dict[str, list[Any]] = {
    "patient_id": ["P1", ODD],
    **{name: [STUDY, "1.2.3.4.3"] for name in ("study_instance_uid", "study", "StudyInstanceUID")},
    **{name: [SERIES, "1.2.3.4.3.1"] for name in ("series_instance_uid", "series", "SeriesInstanceUID")},
    "sop_instance_uid": [f"{SERIES}.1"],
    "engine": ["slicer"],
    "scan_name": [f"{SERIES}_slicer", "labels"],
    "filename": ["labels.nii.gz", PICTURE, f"{PICTURE}.png", f"{STUDY}/{SERIES}/slicer/model.glb"],
    "relative": [f"{STUDY}/{SERIES}/slicer/{name}" for name in ("labels.json", "model.glb")],
    "where": ["P1", "P1/scans", "P1/voxels", f"P1/voxels/{SERIES}_slicer/original"],
    "label_ids": ["1", "1,2,3"],
    "labels": ["1", "Left lung,3"],
    "limit": ["1", "2", "1000"],
    "job_id": [1],
    "share_id": [1],
}
"""Values that lead somewhere, beside whatever Schemathesis invents."""


def with_real_values(document: dict[str, Any]) -> dict[str, Any]:
    """The document, whose parameters may also have the values that are in the catalogue."""
    paths = {path: methods for path, methods in document["paths"].items() if not path.startswith(NOT_HERE)}
    for methods in paths.values():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                if real := REAL.get(parameter["name"]):
                    parameter["schema"] = {"anyOf": [{"enum": real}, parameter["schema"]]}
    return {**document, "paths": paths}


@pytest.mark.timeout(SCALE * max(1800, CASES))
def test_no_answer_breaks_the_document(app: Flask, caller: Callable[[str], Any]) -> None:
    schema, admin = load_schema(app, caller)
    operations = [result.ok() for result in schema.get_all_operations()]
    seen: Counter[int] = Counter()
    begin = time.monotonic()
    each = hypothesis.settings(**unhurried(), max_examples=-(-CASES * 11 // (10 * len(operations))))

    def check(case: Any) -> None:
        seen[check_answer(case, case.call(headers=admin.headers))] += 1

    for operation in operations:
        each(hypothesis.given(case=operation.as_strategy())(check))()
    assert sum(seen.values()) >= CASES, seen
    assert {200, 400, 404} <= set(seen), seen
    took = time.monotonic() - begin
    print(f"{sum(seen.values())} cases of {len(operations)} operations, {took:.0f} s: {dict(seen)}")


@pytest.mark.timeout(SCALE * max(1800, CASES))
def test_no_answer_breaks_the_document_when_requests_follow_the_answers_before(
    app: Flask, caller: Callable[[str], Any]
) -> None:
    """A share that was just made is revoked, a job that was just queued is cancelled, and so on."""
    schema, admin = load_schema(app, caller)
    sequences = RequestSequences(schema, admin.headers, check_answer)
    begin = time.monotonic()

    if ONLY_SEED is not None:
        sequences.make_requests(int(ONLY_SEED))
        print("\n".join(sequences.latest))
        return

    for seed in range(CASES):
        sequences.make_requests(seed)
        if sum(sequences.seen.values()) * 2 >= CASES:
            break

    made = sum(sequences.seen.values())
    assert made * 2 >= CASES, f"{CASES} sequences made {made} requests only"
    assert {200, 404} <= set(sequences.seen), sequences.seen
    took = time.monotonic() - begin
    print(
        f"{made} cases that follow others, in {seed + 1} sequences of {len(sequences.operations)} operations, "
        f"{took:.0f} s: {dict(sequences.seen)}"
    )


def test_a_failure_names_its_seed_and_the_requests_that_led_to_it(app: Flask, caller: Callable[[str], Any]) -> None:
    schema, admin = load_schema(app, caller)
    statuses: list[int] = []

    def refuse_third_answer(case: Any, response: Any) -> int:
        statuses.append(response.status_code)
        assert len(statuses) < 3
        return statuses[-1]

    sequences = RequestSequences(schema, admin.headers, refuse_third_answer)

    with pytest.raises(AssertionError) as failure:
        sequences.make_requests(1)

    notes = "\n".join(failure.value.__notes__)
    assert "MINIPACS_API_SEED=1" in notes
    assert len([line for line in notes.splitlines() if "curl -X" in line]) == 3
    assert admin.headers["Authorization"] not in notes


def test_each_seed_has_requests_of_its_own_and_has_them_again(app: Flask, caller: Callable[[str], Any]) -> None:
    schema, admin = load_schema(app, caller)
    sequences = RequestSequences(schema, admin.headers, check_answer)
    firsts = []

    for seed in (1, 2, 3, 1, 2, 3):
        sequences.make_requests(seed)
        firsts.append(sequences.latest[0])

    assert firsts[:3] == firsts[3:]
    assert len(set(firsts)) == 3


class RequestSequences:
    """Sequences of requests, each from a seed of its own, made once.

    The server remembers what earlier sequences did, so that a sequence may have other answers, and other requests after
    them, when it is made again. Hypothesis' search compares its test cases with each other and stops at that
    (`FlakyStrategyDefinition`); bytes from outside it runs once, without search, smaller cases or database.
    """

    STEPS = 10
    LENGTH = 64 * 1024
    """Bytes that decide about one sequence; Hypothesis uses as many as it needs."""

    def __init__(self, schema: Any, headers: dict[str, str], check: Callable[[Any, Any], int]) -> None:
        self.seen: Counter[int] = Counter()
        self.operations: set[str] = set()
        self.latest: list[str] = []
        sequences = self

        class Workflow(schema.as_state_machine()):  # type: ignore[misc]  # a class made at run time
            def get_call_kwargs(self, case: Any) -> dict[str, Any]:
                return {"headers": headers}

            def before_call(self, case: Any) -> None:
                sequences.latest.append(case.as_curl_command())

            def validate_response(self, response: Any, case: Any, **_: Any) -> None:
                sequences.latest[-1] += f"  # {response.status_code}"
                sequences.operations.add(case.operation.label)
                sequences.seen[check(case, response)] += 1

        settings = hypothesis.settings(
            database=None, stateful_step_count=self.STEPS, verbosity=hypothesis.Verbosity.quiet
        )
        test: Any = get_state_machine_test(Workflow, settings=settings, _min_steps=2)
        self.run_once = test.hypothesis.fuzz_one_input

    def make_requests(self, seed: int) -> None:
        """Make the requests of this seed; a failure has the seed and the requests, the failed one last, as notes."""
        self.latest.clear()
        try:
            self.run_once(Random(seed).randbytes(self.LENGTH))
        except Exception as error:
            error.add_note(f"Repeat it with MINIPACS_API_SEED={seed}, where need be after all seeds before it:")
            error.add_note("\n".join(self.latest))
            raise


def load_schema(app: Flask, caller: Callable[[str], Any]) -> tuple[Any, Any]:
    """The schema that Schemathesis reads from our document, and a client with an administrator's token."""
    admin = caller("admin")
    schema = schemathesis.openapi.from_dict(with_real_values(admin("/openapi.json").get_json()))
    schema.app = app
    return schema, admin


def unhurried() -> dict[str, Any]:
    """Settings of Hypothesis: the same cases each time, however long each takes; none is made smaller."""
    return {
        "deadline": None,
        "database": None,
        "derandomize": True,
        "suppress_health_check": [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
        "phases": [hypothesis.Phase.generate],
    }


def check_answer(case: Any, response: Any) -> int:
    """Raise when an answer is a mistake of ours, or not as described; its status."""
    checks = [
        schemathesis.checks.not_a_server_error,
        described.status_code_conformance,
        described.content_type_conformance,
        described.response_schema_conformance,
    ]
    no_archive = response.status_code == 503 and (case.path == "/readyz" or "archive_unreachable" in response.text)
    case.validate_response(response, checks=checks[no_archive:])  # 503 is right: there is no archive here
    return int(response.status_code)


def test_every_answer_is_described(admin: Any) -> None:
    document = admin("/openapi.json").get_json()
    only_elsewhere = {
        "login_log_out_post",
        "login_change_own_password_post",
        "openid_start_openid_login_get",
        "openid_finish_openid_login_get",
        "openid_redirect_to_provider_logout_get",
    }
    bare = {
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
        if "content" not in operation["responses"]["2XX"]
    }
    assert bare == only_elsewhere, "@answers on the view says what a route answers"
