"""A finding of the doctor: ok, warning or failed; what was seen; the remedy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    state: str
    seen: str
    remedy: str = ""


def ok(seen: str) -> Finding:
    """Nothing to do."""
    return Finding("ok", seen)


def warning(seen: str, remedy: str) -> Finding:
    """It works, but somebody should look."""
    return Finding("warning", seen, remedy)


def failure(seen: str, remedy: str) -> Finding:
    """It does not work until somebody acts."""
    return Finding("failed", seen, remedy)
