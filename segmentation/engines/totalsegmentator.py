"""TotalSegmentator (nnU-Net), in its own Python and with weights that are on this machine already.

MINIPACS_TOTALSEGMENTATOR_PYTHON names the Python of an environment that has the package (its vtk clashes
with ours), MINIPACS_TOTALSEGMENTATOR_WEIGHTS the folder of its models. Nothing is fetched and no usage
statistics are sent. Parameters of a rule: `task` (any of TotalSegmentator's), `speed` (normal, fast,
fastest; fast where the task has it), `device` (cpu, gpu, mps). Light to import.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypedDict

from minipacs.errors import EngineFailed, EngineUnavailable
from minipacs.settings import Settings
from segmentation.engine import Progress, no_progress
from segmentation.labelmap import Labelmap
from segmentation.prompts import Prompt

if TYPE_CHECKING:
    from highdicom import Volume

NAME = "totalsegmentator"
TITLE = "TotalSegmentator"
SPEEDS = ("normal", "fast", "fastest")
SET_PYTHON = "Set MINIPACS_TOTALSEGMENTATOR_PYTHON to the python of an environment with TotalSegmentator."
SET_WEIGHTS = "Set MINIPACS_TOTALSEGMENTATOR_WEIGHTS to the folder of its models."
NO_STATISTICS = {"totalseg_id": "local", "send_usage_stats": False, "prediction_counter": 0}
"""TotalSegmentator's own configuration; written before its first run, it reports its runs to nobody."""


class TaskDescription(TypedDict, total=False):
    """What the package needs for a task; or `error`, a sentence."""

    version: str
    speed: str
    weights: list[str]
    """Folders below the weights."""
    modality: str
    error: str


class TotalSegmentator:
    """See the module."""

    name = NAME
    needs_prompts = False
    takes_prompts = False
    stall_s: float | None = None

    def __init__(
        self, settings: Settings, version: str, modality: str, parameters: Mapping[str, Any], device: str
    ) -> None:
        self._settings = settings
        self._device = device
        self.needs = "gpu" if device.startswith("gpu") else "cpu"
        self.version = version
        self.modalities = frozenset({modality})
        self.parameters = parameters

    def segment(
        self,
        volume: "Volume",
        prompts: Sequence[Prompt] = (),
        progress: Progress = no_progress,
        *,
        modality: str = "CT",
    ) -> Labelmap:
        """What the task finds; names, codes and colors from TotalSegmentator's SNOMED table."""
        from segmentation.engines import foreign

        with TemporaryDirectory(prefix="minipacs-totalsegmentator-") as temporary:
            folder = Path(temporary)

            progress("hand over")
            foreign.write_volume(volume, folder / "volume.nii.gz")
            request = {**self.parameters, "device": self._device}
            (folder / "request.json").write_text(json.dumps(request), "utf-8")

            progress(TITLE)
            command = (*_make_script_command(self._settings), "segment", str(folder))
            answer = foreign.run_script(TITLE, command, folder, _make_environment(self._settings))

            progress("take back")
            labels = foreign.read_labels(TITLE, folder / "labels.nii.gz", volume)

        array, segments = foreign.renumber_labels(labels, foreign.parse_segments(answer["segments"]), TITLE)
        if not segments:
            raise EngineFailed(f"{TITLE} found nothing of its task {self.parameters['task']} in this series.")

        return Labelmap(array, volume.get_geometry(), segments)


def create(settings: Settings, *, task: str = "total", speed: str = "", device: str = "cpu") -> TotalSegmentator:
    """Create the engine; raises `EngineUnavailable` without its Python, the package, or a model of the task."""
    python = settings.totalsegmentator_python
    if not python:
        raise EngineUnavailable(f"No Python with {TITLE} is set.", SET_PYTHON)

    if not os.access(Path(python).expanduser(), os.X_OK):
        raise EngineUnavailable(f"{Path(python).name} is not a Python that can be started.", SET_PYTHON)

    weights = Path(settings.totalsegmentator_weights).expanduser()
    if not settings.totalsegmentator_weights or not weights.is_dir():
        raise EngineUnavailable(f"The folder of {TITLE}'s weights is not set, or not there.", SET_WEIGHTS)

    if speed and speed not in SPEEDS:
        raise EngineUnavailable(f"The speed {speed!r} is none of {', '.join(SPEEDS)}.", "Correct the rule.")

    description = _describe_task(_make_script_command(settings), task, speed)
    if "error" in description:
        raise EngineUnavailable(description["error"], "Correct the rule.")

    missing = [name for name in description["weights"] if not (weights / name).is_dir()]
    if missing:
        raise EngineUnavailable(
            f"{TITLE}'s weights {', '.join(missing)} are not in the weights folder.",
            "Put them there: `totalseg_download_weights` fetches them.",
        )

    parameters = {
        "task": task,
        "speed": description["speed"],
        "weights": _compute_fingerprint(weights, description["weights"]),
    }

    return TotalSegmentator(settings, description["version"], description["modality"], parameters, device)


def _make_script_command(settings: Settings) -> tuple[str, str]:
    from segmentation.engines import foreign

    python = Path(settings.totalsegmentator_python).expanduser()
    return str(python), str(foreign.SCRIPTS / "in_totalsegmentator.py")


@lru_cache
def _describe_task(script: tuple[str, str], task: str, speed: str) -> TaskDescription:
    """Version, weight folders and modality, as the package says; read once a process."""
    from segmentation.engines import foreign

    hint = f"Install it there: pip install TotalSegmentator. {SET_PYTHON}"
    description: TaskDescription = json.loads(
        foreign.read_program_output(TITLE, (*script, "describe", task, speed), hint)
    )

    return description


def _compute_fingerprint(weights: Path, names: Sequence[str]) -> str:
    """Changes when other models are put in place: of the files' names and sizes, not their gigabytes."""
    files = sorted(file for name in names for file in (weights / name).rglob("*") if file.is_file())
    text = "\n".join(f"{file.relative_to(weights).as_posix()} {file.stat().st_size}" for file in files)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _make_environment(settings: Settings) -> dict[str, str]:
    """Where it looks, and what it must not do; its configuration is written before its first run."""
    home = settings.home / NAME
    home.mkdir(parents=True, exist_ok=True)
    config = home / "config.json"
    if not config.is_file():
        config.write_text(json.dumps({**NO_STATISTICS, "statistics_disclaimer_shown": True}), "utf-8")

    weights = str(Path(settings.totalsegmentator_weights).expanduser().resolve())

    return {"TOTALSEG_HOME_DIR": str(home), "TOTALSEG_WEIGHTS_PATH": weights, "HF_HUB_OFFLINE": "1"}
