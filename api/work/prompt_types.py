"""What the routes of prompts take and answer; the prompt service reads the same, and checks it further."""

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
    """Code Value (0008,0100)."""
    scheme: str
    """Coding Scheme Designator (0008,0102)."""
    meaning: str
    """Code Meaning (0008,0104)."""


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
    """Numbered from 1."""
    runs: list[int]
    """Start, length, start, length, … of pixel indices, row by row, from 0."""


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
    """The beginnings of words of a name."""


class PromptJson(TypedDict, total=False):
    """A point or a box in patient coordinates (LPS, mm), and the image it was drawn on."""

    point: Any
    """[x, y, z]; a prompt has either a point or a box."""
    box: Any
    """[[x, y, z], [x, y, z]]: two opposite corners."""
    positive: Any
    """Of a point: whether it lies in the segment; true where it is left out."""
    sop_instance_uid: str | None
    """The image that it was drawn on; where it is left out, the nearest."""
    frame: Any
    """1, if any."""


class PromptRequest(BodyFields):
    """Points and boxes in patient coordinates (LPS, mm)."""

    series: str
    """Series Instance UID."""
    prompts: list[PromptJson]
    """Every point and box so far; at least one."""
    engine: str | UnsetType = UNSET
    """A name that GET /prompts/engines lists; geodesic where it is left out."""
    session: str | UnsetType | None = UNSET
    """The `session` of the answer before, where the same segment is changed."""
    window: list[float] | UnsetType | None = UNSET
    """Centre and width of the viewer's window."""
    propagate: bool | UnsetType = UNSET
    """Whether to segment the whole volume, not the slices of the prompts alone."""


class AcceptRequest(BodyFields):
    """What the user calls the result."""

    label: str
    """1 to 64 printable characters."""
    category: CodeJson
    """Segmented Property Category (0062,0003)."""
    type: CodeJson
    """Segmented Property Type (0062,000F)."""
    laterality: CodeJson | UnsetType | None = UNSET
    """The side of the body."""
    color: list[int] | UnsetType | None = UNSET
    """Red, green, blue, 0 to 255."""
