"""The older client's requests: a picture is segmented, its results wait an hour for their user alone."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_urlsafe
from threading import Lock
from time import monotonic
from typing import Any

import numpy as np

from minipacs.errors import EngineUnavailable, NotFound
from segmentation.prompting.legacy import dicom_answer, picture
from segmentation.prompting.legacy import request as picture_request
from segmentation.prompting.pixels import Prompter, Wish

KEPT_S = 3600.0
MOST_BYTES = 256 * 2**20
EMBEDDED, FOUNDATION = "geodesic", "sam"


@dataclass(frozen=True)
class Result:
    """Of one request."""

    user: str
    until: float
    png: bytes
    dicom: bytes


class Pictures:
    """Results by an identifier that begins with the time and cannot be guessed."""

    def __init__(self, engine: Callable[[str], Prompter], clock: Callable[[], float] = monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._lock = Lock()

    def segment(self, user: str, request: dict[str, Any]) -> dict[str, str]:
        """Segment a picture; where its results are."""
        content, asked = picture_request.body(request)
        given = picture.read(content)
        shape = given.values.shape
        wish = Wish({0: picture_request.clues(asked, shape)}, (0, 0))
        prompter = self._chosen(str(asked.get("model") or ""))
        mask = prompter.masks(given.source, wish).get(0, np.zeros(shape, np.bool_))
        made = picture.png(given.overlaid(mask)), dicom_answer.dicom(given, mask, prompter, asked, user)
        name = f"{datetime.now(UTC):%Y%m%d%H%M%S}-{token_urlsafe(18)}"
        with self._lock:
            self._sweep()
            self._results[name] = Result(user, self._clock() + KEPT_S, *made)
        return {"timestamp": name, "engine": prompter.name}

    def get(self, user: str, name: str) -> Result:
        """The user's own result; raises `NotFound`."""
        with self._lock:
            self._sweep()
            found = self._results.get(name)
        if found is None or found.user != user:
            raise NotFound("There is no such result.", "Results wait an hour; segment the picture again.")
        return found

    def _chosen(self, model: str) -> Prompter:
        """`geodesic` by its name; any other is some SAM: ours where there is one, else the embedded method."""
        if model.lower() != EMBEDDED:
            try:
                return self._engine(FOUNDATION)
            except EngineUnavailable:
                return self._engine(EMBEDDED)
        return self._engine(EMBEDDED)

    def _sweep(self) -> None:
        now = self._clock()
        while self._results:
            first = next(iter(self._results.values()))
            size = sum(len(r.png) + len(r.dicom) for r in self._results.values())
            if first.until > now and size <= MOST_BYTES:
                return
            self._results.popitem(last=False)
