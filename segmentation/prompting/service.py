"""The prompt service without its wire: engines, prompts, sessions, accepted results."""

from collections.abc import Mapping
from threading import Lock
from time import perf_counter
from typing import Any, cast

from minipacs.archive.client import Archive
from minipacs.database import Database
from minipacs.errors import BadRequest, EngineUnavailable
from minipacs.settings import Settings
from segmentation import registry
from segmentation.prompting import request, run_length
from segmentation.prompting.legacy.service import Pictures
from segmentation.prompting.pixels import Prompter, Wish, clues, limits
from segmentation.prompting.sessions import Answer, Sessions
from segmentation.prompting.store_answer import Acceptance, StoredSeg, store_answer
from segmentation.prompting.volume_cache import Held, Volumes
from segmentation.vocabulary import terminology

DEFAULT_ENGINE = "geodesic"
MB = 2**20


class Service:
    """One a process; its methods are called by many threads. Bodies and answers are JSON values."""

    def __init__(self, settings: Settings, archive: Archive, database: Database) -> None:
        self._settings, self._archive, self._database = settings, archive, database
        self.volumes = Volumes(archive, settings.prompts_memory_mb * MB)
        self.sessions = Sessions()
        self._prompters: dict[str, Prompter] = {}
        self._lock = Lock()
        self.pictures = Pictures(self._prompter)

    def engines(self) -> dict[str, Any]:
        """Engines that answer prompts, or why they do not."""
        found = []
        for name in registry.prompter_names():
            reason = hint = ""
            try:
                self._prompter(name)
            except EngineUnavailable as error:
                reason, hint = error.message, error.hint
            found.append({"name": name, "available": not reason, "reason": reason, "hint": hint})
        return {"engines": sorted(found, key=lambda e: (e["name"] != DEFAULT_ENGINE, e["name"]))}

    def prompt(self, user: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer the whole list of prompts; the session remembers the answer."""
        began = perf_counter()
        uid, name = request.text(body, "series"), request.text(body, "engine", DEFAULT_ENGINE)
        window, propagate = request.window(body.get("window")), request.truth(body, "propagate")
        prompter = self._prompter(name)
        session = self.sessions.open(user, uid, str(body.get("session") or ""))
        with session.lock:
            held = self.volumes.get(uid)
            masks = self._masks(prompter, held, body.get("prompts"), window, propagate)
            answer = Answer(held, name, list(body["prompts"]), propagate, window, masks, _voxels(masks))
            session.answer = answer
        seconds = round(perf_counter() - began, 4)
        return {"session": session.id, "engine": name, "seconds": seconds, **_told(answer)}

    def accept(self, user: str, session_id: str, body: Mapping[str, Any]) -> StoredSeg:
        """Store the session's last answer as a DICOM SEG."""
        segment = request.segment(body)
        session = self.sessions.get(user, session_id)
        with session.lock:
            answer = session.answer
            if answer is None or not answer.voxels:
                raise BadRequest("There is nothing to accept: the last answer has no voxel.", "Prompt again.")
            prompter = self._prompter(answer.engine)
            acceptance = Acceptance(answer, segment, user, prompter)
            return store_answer(acceptance, self._settings, self._archive, self._database)

    def discard(self, user: str, session_id: str) -> None:
        """End the session."""
        self.sessions.end(user, session_id)

    def terminology(self, query: str) -> dict[str, Any]:
        """Terms whose words begin with those of the query."""
        return {"terms": [term.as_json() for term in terminology.search(query)]}

    def warm(self) -> None:
        """Load what the first prompt would wait for."""
        import highdicom  # noqa: F401  loaded before it is needed
        import maxflow  # noqa: F401
        import skimage.graph  # noqa: F401

        terminology.every()

    def close(self) -> None:
        """End what was started."""
        for prompter in self._prompters.values():
            prompter.close()

    # -- within -------------------------------------------------------------------------------------
    def _masks(
        self, prompter: Prompter, held: Held, prompts: Any, window: tuple[float, float] | None, propagate: bool
    ) -> dict[int, list[int]]:
        placed = request.placed(prompts, held.index_of)
        shape = held.source.shape
        wish = Wish(clues(placed, held.to_index, shape), limits(placed, held.to_index, shape[0]), propagate, window)
        return {k: run_length.encode(mask) for k, mask in sorted(prompter.masks(held.source, wish).items())}

    def _prompter(self, name: str) -> Prompter:
        """The engine, made once; raises `EngineUnavailable`."""
        if name not in registry.prompter_names():
            raise BadRequest(f"No engine {name!r} takes prompts.", "GET /prompts/engines lists those that do.")
        with self._lock:
            if name not in self._prompters:
                self._prompters[name] = cast(Prompter, registry.create(name, self._settings, group=registry.PROMPTERS))
            return self._prompters[name]


def _voxels(masks: Mapping[int, list[int]]) -> int:
    return sum(sum(of_slice[1::2]) for of_slice in masks.values())


def _told(answer: Answer) -> dict[str, Any]:
    source = answer.held.source
    return {
        "study_instance_uid": answer.held.study_instance_uid,
        "voxels": answer.voxels,
        "rows": source.shape[1],
        "columns": source.shape[2],
        "slices": [
            {"sop_instance_uid": source.names[k], "frame": 1, "runs": of_slice} for k, of_slice in answer.runs.items()
        ],
    }
