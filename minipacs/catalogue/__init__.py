"""The catalogue: what the archive holds, described once, in tables that people can open and query.

    patient ─< study ─< series ─< instance ─< rendering (a PNG)
                                       └───< segment   (of a SEG object)
    rejection: what could not be catalogued or rendered, and why        cursor: how far a reader has come
    total: the four global counts

A row's key is Orthanc's identifier: what the archive calls it, or would call the object of a file. UIDs are in every
row, indexed; they may be twice, where patients or senders made it so (`minipacs.catalogue.lookup` finds the rows).

A column takes its type from the VR (PS3.6) of the DICOM keyword it names; its name is that keyword in
snake_case. More values than one (VM) are a JSON array. `etl` writes; everyone may read. Counters are
kept in the transaction that adds or removes a row, so that a count never scans.
"""

from minipacs.catalogue.counts import CatalogueCounts, RowCount, read_catalogue_counts, read_patient_counts
from minipacs.catalogue.cursor import CatalogueCursorRow
from minipacs.catalogue.elements import TYPES, counter, element
from minipacs.catalogue.keys import ObjectKeys, compute_object_keys, patient_key
from minipacs.catalogue.objects import Instance, Rendering, Segment
from minipacs.catalogue.parents import Patient, Series, Study
from minipacs.catalogue.rejections import Rejection, find_rejections_below_limits, repeat_rejections
from minipacs.catalogue.results import SegmentationResult
from minipacs.catalogue.sources import AFTER_ARCHIVE_PREFIX, ARCHIVE_PREFIX, read_archive_sources

__all__ = [
    "AFTER_ARCHIVE_PREFIX",
    "ARCHIVE_PREFIX",
    "TYPES",
    "CatalogueCounts",
    "CatalogueCursorRow",
    "Instance",
    "ObjectKeys",
    "Patient",
    "Rejection",
    "Rendering",
    "RowCount",
    "Segment",
    "SegmentationResult",
    "Series",
    "Study",
    "compute_object_keys",
    "counter",
    "element",
    "find_rejections_below_limits",
    "patient_key",
    "read_archive_sources",
    "read_catalogue_counts",
    "read_patient_counts",
    "repeat_rejections",
]
