"""The records that pass from extract to transform to load."""

from dataclasses import dataclass, field
from typing import Any, TypedDict

from minipacs.catalogue import ObjectKeys
from minipacs.errors import BreaksLimit, MinipacsError

Row = dict[str, Any]
"""Values of a catalogue table by column name; the columns are those of the table's class in `minipacs.catalogue`."""


@dataclass(frozen=True)
class SourceItem:
    """A file or an archived instance that a source has listed, but not read."""

    source: str
    """`archive:` + Orthanc's identifier, or a path: the catalogue's column `source`."""

    size: int | None = None
    """Bytes; None for an archived instance."""

    mtime_ns: int | None = None
    """Time of the last change, ns since 1970; None for an archived instance."""

    series_key: str | None = field(default=None, compare=False)
    """Orthanc's identifier of its series, where the archive has said it."""

    study_key: str | None = field(default=None, compare=False)
    """Orthanc's identifier of its study, where the archive has said it."""


class SourceUnavailable(Exception):
    """A source item cannot be read now: a file without permission, an instance that was deleted."""


@dataclass(frozen=True)
class RejectionReason:
    """Why a source item has no row, or no picture, in the catalogue."""

    code: str
    """One word, for counting."""

    reason: str
    """A sentence: the thing and the rule it breaks."""

    remedy: str
    """A sentence: what to do about it."""

    sop_instance_uid: str | None = None
    """None when the item has no SOP Instance UID."""

    limit_setting: str | None = None
    """The setting whose limit it broke: a larger one may let it in."""

    limit_value: int | None = None
    """What that limit was, in bytes or seconds."""

    @classmethod
    def of_error(cls, code: str, error: MinipacsError, sop_instance_uid: str | None = None) -> "RejectionReason":
        """The reason that an error gives, with the limit that was broken."""
        if isinstance(error, BreaksLimit) and error.setting and error.limit_value:
            return cls(code, error.message, error.hint, sop_instance_uid, error.setting, error.limit_value)
        return cls(code, error.message, error.hint, sop_instance_uid)


class RenderingRow(TypedDict):
    """A row of the table `rendering`, but for the path of the PNG, which the loader knows."""

    rendering_id: str
    instance_key: str
    sop_instance_uid: str
    frame_number: int
    split: str
    sha256: str
    bytes: int
    bit_depth: int
    rows: int
    columns: int
    window_center: float | None
    window_width: float | None
    voi_lut_function: str | None
    window_source: str
    window_number: int | None
    window_explanation: str | None
    rescale_slope: float | None
    rescale_intercept: float | None
    modality_lut: bool
    inverted: bool
    pixel_aspect: float
    rules: int


class SegmentRow(TypedDict):
    """A row of the table `segment`, but for the key of its instance, which the loader knows."""

    sop_instance_uid: str
    segment_number: int
    segment_label: str | None
    category_code: str | None
    category_meaning: str | None
    type_code: str | None
    type_meaning: str | None
    laterality: str | None
    segment_algorithm_type: str | None
    segment_algorithm_name: str | None
    volume_ml: float | None


@dataclass
class Outcome:
    """What became of one source item: rows for the catalogue, a rejection, or both when only the picture is missing.

    The rows are empty when the item cannot be catalogued.
    """

    item: SourceItem
    patient: Row = field(default_factory=dict)
    study: Row = field(default_factory=dict)
    series: Row = field(default_factory=dict)
    instance: Row = field(default_factory=dict)
    segments: list[SegmentRow] = field(default_factory=list)
    renderings: list[RenderingRow] = field(default_factory=list)
    rejection: RejectionReason | None = None
    keys: ObjectKeys | None = None
    """None when the item cannot be described."""

    @property
    def instance_key(self) -> str:
        """The key of its row; empty when the item cannot be catalogued."""
        return self.keys.instance if self.keys and self.instance else ""

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID; empty when the item cannot be catalogued."""
        return str(self.instance.get("sop_instance_uid", ""))

    def reject(self, code: str, reason: str, remedy: str) -> None:
        """Record why this item, which has a SOP Instance UID, is not (wholly) in the catalogue."""
        self.rejection = RejectionReason(code, reason, remedy, self.sop_instance_uid)
