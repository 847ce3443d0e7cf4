"""Train, validation or test: by a keyed hash of the patient, so that no patient is in two sets.

The answer depends on the patient, the seed and the ratios alone: not on the machine, the order of
arrival, or who else is in the catalogue. So old assignments never move when studies are added.
"""

import hmac

from minipacs.errors import BadRequest

TRAIN, VALIDATION, TEST = SETS = ("train", "validation", "test")
SEED = "minipacs"
"""The default key of the hash. Another seed is another, equally good, split."""


def split(patient_key: str, ratios: tuple[float, float, float] = (0.7, 0.15, 0.15), seed: str = SEED) -> str:
    """The set of a patient: HMAC-SHA-256 as a number in [0, 1), cut at the ratios."""
    digest = hmac.digest(seed.encode(), patient_key.encode("utf-8", "surrogatepass"), "sha256")
    place = int.from_bytes(digest[:8], "big") / 2**64
    train, validation, _test = ratios
    if place < train:
        return TRAIN
    return VALIDATION if place < train + validation else TEST


def ratios(text: str) -> tuple[float, float, float]:
    """`0.7,0.15,0.15` or `70/15/15`: three parts, scaled to 1."""
    try:
        parts = [float(part) for part in text.replace("/", ",").split(",")]
    except ValueError:
        parts = []
    return scaled(*parts) if len(parts) == 3 else scaled(-1.0, 0.0, 0.0)


def scaled(train: float, validation: float, test: float) -> tuple[float, float, float]:
    """Three parts, none negative, scaled to 1."""
    total = train + validation + test
    if min(train, validation, test) < 0 or not 0 < total < float("inf"):
        raise BadRequest(
            "The split must be three parts that are not negative: train, validation, test.",
            "For example 0.7,0.15,0.15.",
        )
    return (train / total, validation / total, test / total)
