"""Filters: how a route changes a request before it is sent to the service, and the response to the client.

Each filter changes a ``RequestRewrite``, which starts as the client's request. Headers are edited and the request is
sent only after all filters have run. Names, arguments and meaning are Spring Cloud Gateway's;
``docs/reference/filters.md`` shows each. As there, the response is edited in the reverse order of the filters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.errors import BadRequest
from gateway.resilience.breaker import BreakerPolicy
from gateway.resilience.rate_limit import RateLimitPolicy
from gateway.resilience.retry import RetryPolicy
from gateway.routing.attributes import RequestAttributes
from gateway.routing.filters.edits import HeaderEdit
from gateway.routing.spec.arguments import Arguments
from gateway.routing.spec.issues import RuleViolation

_VARIABLE = re.compile(r"\{([^{}]*)\}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Characters that are no blanks in Unicode, but that JavaScript and older versions of Java trim.
_TRIMMED_ELSEWHERE = "\u180e\ufeff"
_NOT_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# These headers frame the message or belong to the connection. If a filter changed them, the gateway and the service
# could disagree on where a request ends (request smuggling).
_FRAMING: Final = frozenset(
    ["connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"]
)


@dataclass(frozen=True, slots=True)
class DirectResponse:
    """A response that the gateway sends itself, without calling the service."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Fallback:
    """What answers when a call through a circuit breaker fails: the route that takes ``raw_path``, or ``answer``.

    ``for_errors_only``: it does not stand in for an open breaker or a service that is too slow.
    """

    raw_path: str = ""
    answer: DirectResponse | None = None
    for_errors_only: bool = False


class RequestRewrite:
    """The request that will be sent to the service. ``raw_path`` and ``raw_query`` (None: no query) are encoded.

    ``forwarding_edits`` are the edits of headers about the client, which are also among ``request_edits``. They replace
    the values that the gateway would set itself. ``status`` replaces the service's status, ``body_limit`` (bytes)
    limits the request's body, ``answer`` is sent instead of calling the service. ``retry``: when the call is repeated.
    ``breaker`` and ``fallback``: the circuit breaker that the call passes, and what answers when it fails.
    ``rate_limits``: how often a caller may make the call.
    """

    __slots__ = (
        "answer",
        "body_limit",
        "breaker",
        "fallback",
        "forwarding_edits",
        "prefixed",
        "preserve_host",
        "rate_limits",
        "raw_path",
        "raw_query",
        "request",
        "request_edits",
        "response_edits",
        "retry",
        "status",
        "variables",
    )

    def __init__(self, request: RequestAttributes, variables: Mapping[str, str]) -> None:
        self.request = request
        self.variables = variables
        self.raw_path = request.target.raw_path
        self.raw_query = request.target.raw_query
        self.request_edits: list[HeaderEdit] = []
        self.forwarding_edits: list[HeaderEdit] = []
        self.response_edits: list[HeaderEdit] = []
        self.preserve_host = False
        self.prefixed = False
        self.status: int | None = None
        self.body_limit: int | None = None
        self.answer: DirectResponse | None = None
        self.retry: RetryPolicy | None = None
        self.breaker: BreakerPolicy | None = None
        self.fallback: Fallback | None = None
        self.rate_limits: tuple[RateLimitPolicy, ...] = ()


ROUTE_ID_PLACE: Final = "{routeId}"
"""Stands for the id of the route in the text of a filter, which does not know it."""


class Filter(Protocol):
    """One filter of a route. ``str()`` of it is Spring's text for ``/actuator/gateway/routes``, with ``ROUTE_ID_PLACE``
    for the id of the route."""

    @property
    def needs(self) -> frozenset[str]:
        """The variables that its templates use. The route's predicates must capture each of them."""
        ...

    @property
    def answers(self) -> bool:
        """Whether the filter always answers itself, so that the route needs no service."""
        ...

    @property
    def by_path(self) -> bool:
        """Whether the filter changes the path only, depending on nothing but the path and the variables."""
        ...

    @property
    def fixed(self) -> bool:
        """Whether the filter does the same for every request, and changes neither path nor query."""
        ...

    def contribute(self, rewrite: RequestRewrite) -> None: ...


@dataclass(frozen=True, slots=True)
class Template:
    """A text with ``{variables}`` that the route's predicates capture."""

    source: str
    parts: tuple[str | tuple[str], ...]

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(part[0] for part in self.parts if not isinstance(part, str))

    def expand(self, variables: Mapping[str, str], encode: Callable[[str], str] = str) -> str:
        """The text with the variables filled in, each passed through ``encode``."""
        return "".join(part if isinstance(part, str) else encode(variables[part[0]]) for part in self.parts)

    def encoded(self, literal: Callable[[str], str]) -> Template:
        """The same template with its literal parts encoded."""
        return Template(
            self.source, tuple(literal(part) if isinstance(part, str) else part for part in self.parts)
        )


def parse_template(source: str) -> Template:
    """Split a text at its variables. Raises RuleViolation (rule ``argument``) for a brace outside of a variable."""
    parts: list[str | tuple[str]] = []
    at = 0
    for match in _VARIABLE.finditer(source):
        parts.extend((source[at : match.start()], (match[1],)))
        at = match.end()
    parts.append(source[at:])
    if any(isinstance(part, str) and ("{" in part or "}" in part) for part in parts):
        raise RuleViolation("argument", f"{source!r}: a brace that belongs to no {{variable}}")
    return Template(source, tuple(part for part in parts if part))


@dataclass(frozen=True, slots=True)
class LeadingSlashCheck:
    """What a filter makes of a path, and the warning if it can leave a path of the route without a leading slash."""

    becomes: Callable[[str], str]
    warning: str


@dataclass(frozen=True, slots=True)
class FunctionFilter:
    """A filter made of one function. ``description`` is Spring's text. ``slash_check`` is set if the filter can leave
    some paths without a leading slash."""

    description: str
    apply: Callable[[RequestRewrite], None]
    needs: frozenset[str] = frozenset()
    answers: bool = False
    by_path: bool = False
    slash_check: LeadingSlashCheck | None = None
    fixed: bool = False

    def contribute(self, rewrite: RequestRewrite) -> None:
        self.apply(rewrite)

    def __str__(self) -> str:
        return self.description


def header_name(args: Arguments, name: str = "name", default: str = "") -> str:
    """Read an argument that names a header which a filter may change."""
    text = args.text(name, default)
    if _HEADER_NAME.fullmatch(text) is None:
        raise args.wrong(f"{text!r} is no name of a header")
    if text.lower() in _FRAMING:
        raise args.wrong(f"{text} belongs to the connection and is not a filter's to change")
    return text


def is_header_name(text: str) -> bool:
    """Whether a header may have this name."""
    return _HEADER_NAME.fullmatch(text) is not None


def header_value(args: Arguments, name: str = "value") -> Template:
    """Read an argument that is a header's value, which may hold variables."""
    text = args.text(name)
    if _NOT_IN_VALUE.search(text):
        raise args.wrong(f"{name} holds a control character")
    return parse_template(text)


def for_service(value: Template, variables: Mapping[str, str]) -> str:
    """A header's value for a service, with its variables filled in.

    Raises BadRequest if the service would read another value: servers drop blanks at the ends, so for ``acme%20`` in
    the path a service would read ``acme``.
    """
    text = value.expand(variables)
    if text != text.strip().strip(_TRIMMED_ELSEWHERE) and value.needs:
        raise BadRequest("a header made of the request has a blank at an end")
    return text


def needed(templates: Iterable[Template]) -> frozenset[str]:
    return frozenset().union(*(template.needs for template in templates))
