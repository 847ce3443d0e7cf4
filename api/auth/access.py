"""Marks on views that say who may use them: everyone, or a role and those above it. The guard reads them.

A view without a mark: reading is for every user who is logged in, everything else needs an operator.
"""

from collections.abc import Callable

from api.auth.roles import ROLES
from api.web.describe_route import View, describe


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
