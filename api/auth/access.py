"""Marks on views that say who may use them: everyone, or a role and those above it. The guard reads them.

A view without a mark: reading is for every user who is logged in, everything else needs an operator.
"""

from collections.abc import Callable

from api.auth.roles import ROLES
from api.web.describe_route import View, ensure_description


def public(view: View) -> View:
    """This view answers without login."""
    ensure_description(view).is_public = True
    return view


def does_not_extend_session(view: View) -> View:
    """Pages send requests of this view by themselves, attended or not: the idle logoff does not count them."""
    ensure_description(view).does_not_extend_session = True
    return view


def requires_role(role: str) -> Callable[[View], View]:
    """This view is for `role` and those above it."""
    if role not in ROLES:
        raise ValueError(f"{role!r} is not one of {ROLES}")

    def mark(view: View) -> View:
        ensure_description(view).role = role
        return view

    return mark
