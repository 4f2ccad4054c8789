"""The one tree of errors: each class carries a code and facts, never an HTTP status or a text.

``gateway.api.envelope`` alone turns them into answers. Errors of libraries (Redis, JWT, HTTP client) are translated
into these where they enter, so nothing above ever catches a library's exception::

    GatewayError
    ├── SettingsError            a setting is wrong; stops the start
    ├── NewerSchema              a later version has written to Redis; stops the start
    ├── RequestRefused           the request itself is at fault
    │   ├── BadRequest
    │   ├── PayloadTooLarge
    │   ├── RequestTimeout
    │   ├── TooManySlowUploads
    │   ├── RateLimited
    │   ├── RateLimitKeyMissing
    │   ├── RouteNotFound
    │   ├── MethodNotAllowed
    │   └── LoopDetected, ProxyNotTrusted, CorsRejected
    ├── AuthError                the caller is not identified, or may not make this call
    │   ├── TokenRequired, TokenExpired
    │   ├── TokenInvalid
    │   ├── TooManyWrongTokens
    │   ├── RoleNotAllowed
    │   ├── CookieRequired
    │   ├── CsrfRejected
    │   └── AuthUnavailable
    ├── QueueError               the waiting room refuses the call, or can't decide
    │   ├── RoomNotFound
    │   ├── TooManyRooms
    │   ├── NotEligible
    │   ├── NotInQueue
    │   ├── NotAllowedIn
    │   ├── QueueWaiting
    │   ├── QueueUnavailable
    │   │   └── NoSuchRoom
    │   ├── QueueFailed
    │   ├── QueueStorageFull
    │   ├── RoomClosed
    │   ├── SoldOut
    │   ├── NoDraw, BeaconTooEarly, BeaconKnown
    │   ├── RoomFull, TooManyLineups, PrefetchRefused, TooManyPlaces
    │   ├── TransferNotAllowed, TransferCodeInvalid, TooManyWrongCodes
    │   ├── ChallengeRequired
    │   └── Overloaded
    ├── ConfigError              the configuration could not be refreshed
    │   ├── ConfigUnavailable
    │   │   └── ConfigUnusable
    │   ├── ConfigRefused
    │   └── NotConfigured
    └── UpstreamError            the service could not answer
        ├── UpstreamUnreachable
        │   └── ServiceFailed
        ├── UpstreamTimeout
        ├── NoInstance
        ├── UpstreamBusy
        └── CircuitOpen
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One faulty part of a request: its name, the value as received (shortened), and why it was refused."""

    field: str
    value: str
    reason: str


class GatewayError(Exception):
    """Root of the tree. ``code`` is the stable, language-independent name clients see."""

    code: ClassVar[str] = "INTERNAL_ERROR"


class SettingsError(GatewayError):
    """A setting has a value that is not allowed.

    ``variable`` names the environment variable, ``value`` is what it held (never a secret's value),
    ``allowed`` says in words what would have been accepted.
    """

    code = "SETTINGS"

    def __init__(self, variable: str, value: str, allowed: str) -> None:
        self.variable = variable
        self.value = value
        self.allowed = allowed
        super().__init__(f"{variable}={value!r}: allowed is {allowed}")


class NewerSchema(GatewayError):
    """The keys of a room in Redis are in a form that only a later version of the gateway knows."""

    code = "NEWER_SCHEMA"

    def __init__(self, room: str, found: int, known: int) -> None:
        super().__init__(
            f"a later version of the gateway has written room {room} to Redis (schema {found}; this version knows "
            f"{known}), so this version can't keep its rules. Start the later version, or use another REDIS_URL or "
            "REDIS_KEY_PREFIX"
        )


class RequestRefused(GatewayError):
    """The request itself is at fault."""


class BadRequest(RequestRefused):
    """The request is malformed or ambiguous. ``reason`` is one short English clause without client data."""

    code = "BAD_REQUEST"

    def __init__(self, reason: str, fields: tuple[FieldError, ...] = ()) -> None:
        self.reason = reason
        self.fields = fields
        super().__init__(reason)


class PayloadTooLarge(RequestRefused):
    """The request body is longer than ``limit`` bytes."""

    code = "PAYLOAD_TOO_LARGE"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"more than {limit} bytes")


class RequestTimeout(RequestRefused):
    """The client took too long to send its request. ``reason`` is one short English clause without client data."""

    code = "REQUEST_TIMEOUT"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class TooManySlowUploads(RequestRefused):
    """The client sends its body slowly, and the limit of such clients is reached. ``retry_after`` is in seconds."""

    code = "TOO_MANY_SLOW_UPLOADS"

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("too many slow uploads of one client")


class RateLimited(RequestRefused):
    """The caller calls the route too often. ``retry_after`` is in seconds; None: no wait helps. ``status`` is the
    answer's, as the route file says."""

    code = "RATE_LIMITED"

    def __init__(self, status: int, retry_after: float | None) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__("too many calls")


class RateLimitKeyMissing(RequestRefused):
    """The route limits each caller, and nothing tells this one from others. ``status`` is the answer's, as the route
    file says."""

    code = "RATE_LIMIT_KEY_MISSING"

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__("nothing tells the caller from others")


class RouteNotFound(RequestRefused):
    """The path matches no route and none of the gateway's own paths."""

    code = "ROUTE_NOT_FOUND"


class MethodNotAllowed(RequestRefused):
    """The path is the gateway's own but does not allow this method, or no service gets this method.

    ``allowed`` lists the methods that are allowed.
    """

    code = "METHOD_NOT_ALLOWED"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self.allowed = allowed
        super().__init__(", ".join(allowed))


class LoopDetected(RequestRefused):
    """The request has passed this gateway so often that a route must lead back to the gateway."""

    code = "LOOP_DETECTED"


class ProxyNotTrusted(RequestRefused):
    """Only a trusted proxy may ask about the calls of others."""

    code = "PROXY_NOT_TRUSTED"


class CorsRejected(RequestRefused):
    """A page of another origin requests what the CORS rule of the path does not allow."""

    code = "CORS_REJECTED"


class AuthError(GatewayError):
    """The caller is not identified, or may not make this call."""


class TokenRequired(AuthError):
    """The call needs a token and has none."""

    code = "TOKEN_REQUIRED"


class TokenExpired(AuthError):
    """The token was valid once: its ``exp`` is past, leeway included."""

    code = "TOKEN_EXPIRED"


class TokenInvalid(AuthError):
    """The gateway does not accept the token. ``reason`` is for logs and metrics; it contains no part of the token."""

    code = "TOKEN_INVALID"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class TooManyWrongTokens(AuthError):
    """The client has sent too many tokens that are not an operator's. ``retry_after`` is in seconds."""

    code = "TOO_MANY_WRONG_TOKENS"

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("too many wrong tokens of one client")


class RoleNotAllowed(AuthError):
    """The operator's role does not allow this call."""

    code = "ROLE_NOT_ALLOWED"


class HostNotAllowed(AuthError):
    """The desk does not answer under this host name."""

    code = "HOST_NOT_ALLOWED"


class SessionRequired(AuthError):
    """The call needs a session of the operator's desk, and has none, or one that has ended."""

    code = "SESSION_REQUIRED"


class CookieRequired(AuthError):
    """The room serves visitors, and the client has not brought the cookie that says which one it is."""

    code = "COOKIE_REQUIRED"


class CsrfRejected(AuthError):
    """The request came from an origin from which a cookie alone does not authorize it."""

    code = "CSRF_REJECTED"


class AuthUnavailable(AuthError):
    """There is a token, but the gateway has never fetched a key to check it with."""

    code = "AUTH_UNAVAILABLE"


class QueueError(GatewayError):
    """The waiting room refuses the call, or can't decide."""


class RoomNotFound(QueueError):
    """``?room=`` names no room of this gateway."""

    code = "ROOM_NOT_FOUND"


class TooManyRooms(QueueError):
    """There are as many rooms as may be, or as this client may make (``of_client``). ``retry_after`` is in seconds."""

    code = "TOO_MANY_ROOMS"

    def __init__(self, retry_after: float, *, of_client: bool = False) -> None:
        self.retry_after = retry_after
        super().__init__("this client has made too many rooms" if of_client else "there are too many rooms")


class NotEligible(QueueError):
    """The room is for callers with another token, or with an invitation that is not used up."""

    code = "NOT_ELIGIBLE"


class NotInQueue(QueueError):
    """The caller is neither waiting nor (where that counts) allowed in."""

    code = "NOT_IN_QUEUE"


class NotAllowedIn(QueueError):
    """The caller holds no slot to give up."""

    code = "NOT_ALLOWED_IN"


class RoomClosed(QueueError):
    """The room takes no lineups now. ``opens_at``: when it opens, and ``registers_at``: when it begins to register
    users, in epoch milliseconds; 0: no moment is known. ``retry_after`` is in seconds. ``notice``: what operators tell
    all users of the room, if anything."""

    code = "ROOM_CLOSED"

    def __init__(
        self, room: str, opens_at: int, registers_at: int, retry_after: float, notice: object = None
    ) -> None:
        self.notice = notice
        self.room = room
        self.opens_at = opens_at
        self.registers_at = registers_at
        self.retry_after = retry_after
        super().__init__("the room is closed")


class NoDraw(QueueError):
    """The room has no draw, or none any more."""

    code = "NO_DRAW"


class BeaconTooEarly(QueueError):
    """A beacon's value may be entered only after the close."""

    code = "BEACON_TOO_EARLY"


class BeaconKnown(QueueError):
    """The beacon's value has been entered already, and can't be changed."""

    code = "BEACON_KNOWN"


class QueueWaiting(QueueError):
    """The caller is in line, or registered, and may not pass the gate yet. ``state`` is the room's own state object."""

    code = "QUEUE_WAITING"

    def __init__(self, state: object, retry_after: float) -> None:
        self.state = state
        self.retry_after = retry_after
        super().__init__("waiting")


class QueueUnavailable(QueueError):
    """The room could not be reached (Redis is away, too slow, or holds an unusable value).

    After a time-out the call may or may not have been executed; the client can get the status. ``retry_after`` is in
    seconds.
    """

    code = "QUEUE_UNAVAILABLE"

    def __init__(self, reason: str, retry_after: float = 2.0) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


class NoSuchRoom(QueueUnavailable):
    """No call has made the room, or it was forgotten. Rooms handle this themselves, except in rare races."""

    def __init__(self) -> None:
        super().__init__("the room does not exist")


class QueueFailed(QueueError):
    """A fault of the gateway's own in a call of the room; it is in the log. It says nothing about Redis."""


class QueueStorageFull(QueueError):
    """Redis has no memory for one more user. Nothing was changed; users who have a place keep it.

    ``retry_after`` is in seconds.
    """

    code = "QUEUE_STORAGE_FULL"

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("Redis is at maxmemory")


class SoldOut(QueueError):
    """The room is sold out: a user who is not allowed in has no place, and gets none."""

    code = "SOLD_OUT"


class RoomFull(QueueError):
    """As many users wait in the room as may. Users who have a place keep it. ``retry_after`` is in seconds."""

    code = "ROOM_FULL"

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("as many users wait as may")


class TooManyLineups(QueueError):
    """The user has lined up too often; a place or slot stays. ``retry_after`` is in seconds."""

    code = "TOO_MANY_LINEUPS"

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("too many lineups of one user")


class PrefetchRefused(QueueError):
    """A browser asks for a page that the user may never open, so it gets no place and claims none."""

    code = "PREFETCH_REFUSED"


class TooManyPlaces(QueueError):
    """As many visitors at the caller's address have a place as may have one. ``retry_after`` is in seconds."""

    code = "TOO_MANY_PLACES"
    retry_after = 60.0


class TransferNotAllowed(QueueError):
    """The place belongs to a login, and not to a device, so that it can't be taken to another device by a code."""

    code = "TRANSFER_NOT_ALLOWED"


class TransferCodeInvalid(QueueError):
    """The code is none, has been used or has expired, is for another room, or its visitor has no place any more."""

    code = "TRANSFER_CODE_INVALID"


class TooManyWrongCodes(QueueError):
    """The client has sent too many wrong codes. ``retry_after`` is in seconds."""

    code = "TOO_MANY_WRONG_CODES"

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("too many wrong codes of one client")


class ChallengeRequired(QueueError):
    """The outside service that is asked about visitors does not let this one have a place."""

    code = "CHALLENGE_REQUIRED"


class Overloaded(QueueError):
    """This instance accepts no new users at the moment. ``retry_after`` is in seconds."""

    code = "OVERLOADED"

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("overloaded")


class ConfigError(GatewayError):
    """The Config Server's configuration could not be put in force; the previous one stays in force. ``fields`` say
    why."""

    fields: tuple[FieldError, ...] = ()


class ConfigUnavailable(ConfigError):
    """The Config Server did not answer, or its answer is unusable. ``reason`` contains no secret and no address."""

    code = "CONFIG_UNAVAILABLE"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.fields = (FieldError("server", "", reason),)
        super().__init__(f"no configuration from the Config Server: {reason}")


class ConfigRefused(ConfigError):
    """The configuration has faults, one text for each."""

    code = "CONFIG_REFUSED"

    def __init__(self, issues: tuple[str, ...]) -> None:
        self.fields = tuple(FieldError("configuration", "", fault) for fault in issues)
        super().__init__("; ".join(issues))


class ConfigUnusable(ConfigUnavailable):
    """The Config Server answered, but the answer is unusable. The server is not away; its configuration is unknown."""


class NotConfigured(ConfigError):
    """Nothing is served yet: since the start, every answer of the Config Server has been unusable.

    The answer contains no details, because any client can get it. ``retry_after`` is in seconds.
    """

    code = "CONFIG_UNAVAILABLE"
    retry_after = 5.0


class UpstreamError(GatewayError):
    """The service could not answer. Contains no address, because the client must not learn it."""


class UpstreamUnreachable(UpstreamError):
    """The connection was refused (``phase="connect"``) or lost, or the answer is not HTTP (``"response"``). ``reason``
    is for logs."""

    code = "UPSTREAM_UNREACHABLE"

    def __init__(self, reason: str, phase: str = "response") -> None:
        self.reason = reason
        self.phase = phase
        super().__init__(reason)


class UpstreamTimeout(UpstreamError):
    """The service did not accept the connection (``phase="connect"``) or did not answer (``"response"``) in time, or
    not in the time of the route's circuit breaker (``"breaker"``)."""

    code = "UPSTREAM_TIMEOUT"

    def __init__(self, phase: str) -> None:
        self.phase = phase
        super().__init__(phase)


class TooManyViewers(GatewayError):
    """As many pages of the desk are open at this instance as may be. ``retry_after`` is in seconds."""

    code = "TOO_MANY_VIEWERS"
    retry_after = 10.0


class NoInstance(UpstreamError):
    """``lb://service`` has no instance at the moment."""

    code = "NO_INSTANCE"

    def __init__(self, service: str) -> None:
        self.service = service
        super().__init__(service)


class ServiceFailed(UpstreamUnreachable):
    """The service answered with a ``status`` that counts as a failure, and something else is to answer instead."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"status {status}")


class UpstreamBusy(UpstreamError):
    """The service has as many requests as it may have at a time, and too many wait. ``retry_after`` is in seconds."""

    code = "UPSTREAM_BUSY"

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("too many requests wait for the service")


class CircuitOpen(UpstreamError):
    """The route's circuit breaker lets no call through at the moment. ``retry_after`` is in seconds."""

    code = "CIRCUIT_OPEN"

    def __init__(self, name: str, retry_after: float) -> None:
        self.name = name
        self.retry_after = retry_after
        super().__init__(name)
