"""What a run did, in numbers."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Tally"]


@dataclass
class Tally:
    """Source items, counted by what became of them."""

    added: int = 0
    """Instances that were not in the catalogue."""

    changed: int = 0
    """Instances whose row was replaced."""

    unchanged: int = 0
    """Items that were not read, because the catalogue has them as they are."""

    rendered: int = 0
    """PNGs written."""

    images: int = 0
    """Items that ended as pictures."""

    others: int = 0
    """Items that are catalogued and no images."""

    removed: int = 0
    """Instances that left the catalogue because the source has them no more."""

    rejected: Counter[str] = field(default_factory=Counter)
    """Items that were rejected, by code."""

    @property
    def items_done(self) -> int:
        """Items that came to their end."""
        return self.images + self.others + self.unchanged + sum(self.rejected.values())

    def add(self, other: "Tally") -> None:
        """Add the numbers of another tally to this one."""
        for name in ("added", "changed", "unchanged", "rendered", "images", "others", "removed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.rejected.update(other.rejected)

    def as_json(self) -> dict[str, Any]:
        """The numbers for scripts: `rejected` as a sum, `reasons` by code."""
        return {**vars(self), "rejected": sum(self.rejected.values()), "reasons": dict(sorted(self.rejected.items()))}

    def as_sentence(self) -> str:
        """The numbers for people."""
        parts = [f"{self.added} added"]
        if self.changed:
            parts.append(f"{self.changed} changed")
        parts += [f"{self.unchanged} unchanged", f"{self.rendered} pictures"]
        if self.removed:
            parts.append(f"{self.removed} removed")
        if self.rejected:
            codes = ", ".join(f"{number} {code}" for code, number in sorted(self.rejected.items()))
            parts.append(f"{sum(self.rejected.values())} rejected ({codes})")
        return ", ".join(parts) + "."
