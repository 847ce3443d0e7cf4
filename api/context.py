"""The application's context: what every view needs, made once for a process, and as each caller may see it."""

import threading
from base64 import b64encode
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, cast

import urllib3
from flask import current_app, g

from api.auth.password_checks import PasswordChecks
from api.auth.proof_lookup import ProofLookup
from api.auth.session_use import SessionUseRecorder
from api.dicomweb.archive_answer import make_archive_connections
from api.dicomweb.frame_client import FrameClient
from api.results.label_filter import FilteredLabelMapCache
from api.web.wait_limits import ArchiveWaits, WaitLimits
from minipacs.database import Database
from minipacs.groups.restricted_database import RestrictedConnections, RestrictedDatabase
from minipacs.secrets import get_or_create_secret, orthanc_password
from minipacs.settings import Settings

if TYPE_CHECKING:
    from api.auth.accounts import Principal
    from api.auth.openid.provider import OpenIdProvider
    from minipacs.archive.client import Archive

MAX_CONNECTIONS = 32
"""To Orthanc, kept for the gateway."""
NOBODY = ""
"""The member of no group: who makes a request without login sees no study."""


class AppContext:
    """Settings, the catalogue's database and the archive. One for each process, shared by its threads.

    Its database and its archive show every study.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database_url)
        self.proofs = ProofLookup(self.database)
        self.passwords = PasswordChecks(self.database, self.proofs, get_or_create_secret(settings.home, "session_key"))
        self.session_uses = SessionUseRecorder(self.database)
        self.filtered_label_maps = FilteredLabelMapCache()
        self.frame_client = FrameClient(settings.orthanc_url)
        self.wait_limits = WaitLimits(settings.http_threads)
        self.archive_waits = ArchiveWaits(settings.http_threads)
        self._restricted_connections: RestrictedConnections | None = None
        self._archive: Archive | None = None
        self._lock = threading.Lock()

    @property
    def archive(self) -> "Archive":
        """The archive's client, opened at its first use."""
        with self._lock:
            if self._archive is None:
                from minipacs.archive.client import Archive

                self._archive = Archive(self.settings, wait=self.archive_waits.wait)
            return self._archive

    def restrict_to(self, principal: "Principal | None") -> "AppContext":
        """The context as a principal may see it: this one, or one that hides studies. Nobody sees no study."""
        member = principal.restricted_to if principal is not None else NOBODY
        if member is None:
            return self
        with self._lock:
            if self._restricted_connections is None:
                self._restricted_connections = RestrictedConnections(self.database)
        return RestrictedContext(self, self._restricted_connections.for_member(member))

    @cached_property
    def openid_provider(self) -> "OpenIdProvider | None":
        """The provider of the single sign-on; None where none is set up."""
        if not self.settings.openid_issuer:
            return None
        from api.auth.openid.provider import OpenIdProvider

        return OpenIdProvider(self.settings, self.wait_limits)

    @cached_property
    def orthanc_connections(self) -> urllib3.PoolManager:
        """Connections for the gateway, whose answers stream through."""
        return make_archive_connections(MAX_CONNECTIONS)

    @cached_property
    def orthanc_authorization(self) -> str:
        """The value of the `Authorization` header that Orthanc takes from us."""
        password = orthanc_password(self.settings)
        return "Basic " + b64encode(f"{self.settings.orthanc_user}:{password}".encode()).decode()

    @property
    def sees_all(self) -> bool:
        """Whether every study is visible."""
        return True

    def is_study_visible(self, study_instance_uid: str) -> bool:
        """Whether this study is visible, be it in the catalogue or not."""
        return study_instance_uid in self.keep_visible([study_instance_uid])

    def keep_visible(self, study_instance_uids: Iterable[str]) -> set[str]:
        """Those of these studies that are visible, be they in the catalogue or not."""
        return set(study_instance_uids)

    def close(self) -> None:
        """Close every connection to the archive and to the database."""
        with self._lock:
            if self._archive is not None:
                self._archive.close()
            self.frame_client.close()
            self.orthanc_connections.clear()
            self.session_uses.close()
            self.proofs.close()
            if self._restricted_connections is not None:
                self._restricted_connections.close()
            self.database.close()


class RestrictedContext(AppContext):
    """The context as one member of groups may see it: its database and its archive hide all other studies."""

    database: RestrictedDatabase

    def __init__(self, shared: AppContext, database: RestrictedDatabase) -> None:
        self.settings = shared.settings
        self.proofs = shared.proofs
        self.passwords = shared.passwords
        self.session_uses = shared.session_uses
        self.filtered_label_maps = shared.filtered_label_maps
        self.frame_client = shared.frame_client
        self.wait_limits = shared.wait_limits
        self.archive_waits = shared.archive_waits
        self.database = database
        self._shared = shared

    @property
    def archive(self) -> "Archive":
        """The archive's client, which finds visible studies alone."""
        from api.restricted_archive import RestrictedArchive

        return RestrictedArchive(self._shared.archive, self.is_study_visible)

    @property
    def orthanc_connections(self) -> urllib3.PoolManager:
        """Connections for the gateway, which looks at each path first."""
        return self._shared.orthanc_connections

    @property
    def orthanc_authorization(self) -> str:
        """The value of the `Authorization` header that Orthanc takes from us."""
        return self._shared.orthanc_authorization

    @property
    def sees_all(self) -> bool:
        """Whether every study is visible."""
        return False

    def keep_visible(self, study_instance_uids: Iterable[str]) -> set[str]:
        """Those of these studies that are visible, be they in the catalogue or not."""
        return self.database.keep_visible(study_instance_uids)

    def close(self) -> None:
        """Nothing: the connections are shared."""


def context() -> AppContext:
    """The context of this request: it shows what its user may see. Nobody sees no study."""
    shared = shared_context()
    user: Principal | None = g.get("user")
    if user is not None and user.sees_all:
        return shared

    known: tuple[Principal | None, AppContext] | None = g.get("restricted_context")
    if known is None or known[0] is not user:
        known = g.restricted_context = (user, shared.restrict_to(user))
    return known[1]


def shared_context() -> AppContext:
    """The context that shows every study: for accounts, login, sessions, the audit and signed links, nothing else."""
    return cast(AppContext, current_app.extensions["minipacs"])
