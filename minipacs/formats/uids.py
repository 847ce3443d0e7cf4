"""UIDs of foreign objects (PS3.5 9.1): only what is one becomes a path, a URL, a header or a key.

Senders put anything into a UID: `../../x`, a newline, ten thousand characters. An object with such a UID is not
lost: it stays in the archive, and the catalogue has a rejection that names the fault.
"""

import re

from minipacs.errors import Unreadable

__all__ = ["UID_PATTERN", "check_uid", "is_uid"]

UID_PATTERN = r"[0-9]+(?:\.[0-9]+)*"
"""Digits and single dots. Leading zeros of a component break PS3.5 9.1 too, but are common and harm nothing."""
MAX_CHARACTERS = 64

_UID = re.compile(UID_PATTERN)


def is_uid(text: str) -> bool:
    """Whether the text is a UID (PS3.5 9.1): digits and single dots, at most 64 characters."""
    return len(text) <= MAX_CHARACTERS and _UID.fullmatch(text) is not None


def check_uid(text: str, name: str) -> str:
    """The text, if it is a UID; otherwise raises `Unreadable` with the name of the element, never its value."""
    if not is_uid(text):
        rule = "digits and dots, at most 64 characters (PS3.5 9.1)"
        raise Unreadable(f"The {name} is no UID: {rule}.", "Correct it and send the object again.")
    return text
