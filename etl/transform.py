"""A DICOM file to an outcome: rows of the catalogue and PNGs, or the reason why not."""

import logging
import warnings
from pathlib import Path

from isal import isal_zlib
from pydicom import Dataset
from pydicom.uid import UID

from etl.describing.dicom_file import NotDicom, Truncated, parse_dicom_file
from etl.describing.object_keys import find_object_keys
from etl.describing.object_rows import ObjectRows, describe_object
from etl.describing.segments import describe_segments
from etl.options import Options
from etl.records import Outcome, RejectionReason, SourceItem
from etl.rendering.frames import is_image
from etl.rendering.png_files import RenderingResult, render_to_folder
from etl.split import assign_split
from minipacs.errors import ExceedsMemory, TooSlow, Unreadable
from minipacs.formats.parsing import translate_parser_errors

__all__ = ["transform"]

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings may hold a patient's name; remarks do not


def transform(item: SourceItem, data: bytes, options: Options, folder: Path) -> Outcome:
    """Read, describe and render one file; its PNGs lie in `folder`, not yet in their place.

    Whatever the file does to a parser, it is its own rejection: the other files of the run never notice.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what pydicom merely warns of, we remark upon or reject
        try:
            with translate_parser_errors("The object cannot be described", "Send it again, or report it."):
                return _transform_object(item, data, options, folder)
        except NotDicom as error:
            return Outcome(item, rejection=RejectionReason("not_dicom", error.message, "Remove it, or send it again."))
        except Truncated as error:
            return Outcome(item, rejection=RejectionReason("truncated", error.message, "Send the object again."))
        except ExceedsMemory as error:
            return Outcome(item, rejection=RejectionReason.of_error("too_large", error))
        except Unreadable as error:
            return Outcome(item, rejection=RejectionReason("unreadable", error.message, error.hint))


def _transform_object(item: SourceItem, data: bytes, options: Options, folder: Path) -> Outcome:
    """Read, describe and render one file; raises `NotDicom`, `Truncated` and `Unreadable`."""
    dicom = parse_dicom_file(data)
    rows = describe_object(dicom)
    if isinstance(rows, RejectionReason):
        return Outcome(item, rejection=rows)
    return _render_and_measure(item, rows, dicom.dataset, data, options, folder)


def _render_and_measure(
    item: SourceItem, rows: ObjectRows, dataset: Dataset, data: bytes, options: Options, folder: Path
) -> Outcome:
    """The outcome of an object that has rows: pictures of an image, segments of a SEG.

    A picture that cannot be rendered is a rejection beside the rows.
    """
    keys = find_object_keys(item, dataset, rows)
    has_picture = is_image(dataset)
    rendered = RenderingResult()
    if has_picture:
        split = assign_split(rows.patient["patient_key"], options.ratios, options.seed)
        rendered = render_to_folder(dataset, options, keys.instance, rows.instance["sop_instance_uid"], split, folder)

    try:
        with translate_parser_errors("Its segments cannot be described"):
            segments, segment_remarks = describe_segments(dataset)
    except Unreadable as error:
        segments, segment_remarks = [], [error.message]

    remarks = [*rows.remarks, *rendered.remarks, *segment_remarks]
    instance = {
        **rows.instance,
        "instance_key": keys.instance,
        "series_key": keys.series,
        "source": item.source,
        "source_size": item.size,
        "source_mtime_ns": item.mtime_ns,
        "content_checksum": rendered.crc32 or isal_zlib.crc32(data),
        "remarks": " ".join(dict.fromkeys(remarks)) or None,
        "rendered_with": [options.digest],
    }
    study = {**rows.study, "study_key": keys.study}
    series = {**rows.series, "series_key": keys.series, "study_key": keys.study}
    outcome = Outcome(item, rows.patient, study, series, instance, segments, rendered.rows, keys=keys)

    if rendered.failure:
        code = "too_slow" if isinstance(rendered.failure, TooSlow) else "no_picture"
        outcome.rejection = RejectionReason.of_error(code, rendered.failure, outcome.sop_instance_uid)
    elif not has_picture and _is_image_class(rows.instance["sop_class_uid"]):
        reason = "An image must have pixel data (PS3.3 C.7.6.3): it is incomplete."
        outcome.reject("no_pixels", reason, "Send it again.")
    return outcome


def _is_image_class(sop_class_uid: str | None) -> bool:
    """Whether objects of this SOP class are images, by the name it has in PS3.6."""
    return str(UID(sop_class_uid or "").name).endswith("Image Storage")
