"""The two types of DICOM SEG that a labelmap can be written as: Segmentation Type (0062,0001)."""

BINARY = "BINARY"
"""One bit plane a segment: read by everything."""
LABELMAP = "LABELMAP"
"""One plane of values for all segments: 30 times smaller, and not yet read by 3D Slicer (dcmqi)."""

SEG_TYPES = (BINARY, LABELMAP)
DEFAULT_SEG_TYPE = LABELMAP
