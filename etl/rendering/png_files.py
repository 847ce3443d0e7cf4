"""The pictures of an image, written as PNG files, with the rows that tell how each came about."""

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import monotonic
from uuid import UUID, uuid5

from isal import isal_zlib
from pydicom import Dataset

from etl.describing.element_values import clean_text
from etl.options import RULES_VERSION, Options
from etl.records import RenderingRow
from etl.rendering.render import Picture, read_pixel_aspect, render_frames
from minipacs.errors import BreaksLimit, NoPicture, TooSlow
from minipacs.formats.parsing import translate_parser_errors
from minipacs.memory.size_limits import RENDER_SETTING, current_limits

__all__ = ["RenderingResult", "render_to_folder"]

NAMESPACE = UUID("5d0b1ac2-7f0a-5a6c-9d1e-6a1f0e0c9b3d")
"""Of the names of PNGs: the same object, frame and window is the same file."""


@dataclass
class RenderingResult:
    """What came of rendering an object."""

    rows: list[RenderingRow] = field(default_factory=list)
    """One for each PNG; empty when a frame has no picture."""

    remarks: list[str] = field(default_factory=list)
    """What is wrong with its windows, in sentences."""

    crc32: int = 0
    """Of the decoded values of the frames; 0 when none was decoded."""

    failure: NoPicture | BreaksLimit | None = None
    """Why there are no PNGs."""


def render_to_folder(
    dataset: Dataset, options: Options, instance_key: str, sop_instance_uid: str, split: str, folder: Path
) -> RenderingResult:
    """Render an image into PNGs in `folder`, each under its rendering ID; all of them or none.

    The time is looked at after each frame: one that a decoder never ends is not interrupted.
    """
    rendered = RenderingResult()
    began = monotonic()

    try:
        with translate_parser_errors("The picture cannot be rendered", kind=NoPicture):
            aspect = read_pixel_aspect(dataset)
            for frame in render_frames(dataset, options):
                rendered.crc32 = isal_zlib.crc32(frame.words, rendered.crc32)
                rendered.remarks += frame.remarks
                rendered.rows += [
                    _write_png(picture, instance_key, sop_instance_uid, split, aspect, folder)
                    for picture in frame.pictures
                ]
                _check_time(monotonic() - began)
    except (NoPicture, BreaksLimit) as error:
        for row in rendered.rows:
            (folder / row["rendering_id"]).unlink(missing_ok=True)
        rendered.rows = []
        rendered.failure = error

    return rendered


def _check_time(seconds: float) -> None:
    """Raise `TooSlow` when an object has taken longer than it may."""
    limit_s = current_limits().render_s
    if seconds > limit_s:
        raise TooSlow(
            f"Its pictures take longer than {limit_s} s.",
            f"If it is meant to have so many or so large frames, raise {RENDER_SETTING}.",
            setting=RENDER_SETTING,
            limit_value=limit_s,
        )


def _write_png(
    picture: Picture, instance_key: str, sop_instance_uid: str, split: str, aspect: float, folder: Path
) -> RenderingRow:
    """Write one PNG; its row."""
    rendering_id = str(uuid5(NAMESPACE, f"{instance_key}/{picture.frame_number}/{picture.label}"))
    png = picture.as_png()
    (folder / rendering_id).write_bytes(png)

    rows, columns = picture.values.shape[:2]
    provenance = picture.provenance
    return {
        "rendering_id": rendering_id,
        "instance_key": instance_key,
        "sop_instance_uid": sop_instance_uid,
        "frame_number": picture.frame_number,
        "split": split,
        "sha256": sha256(png).hexdigest(),
        "bytes": len(png),
        "bit_depth": provenance.bit_depth,
        "rows": rows,
        "columns": columns,
        "window_center": provenance.window_center,
        "window_width": provenance.window_width,
        "voi_lut_function": provenance.voi_lut_function,
        "window_source": provenance.window_source,
        "window_number": provenance.window_number,
        "window_explanation": provenance.window_explanation and clean_text(provenance.window_explanation),
        "rescale_slope": provenance.rescale_slope,
        "rescale_intercept": provenance.rescale_intercept,
        "modality_lut": provenance.modality_lut,
        "inverted": provenance.inverted,
        "pixel_aspect": aspect,
        "rules": RULES_VERSION,
    }
