"""A full 3D Slicer on this machine, without its window: TotalSegmentator as Slicer's extension has it.

MINIPACS_SLICER_EXECUTABLE names the program. Its extensions are looked for when it runs: Slicer itself
must start to know them. Parameters of a rule: `task`, `quality` (normal, fast, faster), `cpu`, and
`open_anatomy` (keep the glTF of the extension OpenAnatomy beside the results). Light to import.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from minipacs.errors import EngineFailed, EngineUnavailable
from minipacs.settings import Settings
from segmentation.engine import Progress, no_progress
from segmentation.labelmap import Labelmap
from segmentation.prompts import Prompt

if TYPE_CHECKING:
    from highdicom import Volume

NAME = "slicer-desktop"
TITLE = "3D Slicer"
QUALITIES = ("normal", "fast", "faster")
HOW_TO_SET = "Set MINIPACS_SLICER_EXECUTABLE to the Slicer program (download.slicer.org)."


class SlicerDesktop:
    """See the module."""

    name = NAME
    modalities = frozenset({"CT", "MR"})
    needs_prompts = False
    takes_prompts = False
    stall_s: float | None = None

    def __init__(self, command: Sequence[str], version: str, parameters: Mapping[str, Any]) -> None:
        self._command = command
        self.version = version
        self.parameters = parameters
        self.needs = "cpu" if parameters["cpu"] else "gpu"

    def segment(
        self,
        volume: "Volume",
        prompts: Sequence[Prompt] = (),
        progress: Progress = no_progress,
        *,
        modality: str = "CT",
    ) -> Labelmap:
        """What the task finds; the extension's own names, colors and SNOMED codes."""
        from segmentation.engines import foreign

        with TemporaryDirectory(prefix="minipacs-slicer-") as temporary:
            folder = Path(temporary)

            progress("hand over")
            foreign.write_volume(volume, folder / "volume.nii.gz")
            (folder / "request.json").write_text(json.dumps(dict(self.parameters)), "utf-8")

            progress(TITLE)
            script = str(foreign.SCRIPTS / "in_slicer.py")
            arguments = ("--no-main-window", "--no-splash", "--python-script", script, str(folder))
            answer = foreign.run_script(TITLE, (*self._command, *arguments), folder, {})

            progress("take back")
            labels = foreign.read_labels(TITLE, folder / "labels.nrrd", volume)
            files = {name: (folder / name).read_bytes() for name in answer["files"]}

        array, segments = foreign.renumber_labels(labels, foreign.parse_segments(answer["segments"]), TITLE)
        if not segments:
            raise EngineFailed("TotalSegmentator in 3D Slicer found nothing in this series.")

        return Labelmap(array, volume.get_geometry(), segments, files)


def create(
    settings: Settings, *, task: str = "total", quality: str = "fast", cpu: bool = True, open_anatomy: bool = False
) -> SlicerDesktop:
    """Create the engine; raises `EngineUnavailable` where no 3D Slicer is set, or it does not start."""
    if not settings.slicer_executable:
        raise EngineUnavailable("No 3D Slicer is set.", HOW_TO_SET)

    program = Path(settings.slicer_executable).expanduser()
    if not program.is_file() or not os.access(program, os.X_OK):
        raise EngineUnavailable(f"{program.name} is not a program that can be started.", HOW_TO_SET)

    if quality not in QUALITIES:
        raise EngineUnavailable(f"The quality {quality!r} is none of {', '.join(QUALITIES)}.", "Correct the rule.")

    command = _make_command_with_display(program)
    parameters = {"task": task, "quality": quality, "cpu": bool(cpu), "open_anatomy": bool(open_anatomy)}

    return SlicerDesktop(command, _read_version(command, program.stat().st_mtime), parameters)


def _make_command_with_display(program: Path) -> tuple[str, ...]:
    """Slicer needs a display even without its window: on a server, a virtual one."""
    if sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return (str(program),)

    if virtual := shutil.which("xvfb-run"):
        return (virtual, "-a", str(program))

    raise EngineUnavailable("3D Slicer needs a display, and this machine has none.", "Install xvfb (xvfb-run).")


@lru_cache
def _read_version(command: tuple[str, ...], changed: float) -> str:
    """What `Slicer --version` prints, without the program's name; run once for each state of the file."""
    from segmentation.engines import foreign

    output = foreign.read_program_output(TITLE, (*command, "--no-main-window", "--version"), HOW_TO_SET)
    return output.removeprefix("Slicer").strip() or "unknown"
