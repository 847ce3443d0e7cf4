"""Remembers which password was right for which hash, as the check of a password costs 30 ms of processor time.

A remembered password counts as long as its user has the same hash: with another password, or without the user, it
counts no more. What is kept is a keyed hash of name and password.
"""

import hmac
import time

MAX_AGE_S = 600.0
MAX_REMEMBERED = 10_000


class PasswordCache:
    """Right passwords of the last minutes. Safe to share between threads."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._right: dict[bytes, tuple[float, str]] = {}

    def is_known_right(self, name: str, password: str, password_hash: str) -> bool:
        """Whether this password was found right for this hash within the last minutes."""
        expires, right_for = self._right.get(self._make_proof(name, password), (0.0, ""))
        return time.monotonic() < expires and hmac.compare_digest(right_for.encode(), password_hash.encode())

    def remember(self, name: str, password: str, password_hash: str) -> None:
        """Remember that this password is right for this hash. A full cache is emptied first."""
        if len(self._right) >= MAX_REMEMBERED:
            self._right.clear()
        self._right[self._make_proof(name, password)] = (time.monotonic() + MAX_AGE_S, password_hash)

    def _make_proof(self, name: str, password: str) -> bytes:
        """Of name and password; the names' length keeps `a:b` and `c` apart from `a` and `b:c`."""
        return hmac.digest(self._key, f"{len(name)}:{name}:{password}".encode("utf-8", "surrogatepass"), "sha256")
