"""The prompt service without its HTTP: engines, prompts, sessions, accepted results."""

from collections.abc import Mapping
from threading import Lock
from time import perf_counter
from typing import Any, TypedDict, cast

from minipacs.archive.client import Archive
from minipacs.database import Database
from minipacs.errors import BadRequest, EngineUnavailable, NotInArchive
from minipacs.groups.membership import is_study_of_member
from minipacs.settings import Settings
from segmentation import registry
from segmentation.prompt_pixels import find_slice_range, group_by_slice
from segmentation.prompter import Prompter, PromptsInPixels
from segmentation.prompting import request, run_length
from segmentation.prompting.legacy.service import PictureService
from segmentation.prompting.sessions import Answer, Sessions
from segmentation.prompting.store_answer import AcceptedAnswer, StoredSeg, store_answer
from segmentation.prompting.volume_cache import LoadedSeries, VolumeCache
from segmentation.vocabulary import terminology
from segmentation.vocabulary.terminology import TermJson

DEFAULT_ENGINE = "geodesic"
MB = 2**20


class PrompterStatus(TypedDict):
    """An engine that answers prompts: available, or why not and what to do."""

    name: str
    available: bool
    reason: str
    hint: str


class PrompterList(TypedDict):
    """The engines that answer prompts, the default one first."""

    engines: list[PrompterStatus]


class TermList(TypedDict):
    """Terms that fit a query."""

    terms: list[TermJson]


class SliceRuns(TypedDict):
    """The mask in one image; see `run_length.py`."""

    sop_instance_uid: str
    frame: int
    runs: list[int]


class PromptAnswer(TypedDict):
    """The answer to all prompts of a request."""

    session: str
    engine: str
    seconds: float
    study_instance_uid: str
    voxels: int
    rows: int
    columns: int
    slices: list[SliceRuns]


class PromptService:
    """One a process; its methods are called by many threads. Bodies and answers are JSON values."""

    def __init__(self, settings: Settings, archive: Archive, database: Database) -> None:
        self._settings, self._archive, self._database = settings, archive, database
        self.volumes = VolumeCache(archive, settings.prompts_memory_mb * MB)
        self.sessions = Sessions()
        self._prompters: dict[str, Prompter] = {}
        self._lock = Lock()
        self.pictures = PictureService(self._get_prompter)

    def list_engines(self) -> PrompterList:
        """Engines that answer prompts, or why they do not."""
        engines = [self._read_prompter_status(name) for name in registry.list_prompter_names()]
        return {"engines": sorted(engines, key=lambda each: (each["name"] != DEFAULT_ENGINE, each["name"]))}

    def answer_prompts(self, user: str, body: Mapping[str, Any], member: str | None = None) -> PromptAnswer:
        """Answer the whole list of prompts; the session remembers the answer.

        `member`: whose groups must have the study of the series; None where the user sees all.
        """
        began = perf_counter()
        series_uid = request.read_text(body, "series")
        engine = request.read_text(body, "engine", DEFAULT_ENGINE)
        window = request.parse_window(body.get("window"))
        propagate = request.read_boolean(body, "propagate")
        prompter = self._get_prompter(engine)

        session = self.sessions.open(user, series_uid, str(body.get("session") or ""))

        with session.lock:
            series = self.volumes.get(series_uid)
            self._check_visible(series, member)
            prompts = _convert_to_pixels(body.get("prompts"), series, window, propagate=propagate)
            masks = prompter.make_masks(series.prompted_series, prompts)
            runs = {k: run_length.encode_runs(mask) for k, mask in sorted(masks.items())}
            answer = Answer(series, engine, list(body["prompts"]), propagate, window, runs, _count_voxels(runs))
            session.answer = answer

        return _make_answer_json(answer, session.id, round(perf_counter() - began, 4))

    def accept_answer(
        self, user: str, session_id: str, body: Mapping[str, Any], member: str | None = None
    ) -> StoredSeg:
        """Store the session's last answer as a DICOM SEG, where the member still sees its study."""
        segment = request.parse_segment(body)
        session = self.sessions.get(user, session_id)

        with session.lock:
            answer = session.answer
            if answer is None or not answer.voxels:
                raise BadRequest("There is nothing to accept: the last answer has no voxel.", "Prompt again.")
            self._check_visible(answer.series, member)

            acceptance = AcceptedAnswer(answer, segment, user, self._get_prompter(answer.engine))
            return store_answer(acceptance, self._settings, self._archive, self._database)

    def discard_session(self, user: str, session_id: str) -> None:
        """End the session."""
        self.sessions.end(user, session_id)

    def search_terminology(self, query: str) -> TermList:
        """Terms whose words begin with those of the query."""
        return {"terms": [term.as_json() for term in terminology.search_terms(query)]}

    def preload(self) -> None:
        """Load what the first prompt would wait for."""
        import highdicom  # noqa: F401  loaded before it is needed
        import maxflow  # noqa: F401
        import skimage.graph  # noqa: F401

        terminology.list_all_terms()

    def close(self) -> None:
        """End what was started."""
        for prompter in self._prompters.values():
            prompter.close()

    def _check_visible(self, series: LoadedSeries, member: str | None) -> None:
        """Raise `NotInArchive` where the member does not see the study that the series was loaded from."""
        if member is not None and not is_study_of_member(self._database, series.study_instance_uid, member):
            raise NotInArchive(
                f"The archive has no series {series.content.series_instance_uid}.", "Send it, or check the UID."
            )

    def _read_prompter_status(self, name: str) -> PrompterStatus:
        try:
            self._get_prompter(name)
        except EngineUnavailable as error:
            return {"name": name, "available": False, "reason": error.message, "hint": error.hint}

        return {"name": name, "available": True, "reason": "", "hint": ""}

    def _get_prompter(self, name: str) -> Prompter:
        """The engine, created once; raises `EngineUnavailable`."""
        if name not in registry.list_prompter_names():
            raise BadRequest(f"No engine {name!r} takes prompts.", "GET /prompts/engines lists those that do.")

        with self._lock:
            if name not in self._prompters:
                self._prompters[name] = cast(
                    Prompter, registry.create_engine(name, self._settings, group=registry.PROMPTERS)
                )
            return self._prompters[name]


def _convert_to_pixels(
    prompts: Any, series: LoadedSeries, window: tuple[float, float] | None, *, propagate: bool
) -> PromptsInPixels:
    """The prompts of a request in the series' pixels; raises `WrongPrompts`."""
    on_slices = request.parse_prompts(prompts, series.index_by_uid)
    shape = series.prompted_series.shape

    return PromptsInPixels(
        group_by_slice(on_slices, series.patient_to_index, shape),
        find_slice_range(on_slices, series.patient_to_index, shape[0]),
        propagate,
        window,
    )


def _count_voxels(runs: Mapping[int, list[int]]) -> int:
    return sum(sum(of_slice[1::2]) for of_slice in runs.values())


def _make_answer_json(answer: Answer, session_id: str, seconds: float) -> PromptAnswer:
    series = answer.series.prompted_series
    _, rows, columns = series.shape

    return {
        "session": session_id,
        "engine": answer.engine,
        "seconds": seconds,
        "study_instance_uid": answer.series.study_instance_uid,
        "voxels": answer.voxels,
        "rows": rows,
        "columns": columns,
        "slices": [
            {"sop_instance_uid": series.names[k], "frame": 1, "runs": of_slice} for k, of_slice in answer.runs.items()
        ],
    }
