"""A cache of who was identified by what, so that most requests need no look-up for it."""

import time

from api.auth.accounts import Principal

MAX_PROOFS = 10_000
TOKEN_MAX_AGE_S = 5.0
"""A token or a session is looked up again after so many seconds: the longest that a revoked one lives on."""
PASSWORD_MAX_AGE_S = 60.0
"""The same for a password, whose check costs 30 ms."""


class PrincipalCache:
    """Principals by their proof (the hash of a token, a session's values, the hash of a password).

    A proof that failed is not kept. Safe to share between threads.
    """

    def __init__(self) -> None:
        self._principals: dict[str, tuple[float, Principal]] = {}

    def get(self, proof: str) -> Principal | None:
        """The principal, unless its time is over."""
        found = self._principals.get(proof)
        if found is None:
            return None
        expires, principal = found
        return principal if time.monotonic() < expires else None

    def put(self, proof: str, principal: Principal, max_age_s: float) -> None:
        """Keep a principal for so long. A full cache is emptied first."""
        if len(self._principals) >= MAX_PROOFS:
            self._principals.clear()
        self._principals[proof] = (time.monotonic() + max_age_s, principal)
