"""What becomes of each bomb of `bombs.py`, and how much memory that takes, in a process of its own: JSON lines.

    python tests/security/objects/try_bombs.py

Each line has kind, where it was sent, outcome, reason, and MB of memory at the most beyond what the process had.
"""

import gc
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from api.uploads.examine import examine_file
from api.uploads.received import RefusedFile
from api.uploads.zip_check import check_zip, open_zip
from bombs import FILE_BOMBS, IMAGE_BOMBS, PICTURE_BOMBS
from etl.options import Options
from etl.records import SourceItem
from etl.transform import transform
from minipacs.errors import MinipacsError
from minipacs.memory.size_limits import apply_size_limits
from minipacs.settings import Settings
from segmentation.prompting.legacy.picture import read_picture
from segmentation.series_volume import decode_modality_values, read_images

LIMITS = Settings(object_mb=256, frame_mb=96, volume_mb=256)
"""The least that any machine gets."""


def main() -> int:
    """Try every bomb everywhere."""
    warnings.simplefilter("ignore")
    apply_size_limits(LIMITS)
    for kind, make in IMAGE_BOMBS.items():
        content = make()
        report(kind, "ETL", lambda content=content: catalogue(content))  # type: ignore[misc]
        report(kind, "upload", lambda content=content: upload("a.dcm", content))  # type: ignore[misc]
        report(kind, "segmentation", lambda content=content: read_series(content))  # type: ignore[misc]
    for kind, (name, make) in FILE_BOMBS.items():
        content = make()
        report(kind, "upload", lambda name=name, content=content: upload(name, content))  # type: ignore[misc]
    for kind, make in PICTURE_BOMBS.items():
        content = make()
        report(kind, "prompt", lambda content=content: str(read_picture(content)))  # type: ignore[misc]
    return 0


def catalogue(content: bytes) -> str:
    """The reason why the object has no picture; empty where it has one."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = transform(SourceItem("a"), content, Options(target=Path(folder)), Path(folder))
        return outcome.rejection.reason if outcome.rejection else ""


def upload(name: str, content: bytes) -> str:
    """The reason why the archive does not get the file; empty where it does, for it is not decoded then."""
    if name.endswith(".zip"):
        with open_zip(BytesIO(content), LIMITS) as archive:
            return str(check_zip(name, archive, LIMITS))
    found = examine_file(name, content)
    return found.reason if isinstance(found, RefusedFile) else ""


def read_series(content: bytes) -> str:
    """A series of one image, decoded as segmentation does."""
    (image,) = read_images([BytesIO(content)])
    return str(decode_modality_values(image).shape)


def report(kind: str, where: str, attempt: Callable[[], str]) -> None:
    """Print the outcome, and the peak of memory that was taken beside what was there."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = read_status_mb("VmHWM")
    try:
        reason = attempt()
        outcome = "refused" if reason else "passed on"
    except (MinipacsError, RuntimeError, OSError) as error:
        outcome, reason = "refused", f"{type(error).__name__}: {error}"
    line = {
        "kind": kind,
        "where": where,
        "outcome": outcome,
        "reason": reason,
        "mb": round(read_status_mb("VmHWM") - before),
    }
    print(json.dumps(line), flush=True)


def read_status_mb(name: str) -> float:
    """A figure of /proc/self/status, MB."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


if __name__ == "__main__":
    sys.exit(main())
