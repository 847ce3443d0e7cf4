"""What the parent sends to the child process: one line of JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from minipacs.settings import Settings


class ResultOptions(TypedDict, total=False):
    """How the results are written; what is left out is as the rules or the files say."""

    type: str | None
    """BINARY or LABELMAP: the type of the DICOM SEG."""
    modality: str
    """Of a file that is not DICOM."""
    mrb: bool
    """Whether 3D Slicer's whole scene is written too."""


@dataclass(frozen=True)
class SegmentationRequest:
    """The series' files, the engine that segments them, and where the results go."""

    files: Sequence[Path]
    digest: str
    """Of the series' SOP Instance UIDs, or of the file."""
    engine: str
    out: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    prompts: Sequence[Mapping[str, Any]] = ()
    """JSON prompts; see `prompts.parse_prompt`."""
    options: ResultOptions = field(default_factory=ResultOptions)
    stall_s: float | None = None
    """Seconds of standstill after which the engine counts as hanging; None: as the settings say."""

    def as_json(self, settings: Settings) -> str:
        """One line; the settings travel without their secrets."""
        return json.dumps({**asdict(self), "settings": settings.as_environment(with_secrets=False)}, default=str)


def parse_request(line: str) -> tuple[SegmentationRequest, Settings]:
    """The request and the settings of a line of `SegmentationRequest.as_json`."""
    value = json.loads(line)
    settings = Settings.from_env(value.pop("settings"))

    value["files"] = [Path(file) for file in value["files"]]
    value["out"] = Path(value["out"])

    return SegmentationRequest(**value), settings
