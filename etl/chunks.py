"""Splits what is iterated over into lists."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

__all__ = ["iter_chunks"]

Item = TypeVar("Item")


def iter_chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of up to `size` items, in order; only what the next list needs is taken from `items`."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
