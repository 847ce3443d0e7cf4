"""Every error the product raises on purpose.

MinipacsError
├─ NotFound               404  the requested thing does not exist
├─ BadRequest             400  the caller's fault; the hint says what to send instead
├─ NotAllowed             403  this user may not do this
├─ PasswordChangeRequired 403  the password must be changed before anything else
├─ SingleSignOnFailed     403  the OpenID provider's answer is refused
├─ SingleSignOnUnavailable 503 the OpenID provider does not answer
├─ Gone                   410  a link that has ended or was revoked
├─ TooLarge               413  an upload breaks a limit
├─ DiskFull               507  the disk has no room for an upload
├─ TooManyAttempts        429  too many wrong passwords
├─ TooManyListeners       503  more pages listen than the front door can serve
├─ FrontDoorBusy          503  too many requests wait for the same thing
├─ ViewerMissing          503  the OHIF build was not prepared
├─ SettingsError               a setting is missing or wrong; the hint names it
├─ CatalogueUnavailable   503  the database does not answer
├─ AuditUnavailable       503  an act cannot be noted, so it is not answered
├─ NotDelivered                a webhook or a mail server did not take a notification
├─ PoolUnavailable        503  the Dask scheduler does not answer
├─ ArchiveError           502
│  ├─ ArchiveUnreachable  503  Orthanc does not answer
│  ├─ ArchiveRefused           Orthanc answered, but refused the request
│  └─ NotInArchive        404
├─ Unreadable             422  a file or object breaks a rule of the Standard
│  ├─ BreaksLimit         422  a limit that a setting has
│  │  ├─ ExceedsMemory    422  it claims or takes more memory than it may
│  │  └─ TooSlow          422  it takes more time than it may
│  ├─ NotAVolume          422  the series has no regular 3-D geometry
│  ├─ NoPicture           422  catalogued, but its pixels cannot be shown
│  ├─ NotDicom            422  the ETL's: the file is not DICOM
│  └─ Truncated           422  the ETL's: the DICOM file ends too early
└─ EngineError            500
   ├─ EngineUnavailable   503  not installed or not configured; the hint says what to do
   ├─ WrongPrompts        400  needed and absent, or given and unusable
   └─ EngineFailed             ran and broke, crashed, or exceeded its time
      └─ EngineExceedsMemory   took more memory than it may: another attempt would, too

A message names the thing and the rule it breaks; the hint is the remedy. Programming errors stay
`ValueError` and `TypeError`.
"""

CONTROL_CHARACTERS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029), " ")
"""Of ASCII and Latin-1, and the line separators, each as a space: they forge a line of a log, command a terminal."""


class MinipacsError(Exception):
    """An error with a sentence for the user and, where there is one, a remedy.

    A sentence that quotes a foreign object has a space in place of every control character: it enters logs, mails,
    pages and terminals.
    """

    status = 500
    retry_after_s = 0
    """Seconds after which the same request may succeed (RFC 9110 10.2.3); 0 where nothing is known."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message if message.isprintable() else message.translate(CONTROL_CHARACTERS)
        self.hint = hint

    @property
    def code(self) -> str:
        """The class's name in snake_case: the `code` of the one JSON error shape."""
        name = type(self).__name__
        return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))

    def as_json(self) -> dict[str, dict[str, str]]:
        """The one JSON error shape: `{"error": {"code", "message", "hint"}}`."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class NotFound(MinipacsError):
    """The requested thing does not exist."""

    status = 404


class BadRequest(MinipacsError):
    """The caller's fault; the hint says what to send instead."""

    status = 400


class NotAllowed(MinipacsError):
    """This user may not do this."""

    status = 403


class PasswordChangeRequired(MinipacsError):
    """The user's password must be changed before anything else."""

    status = 403


class SingleSignOnFailed(MinipacsError):
    """What the OpenID provider answered is refused: nobody is logged in by it."""

    status = 403


class SingleSignOnUnavailable(MinipacsError):
    """The OpenID provider does not answer, or not as the protocol says."""

    status = 503


class TooManyAttempts(MinipacsError):
    """Too many wrong passwords; the hint says how long to wait."""

    status = 429


class TooLarge(MinipacsError):
    """An upload breaks a limit."""

    status = 413


class DiskFull(MinipacsError):
    """The disk has no room for what is sent."""

    status = 507


class TooManyListeners(MinipacsError):
    """More pages listen than the front door can serve."""

    status = 503


class FrontDoorBusy(MinipacsError):
    """Too many requests wait for the same thing."""

    status = 503
    retry_after_s = 5


class Gone(MinipacsError):
    """A link that has ended or was revoked."""

    status = 410


class ViewerMissing(MinipacsError):
    """The OHIF build was not prepared."""

    status = 503


class SettingsError(MinipacsError):
    """A setting is missing or wrong; the hint names it."""


class CatalogueUnavailable(MinipacsError):
    """The database does not answer."""

    status = 503


class AuditUnavailable(MinipacsError):
    """An act cannot be noted, so it is not answered."""

    status = 503


class PoolUnavailable(MinipacsError):
    """The Dask scheduler does not answer."""

    status = 503


class NotDelivered(MinipacsError):
    """A webhook or a mail server did not take a notification."""


class ArchiveError(MinipacsError):
    """Something between us and Orthanc."""

    status = 502


class ArchiveUnreachable(ArchiveError):
    """Orthanc does not answer."""

    status = 503
    retry_after_s = 5


class ArchiveRefused(ArchiveError):
    """Orthanc answered, but refused the request."""


class NotInArchive(ArchiveError):
    """Orthanc does not hold this resource."""

    status = 404


class Unreadable(MinipacsError):
    """A file or object breaks a rule of the Standard."""

    status = 422


class BreaksLimit(Unreadable):
    """What was sent breaks a limit.

    `setting`: the one that has the limit, `limit_value`: what it was; empty and 0 where no setting would help.
    """

    def __init__(self, message: str, hint: str = "", *, setting: str = "", limit_value: int = 0) -> None:
        super().__init__(message, hint)
        self.setting = setting
        self.limit_value = limit_value


class ExceedsMemory(BreaksLimit):
    """What was sent claims, unpacks to or needs more memory than it may take: bytes."""


class TooSlow(BreaksLimit):
    """What was sent takes more time than it may: seconds."""


class NotAVolume(Unreadable):
    """The series has no regular three-dimensional geometry."""


class NoPicture(Unreadable):
    """The object is catalogued, but its pixels cannot be shown."""


class EngineError(MinipacsError):
    """Something about a segmentation engine."""


class EngineUnavailable(EngineError):
    """Not installed or not configured; the hint says what to do."""

    status = 503


class WrongPrompts(EngineError):
    """Prompts are needed and absent, or given and unusable."""

    status = 400


class EngineFailed(EngineError):
    """The engine ran and broke, crashed, or exceeded its time."""


class EngineExceedsMemory(EngineFailed):
    """The engine took more memory than it may; another attempt would only repeat that."""
