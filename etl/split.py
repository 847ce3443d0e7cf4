"""Train, validation or test: by a keyed hash of the patient, so that no patient is in two sets.

The set depends on the patient, the seed and the ratios alone: not on the machine, the order of arrival,
or who else is in the catalogue. So old assignments never move when studies are added.
"""

import hmac

from minipacs.errors import BadRequest

__all__ = ["DEFAULT_RATIOS", "DEFAULT_SEED", "SETS", "Ratios", "assign_split", "normalise_ratios", "parse_ratios"]

TRAIN, VALIDATION, TEST = SETS = ("train", "validation", "test")

Ratios = tuple[float, float, float]
"""Parts of train, validation and test; their sum is 1."""

DEFAULT_RATIOS: Ratios = (0.7, 0.15, 0.15)

DEFAULT_SEED = "minipacs"
"""The key of the hash. Another seed is another, equally good, split."""


def assign_split(patient_key: str, ratios: Ratios = DEFAULT_RATIOS, seed: str = DEFAULT_SEED) -> str:
    """The set of a patient: HMAC-SHA-256 as a number in [0, 1), cut at the ratios."""
    digest = hmac.digest(seed.encode(), patient_key.encode("utf-8", "surrogatepass"), "sha256")
    position = int.from_bytes(digest[:8], "big") / 2**64

    train, validation, _test = ratios
    if position < train:
        return TRAIN
    return VALIDATION if position < train + validation else TEST


def parse_ratios(text: str) -> Ratios:
    """Parse `0.7,0.15,0.15` or `70/15/15`: three parts, scaled to a sum of 1. Raises `BadRequest`."""
    try:
        train, validation, test = (float(part) for part in text.replace("/", ",").split(","))
    except ValueError as error:
        raise _make_ratios_error() from error
    return normalise_ratios(train, validation, test)


def normalise_ratios(train: float, validation: float, test: float) -> Ratios:
    """Scale three parts, none negative, to a sum of 1. Raises `BadRequest`."""
    total = train + validation + test
    if min(train, validation, test) < 0 or not 0 < total < float("inf"):
        raise _make_ratios_error()
    return (train / total, validation / total, test / total)


def _make_ratios_error() -> BadRequest:
    return BadRequest(
        "The split must be three parts that are not negative: train, validation, test.",
        "For example 0.7,0.15,0.15.",
    )
