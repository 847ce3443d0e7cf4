"""Who may pass a route: everyone, or a role and those above it. The guard (api/auth/guard.py) reads this.

A view without a mark: reading is for every user who is logged in, the rest needs an operator.
"""

from collections.abc import Callable

from api.web.describe_route import View, describe

ROLES = ("viewer", "annotator", "operator", "admin")
"""Each may what those before it may: look and download · prompt and segment · upload, share, cancel · users, audit."""


def public(view: View) -> View:
    """This view answers without login."""
    describe(view).is_public = True
    return view


def requires(role: str) -> Callable[[View], View]:
    """This view is for `role` and those above it."""
    if role not in ROLES:
        raise ValueError(f"{role!r} is not one of {ROLES}")

    def mark(view: View) -> View:
        describe(view).role = role
        return view

    return mark


def includes(role: str, needed: str) -> bool:
    """Whether a user of `role` may do what needs `needed`."""
    return ROLES.index(role) >= ROLES.index(needed)
