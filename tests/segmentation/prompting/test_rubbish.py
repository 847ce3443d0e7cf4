"""Whatever a client sends, the prompt service answers, or refuses with a sentence; it never breaks."""

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minipacs.errors import MinipacsError
from segmentation.prompting.legacy.picture import encode_png
from segmentation.prompting.service import PromptService

NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 1e308])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
POSITIONS = st.lists(st.floats(-300, 300) | NUMBERS, min_size=3, max_size=3) | VALUES
PROMPTS = st.lists(
    st.fixed_dictionaries({"point": POSITIONS}, optional={"positive": st.booleans() | VALUES, "frame": VALUES})
    | st.fixed_dictionaries({"box": st.lists(POSITIONS, max_size=3)}, optional={"sop_instance_uid": VALUES})
    | VALUES,
    max_size=4,
)
CODE = {"value": "1", "scheme": "SCT", "meaning": "x"}
PICTURE = encode_png(np.random.default_rng(5).integers(0, 255, (30, 40, 3)).astype(np.uint8))
QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def call_unless_refused(work: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, which is JSON; or nothing where it was refused as the client's mistake."""
    refused: MinipacsError | None = None
    answer: Any = None
    try:
        answer = work(*arguments)
    except MinipacsError as error:
        refused = error
    if refused is not None:
        assert 400 <= refused.status < 500, refused
        assert refused.hint
    json.dumps(refused.as_json() if refused else answer, allow_nan=False).encode()
    return answer


@pytest.fixture
def service_with_a_series(service: PromptService, store_series: Callable[..., Any]) -> PromptService:
    store_series("1.2.3")
    return service


@QUIET
@given(prompts=PROMPTS, more=st.dictionaries(st.sampled_from(["window", "propagate", "session", "engine"]), VALUES))
def test_prompts(service_with_a_series: PromptService, prompts: Any, more: dict[str, Any]) -> None:
    call_unless_refused(service_with_a_series.answer_prompts, "ann", {"series": "1.2.3", "prompts": prompts, **more})
    call_unless_refused(service_with_a_series.answer_prompts, "ann", {"series": prompts, **more})


@QUIET
@given(
    changes=st.dictionaries(st.sampled_from(["label", "category", "type", "laterality", "color"]), VALUES, min_size=1)
)
def test_acceptance_of_nothing(service: PromptService, changes: dict[str, Any]) -> None:
    body = {"label": "x", "category": CODE, "type": CODE, **changes}
    assert call_unless_refused(service.accept_answer, "ann", "no-such-session", body) is None


@QUIET
@given(query=st.text(max_size=20))
def test_searches_for_terms(service: PromptService, query: str) -> None:
    assert call_unless_refused(service.search_terminology, query) is not None


@QUIET
@given(
    asked=VALUES
    | st.dictionaries(st.sampled_from(["rectangles", "positive_points", "negative_points", "model"]), VALUES),
    file=st.just(PICTURE) | st.binary(max_size=200) | st.binary(max_size=20).map(lambda more: PICTURE[:60] + more),
)
def test_pictures(service: PromptService, asked: Any, file: bytes) -> None:
    request = {"file": base64.b64encode(file).decode(), "asked": json.dumps(asked)}
    call_unless_refused(service.pictures.segment, "ann", request)
