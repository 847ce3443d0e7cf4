"""What the routes of prompts take and answer; the prompt service reads the same and says what is missing."""

from typing import Any, TypedDict

from msgspec import UNSET, UnsetType

from api.web.describe_route import BodyFields, QueryParameters


class PromptEngine(TypedDict):
    """An engine that answers prompts, or why it does not."""

    name: str
    available: bool
    reason: str
    hint: str


class PromptEngines(TypedDict):
    """Engines that answer prompts."""

    engines: list[PromptEngine]


class CodeJson(TypedDict):
    """A coded concept."""

    value: str
    scheme: str
    meaning: str


class TermJson(TypedDict):
    """A name for what was segmented, with its codes and its color."""

    label: str
    category: CodeJson
    type: CodeJson
    laterality: CodeJson | None
    color: list[int]


class Terms(TypedDict):
    """Names that were found."""

    terms: list[TermJson]


class SliceMask(TypedDict):
    """The mask on one slice: runs of pixels, as start and length in turn."""

    sop_instance_uid: str
    frame: int
    runs: list[int]


class PromptAnswer(TypedDict):
    """The mask, by slice, and the session to accept or discard."""

    session: str
    engine: str
    seconds: float
    study_instance_uid: str
    voxels: int
    rows: int
    columns: int
    slices: list[SliceMask]


class StoredSegmentation(TypedDict):
    """Where the archive has the SEG."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


class DiscardedSession(TypedDict):
    """The session that is forgotten."""

    discarded: str


class TermParameters(QueryParameters):
    """The beginnings of words."""

    q: str = ""


class PromptJson(TypedDict, total=False):
    """A point or a box in patient coordinates (LPS, mm), and the image it was drawn on."""

    point: Any
    box: Any
    positive: Any
    sop_instance_uid: str | None
    frame: Any


class PromptRequest(BodyFields):
    """Points and boxes in patient coordinates; the prompt service says what is missing."""

    series: str | UnsetType = UNSET
    engine: str | UnsetType = UNSET
    session: str | UnsetType | None = UNSET
    window: list[float] | UnsetType | None = UNSET
    propagate: bool | UnsetType = UNSET
    prompts: list[PromptJson] | UnsetType = UNSET


class AcceptRequest(BodyFields):
    """What the user calls the result."""

    label: str | UnsetType = UNSET
    category: CodeJson | UnsetType = UNSET
    type: CodeJson | UnsetType = UNSET
    laterality: CodeJson | UnsetType | None = UNSET
    color: list[int] | UnsetType | None = UNSET
