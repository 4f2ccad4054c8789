"""CORS as Spring configures it: parses and checks rules, and decides about one request by one rule. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.routing.calls import METHODS
from gateway.routing.spec.document import plain_name
from gateway.routing.spec.issues import RuleViolation, unknown
from gateway.routing.spec.model import CORS_RULE
from gateway.routing.spec.value_types import ValueType

_CAPITAL = re.compile(r"[A-Z]")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/]+|null", re.IGNORECASE)
# A method, a header's name, or "*".
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# A comma between the ports of a pattern (``[8080,8081]``) is no separator.
_COMMA = re.compile(r",(?![^\[\]]*\])")
_PORTS = re.compile(r"(.*):\[(\*|\d{1,5}(?:,\d{1,5})*)\]")

# A host as browsers send it: a name without empty labels, or an IPv6 address.
_SENT = re.compile(
    r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9_~-]+(?:\.[a-z0-9_~-]+)*\.?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?"
)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_LAST_PORT: Final = 65_535
MAX_REQUESTED_HEADERS: Final = 100
"""How many headers a preflight may ask for. Each is looked at, and no page sends as many."""


@dataclass(frozen=True, slots=True)
class CorsRule:
    """What pages of other origins may do on some paths. An empty tuple allows nothing; one with ``"*"`` everything.

    ``allowed_methods`` defaults to GET and HEAD as in Spring. ``max_age`` is in seconds; None leaves the header out.
    ``origin_regexes`` are the compiled patterns.
    """

    allowed_origins: tuple[str, ...] = ()
    allowed_origin_patterns: tuple[str, ...] = ()
    allowed_methods: tuple[str, ...] = ("GET", "HEAD")
    allowed_headers: tuple[str, ...] = ()
    exposed_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    allow_private_network: bool = False
    max_age: int | None = None
    origin_regexes: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        compiled = tuple(map(_compile_origin, self.allowed_origin_patterns))
        object.__setattr__(self, "origin_regexes", compiled)


def parse_cors(values: Mapping[str, object]) -> CorsRule:
    """Make a rule from plain values as in the file. Raises RuleViolation (rule ``cors``)."""
    read: dict[str, object] = {}
    for key, value in values.items():
        known = CORS_RULE.by_plain_name.get(plain_name(key))
        if known is None:
            raise RuleViolation("cors", unknown("CORS key", key, CORS_RULE.names))
        name = _CAPITAL.sub(lambda letter: f"_{letter[0].lower()}", known.name)
        read[name] = _single(key, value, known.holds) if isinstance(known.holds, ValueType) else _texts(value)
    rule = CorsRule(**read)  # type: ignore[arg-type]
    # These names are written into responses. Anything but a name would break the response or inject a header.
    for name in (*rule.allowed_methods, *rule.allowed_headers, *rule.exposed_headers):
        if _NAME.fullmatch(name) is None:
            raise RuleViolation("cors", f"{name!r} is neither a method's nor a header's name")
    if rule.allow_credentials and "*" in rule.allowed_origins:
        raise RuleViolation(
            "cors", "allowCredentials with the origin '*' is refused by every browser; name the origins"
        )
    if rule.allow_private_network and "*" in rule.allowed_origins:
        raise RuleViolation(
            "cors",
            "allowPrivateNetwork with the origin '*' opens a private network to every page; name the origins",
        )
    for origin in rule.allowed_origins:
        if origin != "*" and _ORIGIN.fullmatch(origin) is None:
            raise RuleViolation("cors", f"{origin!r} is no origin; write scheme://host[:port] without a path")
    return rule


def doubtful_values(rule: CorsRule) -> tuple[str, ...]:
    """Warnings about values that are allowed but probably do not work as the operator expects."""
    found = []
    if rule.allow_credentials and "*" in rule.exposed_headers:
        found.append(
            "exposedHeaders '*' with allowCredentials exposes nothing: for a request with credentials browsers read "
            "'*' as the name of a header; name the headers"
        )
    for key, origins, reason_of in (
        ("allowedOrigins", rule.allowed_origins, _why_no_origin),
        ("allowedOriginPatterns", rule.allowed_origin_patterns, _why_no_pattern),
    ):
        found += (f"{key}: {each!r} {why}" for each in origins if each != "*" and (why := reason_of(each)))
    for method in rule.allowed_methods:
        if method != "*" and method not in METHODS:
            upper = method.upper()
            said = f"write {upper}" if upper in METHODS else unknown("method", method, METHODS)
            found.append(
                f"allowedMethods: {method!r} allows nothing, since methods are compared with regard to case: {said}"
            )
    return tuple(found)


def _why_no_origin(origin: str) -> str:
    """Why no browser sends ``origin``, and what to do; empty if a browser may send it."""
    if "*" in origin:
        return "is no pattern, so that it matches nothing: write it under allowedOriginPatterns"
    return "" if origin.lower() == "null" else _why_never_sent(origin.lower())


def _why_no_pattern(pattern: str) -> str:
    """Why a pattern matches no origin that browsers send, or fewer than it seems to, and what to do; else empty."""
    scheme, mark, rest = pattern.partition("://")
    if not mark:
        return (
            "matches nothing: '*' ends before a slash, so write the scheme too, as in https://*.example.com"
        )
    ports = _PORTS.fullmatch(pattern)
    host = rest
    if ports is not None:
        host = ports[1].partition("://")[2]
        for port in () if ports[2] == "*" else ports[2].split(","):
            if why := _why_never_sent(f"{scheme}://a:{port}"):
                return f"{why} (port {port})"
    elif rest.endswith(":*"):
        host = rest[:-2]
        # Development servers use various ports.
        if host not in ("localhost", "127.0.0.1", "[::1]"):
            return "matches only origins with a port, and browsers send none for 443 and 80: write :[*] for any or none"
    if pattern != pattern.lower():
        return "matches nothing: browsers send origins in small letters"
    # "1" replaces a star, because it is valid both in a name and in a port.
    return _why_never_sent(
        f"{'http' if scheme == '*' else scheme.replace('*', 'a')}://{host.replace('*', '1')}"
    )


def _why_never_sent(origin: str) -> str:
    """Why no browser sends ``origin``, which is in lower case, and what to do; empty if a browser may send it."""
    if not origin.isascii():
        return "matches nothing: browsers send names beyond ASCII as xn--…"
    if "/" in origin.partition("://")[2]:
        return "matches nothing: an origin has no path, and no slash at its end"
    found = _SENT.fullmatch(origin)
    if found is None:
        return "matches nothing: no browser sends such an origin; write scheme://host[:port]"
    scheme, port = found.groups()
    if port is None:
        return ""
    if port == _DEFAULT_PORTS.get(scheme):
        return f"matches nothing: browsers leave out the port {port} of {scheme}; leave it out too"
    return "" if str(int(port)) == port and int(port) <= _LAST_PORT else f"matches nothing: {port} is no port"


def _texts(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else _COMMA.split(str("" if value is None else value))
    return tuple(text for item in items if (text := str(item).strip()))


def _single(key: str, value: object, of: ValueType[object]) -> object:
    read = of.read(str(value))
    if read is None:
        raise RuleViolation("cors", f"{key} must be {of.wanted}, not {value!r}")
    return read


def _compile_origin(pattern: str) -> re.Pattern[str]:
    """Compile an origin pattern. ``*`` matches any number of characters except ``/``. ``:[8080,8081]`` at the end
    matches one of these ports, ``:[*]`` any port or none."""
    if pattern == "*":
        return re.compile(".*")
    ports = ""
    if (match := _PORTS.fullmatch(pattern)) is not None:
        pattern = match[1]
        ports = r"(?::\d+)?" if match[2] == "*" else f":(?:{match[2].replace(',', '|')})"
    first, *others = map(re.escape, pattern.split("*"))
    # The text between two stars is matched at its first occurrence, without backtracking: that takes linear time.
    between = "".join(f"(?>[^/]*?{text})" for text in others[:-1])
    return re.compile(first + between + (f"[^/]*{others[-1]}" if others else "") + ports)


Headers = tuple[tuple[str, str], ...]

_VARY: Final[Headers] = (
    ("Vary", "Origin"),
    ("Vary", "Access-Control-Request-Method"),
    ("Vary", "Access-Control-Request-Headers"),
)
_SENT_ORIGIN = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*)://([A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?"
)
# What a preflight's response may repeat from the request: the name of a header and nothing else.


class CorsDecision(NamedTuple):
    """Whether the request may go on, and the CORS headers of its response."""

    allowed: bool
    headers: Headers


class CorsRequest(NamedTuple):
    """The parts of a request that CORS depends on. ``origins``: all its ``Origin`` headers. ``own``: they name the
    gateway itself. ``requested_method`` and ``requested_headers`` are those of a preflight; None and "" if absent.
    ``from_public_network``: the browser asks whether a page of a public network may call into a private one."""

    method: str
    origins: Sequence[str]
    own: bool = False
    requested_method: str | None = None
    requested_headers: str = ""
    from_public_network: bool = False

    @property
    def is_preflight(self) -> bool:
        """Whether the request is a preflight: the browser asks what it may send."""
        return self.method == "OPTIONS" and bool(self.origins) and self.requested_method is not None


def evaluate_cors(rule: CorsRule, request: CorsRequest) -> CorsDecision:
    """Decide about one request on a path to which ``rule`` applies."""
    if not request.origins or request.own:
        return CorsDecision(True, _VARY)
    origin = request.origins[0] if len(request.origins) == 1 else ""
    allowed_origin = _allowed_origin(rule, origin)
    preflight = request.is_preflight
    if preflight and request.requested_headers.count(",") >= MAX_REQUESTED_HEADERS:
        return CorsDecision(False, _VARY)
    methods = _allowed_methods(rule, (request.requested_method or "") if preflight else request.method)
    wanted = _names(request.requested_headers) if preflight else []
    names = _allowed_names(rule, wanted)
    if allowed_origin is None or not methods or (wanted and not names):
        return CorsDecision(False, _VARY)
    headers = [*_VARY, ("Access-Control-Allow-Origin", allowed_origin)]
    if preflight:
        headers.append(("Access-Control-Allow-Methods", ",".join(methods)))
        if names:
            headers.append(("Access-Control-Allow-Headers", ", ".join(names)))
    if rule.exposed_headers:
        headers.append(("Access-Control-Expose-Headers", ", ".join(rule.exposed_headers)))
    if rule.allow_credentials:
        headers.append(("Access-Control-Allow-Credentials", "true"))
    if preflight and request.from_public_network and rule.allow_private_network:
        headers.append(("Access-Control-Allow-Private-Network", "true"))
    if preflight and rule.max_age is not None:
        headers.append(("Access-Control-Max-Age", str(rule.max_age)))
    return CorsDecision(True, tuple(headers))


def allows_credentials(rule: CorsRule | None, origin: str) -> bool:
    """Whether a page of ``origin`` may act with the cookies of the user who has it open."""
    return rule is not None and rule.allow_credentials and _allowed_origin(rule, origin) is not None


def is_same_origin(origin: str, scheme: str, host: str, port: str) -> bool:
    """Whether ``origin`` is the origin that the request was sent to. ``port`` counts; a port in ``host`` does not."""
    match = _SENT_ORIGIN.fullmatch(origin)
    if match is None:
        return False
    of_scheme = match[1].lower()
    name = host if host.endswith("]") else re.sub(r":\d*\Z", "", host)
    return (of_scheme, match[2].lower(), match[3] or _DEFAULT_PORTS.get(of_scheme)) == (
        scheme,
        name.lower(),
        port,
    )


def _allowed_origin(rule: CorsRule, origin: str) -> str | None:
    """The value of ``Access-Control-Allow-Origin``: the origin, or ``*``; None if the origin is not allowed."""
    if not origin or not origin.isascii():
        return None
    if "*" in rule.allowed_origins:
        return "*"
    lowered = origin.lower()
    if any(lowered == each.lower() for each in rule.allowed_origins):
        return origin
    # A pattern never matches "null", because every sandboxed page has that origin.
    if _SENT_ORIGIN.fullmatch(origin) and any(each.fullmatch(origin) for each in rule.origin_regexes):
        return origin
    return None


def _allowed_methods(rule: CorsRule, wanted: str) -> tuple[str, ...]:
    if "*" in rule.allowed_methods:
        return (wanted,) if _NAME.fullmatch(wanted) else ()
    return rule.allowed_methods if wanted in rule.allowed_methods else ()


def _names(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]


def _allowed_names(rule: CorsRule, wanted: list[str]) -> list[str]:
    """The wanted headers that are allowed. The browser blocks the page's request if one is missing."""
    if "*" in rule.allowed_headers:
        return [name for name in wanted if _NAME.fullmatch(name)]
    known = {name.lower() for name in rule.allowed_headers}
    return [name for name in wanted if name.lower() in known]
