"""Checks passwords: each check costs 30 ms of processor time, so that few run at once and right ones are remembered.

A remembered password counts for its client (address or known browser), as long as its user has the same hash and the
client has guesses left: guesses beyond the limit find nothing out. What is kept is a keyed hash of name and password.
"""

import hmac
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from api.auth import login_limit
from api.auth.accounts import HASH_OF_NOBODY, MAX_NAME_CHARACTERS, is_right_password
from api.auth.proof_lookup import ProofLookup, UserRow
from minipacs.database import Database
from minipacs.errors import TooManyAttempts

MAX_AGE_S = 600.0
"""So long a right password is remembered."""
MAX_REMEMBERED = 10_000
MAX_AT_ONCE = 2
"""Checks that run at once in a process: guesses, however many, take no more processors."""
MAX_WAITING = 12
"""Checks that run or wait in a process, half of its threads by default; more are refused at once."""
TURNS = 64


class PasswordChecks:
    """The passwords of one process. Safe to share between threads."""

    def __init__(self, database: Database, proofs: ProofLookup, key: str) -> None:
        self._database = database
        self._proofs = proofs
        self._key = key.encode()
        self._right: dict[tuple[str, str], tuple[float, bytes, str]] = {}
        self._turns = [threading.Lock() for _ in range(TURNS)]
        self._places = threading.BoundedSemaphore(MAX_WAITING)
        self._processors = threading.BoundedSemaphore(MAX_AT_ONCE)

    def check(self, name: str, password: str, client: str) -> UserRow | None:
        """The user, when this is the password; an unknown name takes the same time. `client` is who guesses.

        A script that sends a right password many times at once costs one check: the others wait for its result. The
        same password from another client is another check: it waits for no turn of this one.
        Raises `TooManyAttempts`.
        """
        proof = self._make_proof(name, password)
        user = self._find_user(name)
        if user is not None and self._is_known_right(client, user, proof):
            return user

        with self._turns[hash((client, proof)) % TURNS]:
            if user is not None and self._is_known_right(client, user, proof):
                return user
            return self._check_slowly(name, password, client, proof)

    def _check_slowly(self, name: str, password: str, client: str, proof: bytes) -> UserRow | None:
        with self._take_place():
            try:
                login_limit.count_attempt(self._database, name, client)
            except TooManyAttempts:
                self._right.pop((name, client), None)
                raise
            user = self._find_user(name)
            with self._processors:
                password_hash = (user.password_hash if user else "") or HASH_OF_NOBODY
                is_right = is_right_password(password_hash, password)
            if user is None or not user.password_hash or not is_right:
                return None

            login_limit.forget_attempts(self._database, name, client)
            self._remember(client, user, proof)
            return user

    def _find_user(self, name: str) -> UserRow | None:
        """The user, unless no user can have this name; NUL and lone surrogates never reach the database."""
        is_possible = 1 <= len(name) <= MAX_NAME_CHARACTERS and name.isprintable()
        return self._proofs.find_user(name) if is_possible else None

    @contextmanager
    def _take_place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise TooManyAttempts("Too many passwords are being checked.", "Try again in a few seconds.")
        try:
            yield
        finally:
            self._places.release()

    def _is_known_right(self, client: str, user: UserRow, proof: bytes) -> bool:
        expires, known, right_for = self._right.get((user.name, client), (0.0, b"", ""))
        is_same = hmac.compare_digest(known, proof)
        return time.monotonic() < expires and is_same and right_for == user.password_hash

    def _remember(self, client: str, user: UserRow, proof: bytes) -> None:
        """Remember that this password is right for this hash. A full memory is emptied first."""
        if len(self._right) >= MAX_REMEMBERED:
            self._right.clear()
        self._right[user.name, client] = (time.monotonic() + MAX_AGE_S, proof, user.password_hash)

    def _make_proof(self, name: str, password: str) -> bytes:
        """Of name and password; the name's length keeps `a:b` and `c` apart from `a` and `b:c`."""
        return hmac.digest(self._key, f"{len(name)}:{name}:{password}".encode("utf-8", "surrogatepass"), "sha256")
