"""The older client's requests: a picture is segmented; its results wait for their user alone, for an hour."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_urlsafe
from threading import Lock
from time import monotonic
from typing import Any, TypedDict

import numpy as np

from minipacs.errors import EngineUnavailable, NotFound
from segmentation.prompter import Prompter, PromptsInPixels
from segmentation.prompting.legacy.dicom_answer import encode_dicom_answer
from segmentation.prompting.legacy.picture import encode_png, read_picture
from segmentation.prompting.legacy.request import parse_body, parse_prompts

RETENTION_S = 3600.0
"""Results can be fetched for so long."""
MAX_RESULT_BYTES = 256 * 2**20
"""Of all results together; the oldest end before their time."""
EMBEDDED, FOUNDATION = "geodesic", "sam"
"""Engines: the one that is always there, and the one that the older clients know."""


class PictureAnswer(TypedDict):
    """Where the results of a picture are."""

    timestamp: str
    """Their name: it begins with the time and cannot be guessed."""
    engine: str


@dataclass(frozen=True)
class PictureResult:
    """The results of one request."""

    user: str
    ends_at: float
    png: bytes
    dicom: bytes


class PictureService:
    """Results by their names, while they can be fetched."""

    def __init__(self, engine: Callable[[str], Prompter], clock: Callable[[], float] = monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._results: OrderedDict[str, PictureResult] = OrderedDict()
        """The oldest stands first."""
        self._lock = Lock()

    def segment(self, user: str, request: Mapping[str, Any]) -> PictureAnswer:
        """Segment a picture; where its results are."""
        content, sent = parse_body(request)
        picture = read_picture(content)
        shape = picture.values.shape

        prompts = PromptsInPixels({0: parse_prompts(sent, shape)}, (0, 0))
        prompter = self._choose_prompter(str(sent.get("model") or ""))
        mask = prompter.make_masks(picture.one_slice_series, prompts).get(0, np.zeros(shape, np.bool_))

        png, dicom = encode_png(picture.draw_overlay(mask)), encode_dicom_answer(picture, mask, prompter, sent, user)
        name = f"{datetime.now(UTC):%Y%m%d%H%M%S}-{token_urlsafe(18)}"

        with self._lock:
            self._forget_old_results()
            self._results[name] = PictureResult(user, self._clock() + RETENTION_S, png, dicom)

        return {"timestamp": name, "engine": prompter.name}

    def get(self, user: str, name: str) -> PictureResult:
        """The user's own result; raises `NotFound`."""
        with self._lock:
            self._forget_old_results()
            result = self._results.get(name)

        if result is None or result.user != user:
            raise NotFound("There is no such result.", "Results wait an hour; segment the picture again.")

        return result

    def _choose_prompter(self, model: str) -> Prompter:
        """`geodesic` by its name; any other is some SAM: ours where there is one, else the embedded method."""
        if model.lower() == EMBEDDED:
            return self._engine(EMBEDDED)

        try:
            return self._engine(FOUNDATION)
        except EngineUnavailable:
            return self._engine(EMBEDDED)

    def _forget_old_results(self) -> None:
        """Forget results whose time is over, and the oldest while all together are too large."""
        now = self._clock()

        while self._results:
            oldest = next(iter(self._results.values()))
            size = sum(len(result.png) + len(result.dicom) for result in self._results.values())
            if oldest.ends_at > now and size <= MAX_RESULT_BYTES:
                return
            self._results.popitem(last=False)
