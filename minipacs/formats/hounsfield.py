"""Whether a volume that does not name its modality is a CT."""

__all__ = ["AIR_HU", "is_hounsfield"]

AIR_HU = -500
"""Only Hounsfield units go below this: air is −1000 HU, and no other modality has such negative values."""


def is_hounsfield(lowest: float) -> bool:
    """Whether a volume with this lowest value is in Hounsfield units, that is: a CT."""
    return lowest < AIR_HU
