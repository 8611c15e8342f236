"""What can go wrong, as facts: each error holds them, and builds its own text.

    PubSubError
    ├── RequestError            a client asked for something that it cannot have
    │   ├── Invalid             400  invalid
    │   ├── Unauthenticated     401  unauthenticated
    │   │   └── TokenExpired    401  token_expired    (ends a connection)
    │   ├── Forbidden           403  forbidden
    │   ├── NotFound            404  not_found
    │   ├── MethodNotAllowed    405  method_not_allowed
    │   ├── TooLarge            413  too_large
    │   ├── UnsupportedMedia    415  unsupported_media_type
    │   ├── RateLimited         429  rate_limited
    │   └── Unavailable         503  unavailable
    ├── StartError              the server cannot start: one line, exit code 1
    │   ├── ConfigurationError  a setting is wrong or unknown
    │   │   └── WronglyWritten  seen as soon as it was read, and named as it stands there
    │   ├── DatabaseError       the database cannot be opened or migrated
    │   └── ListenError         the address cannot be listened on
    └── CommandError            a command of a client failed: one line, exit code 1

The code and the status of a RequestError are the contract; doors translate them
(an HTTP response, a Socket.IO acknowledgement, an `error` event) in one place each.
"""

from __future__ import annotations

from typing import ClassVar


class PubSubError(Exception):
    """Every error that this package raises on purpose."""


class RequestError(PubSubError):
    """A refusal that the client is told about."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid"

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after

    def body(self) -> dict[str, str]:
        """The error as every client sees it."""
        return {"status": "error", "code": self.code, "message": self.message}


class Invalid(RequestError):
    """The request is malformed; sending it again cannot help."""


class Unauthenticated(RequestError):
    status = 401
    code = "unauthenticated"


class TokenExpired(Unauthenticated):
    """A connection ends because its token did."""

    code = "token_expired"


class Forbidden(RequestError):
    status = 403
    code = "forbidden"


class NotFound(RequestError):
    status = 404
    code = "not_found"


class MethodNotAllowed(RequestError):
    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class TooLarge(RequestError):
    status = 413
    code = "too_large"


class UnsupportedMedia(RequestError):
    status = 415
    code = "unsupported_media_type"


class RateLimited(RequestError):
    status = 429
    code = "rate_limited"


class Unavailable(RequestError):
    """Nothing was stored; the same request may succeed later."""

    status = 503
    code = "unavailable"

    def __init__(self, message: str, *, retry_after: int | None = 1) -> None:
        super().__init__(message, retry_after=retry_after)


class StartError(PubSubError):
    """The server cannot start. The text is one line that says what to do."""


class ConfigurationError(StartError):
    """A setting is wrong. The text names it by its variable, `PUBSUB_DATABASE_URL`."""


class WronglyWritten(ConfigurationError):
    """One line a problem; each names what was written, and where."""


class DatabaseError(StartError):
    pass


class ListenError(StartError):
    pass


class CommandError(PubSubError):
    """What a command asked of a server did not happen. The text is one line that says why."""
