"""SOP classes that decide what is done with an object (PS3.4 B.5), as text: pydicom is slow to import."""

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABELMAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"
"""A pixel is the number of its segment."""
SEGMENTATIONS = (SEGMENTATION, LABELMAP_SEGMENTATION)
"""Their pixels are labels, not an image; they have Segment rows."""
