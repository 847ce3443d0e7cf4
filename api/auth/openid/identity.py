"""From the claims of a provider to a user of ours: which name, which role, which groups."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select

from api.auth.accounts import MAX_NAME_CHARACTERS, User
from api.auth.key_lookup import wait_for_leases
from api.auth.openid.provider import VerifiedClaims
from api.auth.roles import ROLES
from minipacs.database import Database
from minipacs.errors import NotAllowed
from minipacs.groups.membership import StudyGroup, set_groups_by_claim
from minipacs.settings import Settings

ASK_ADMINISTRATOR = "Ask an administrator of minipacs."


@dataclass(frozen=True)
class Identity:
    """A person as the provider knows it."""

    subject: str
    """Issuer and `sub` claim: what never changes (OpenID Connect Core 5.7)."""
    name: str
    role: str
    groups: frozenset[str] | None
    """Names of its groups there, which may be groups of studies here; None where the claim of groups is not set up."""


def make_identity(settings: Settings, claims: VerifiedClaims) -> Identity:
    """The person of these claims; `NotAllowed` where no role is meant for it."""
    name = find_claim(claims.values, settings.openid_name_claim)
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARACTERS or ":" in name or not name.isprintable():
        raise NotAllowed(f"The single sign-on gave no usable {settings.openid_name_claim}.", ASK_ADMINISTRATOR)

    given = read_names(claims.values, settings.openid_role_claim)
    roles = [role for group, role in settings.openid_role_of_group.items() if group in given or group == "*"]
    if not roles:
        raise NotAllowed("None of your groups at the single sign-on may use minipacs.", ASK_ADMINISTRATOR)
    groups = read_names(claims.values, settings.openid_groups_claim) if settings.openid_groups_claim else None
    return Identity(f"{settings.openid_issuer} {claims.subject}", name, max(roles, key=ROLES.index), groups)


def read_names(claims: Mapping[str, object], path: str) -> frozenset[str]:
    """The names of groups or roles in a claim: a text, a list of texts, or an object whose keys they are."""
    found = find_claim(claims, path)
    given = found if isinstance(found, list | Mapping) else [found]
    return frozenset(value for value in given if isinstance(value, str))


def find_claim(claims: Mapping[str, object], path: str) -> object:
    """A claim by its name, or by a path with dots (`realm_access.roles`); None where there is none."""
    if path in claims:
        return claims[path]
    found: object = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def save_user(database: Database, identity: Identity) -> str:
    """The user of this person, made or brought up to date, and its name. The role is the provider's at each login.

    A user who has a password here is never taken over: the provider's names are chosen by others. Where there are
    groups, or the provider names them, a new user sees the studies of its own alone: nobody here has decided anything
    about it.
    """
    with database.writing() as session:
        user = session.scalar(select(User).where(User.openid_subject == identity.subject))
        if user is None:
            if session.get(User, identity.name) is not None:
                raise NotAllowed(f"There is another user {identity.name!r} here already.", ASK_ADMINISTRATOR)
            user = User(name=identity.name, role=identity.role, password_hash="", must_change=False)
            user.openid_subject = identity.subject
            has_groups = session.scalar(select(StudyGroup.name).limit(1)) is not None
            user.sees_all = identity.groups is None and not has_groups
            user.created = session.scalar(select(database.now())) or 0.0
            session.add(user)
            session.flush()
        if identity.groups is not None:
            set_groups_by_claim(database, session, user.name, identity.groups)
        is_changed = user.role != identity.role
        user.role = identity.role
        name = user.name
    if is_changed:
        wait_for_leases()
    return name
