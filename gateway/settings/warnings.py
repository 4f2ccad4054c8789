"""Warnings about values that are allowed in the environment but probably not intended. Each is one line: what is set,
what it means, what to do. Nothing is looked up: no name, no file, no network."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from gateway.settings.discovery import unread_zones
from gateway.settings.model import TABLE, Settings
from gateway.settings.redis_address import parse_redis_address
from gateway.settings.spelling import NameIndex, looks_like, nearest
from gateway.settings.spring import known as springs
from gateway.settings.spring.environ import VARIABLES, SpringEnviron, understood
from gateway.settings.spring.names import as_variable
from gateway.settings.spring.table import NAMES
from gateway.settings.tracing import OPENTELEMETRY

MIN_SECRET_LENGTH: Final = 16
MIN_FOLLOWING_SECONDS: Final = 30.0

# Names with these beginnings belong to the gateway alone, so an unknown one among them is a mistake.
_OWN_NAMESPACES: Final = (
    "ALLOWED_IN_",
    "CONFIG_SERVER_",
    "EMBEDDED_REDIS_",
    "OVERLOAD_",
    "QUEUE_",
    "REQUEST_BODY_",
    "REQUEST_HEAD_",
    "SLOW_DOWNLOADS_",
    "SLOW_UPLOADS_",
    "SSE_",
    "STREAM_TOKEN_",
    "WEBSOCKET_",
)
# Variables that Kubernetes and Docker set for each existing service: QUEUE_PORT_80_TCP_ADDR, QUEUE_SERVICE_HOST.
_SERVICE_LINK = re.compile(
    r".+_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_.+)?)?|NAME|ENV_.+)"
)
_UNITS = re.compile(r"_(SECONDS|SECS?|S|MS|MILLIS(ECONDS)?|MINUTES|BYTES|KB|MB)$")
MAX_WARNINGS: Final = 20
"""Lines about names, at most; for the rest, only the number is logged."""
_MAX_NAMED: Final = 8
_JAVA: Final = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "JAVA_OPTS")
_OPTION: Final = re.compile(
    r"(?<!\S)-D((?:spring|eureka|management|logging|server)\.[\w.\[\]-]{1,100})=", re.ASCII
)
OLDER_PARTS: Final = frozenset(
    {"REDIS_IP", "REDIS_PORT", "REDIS_PW"}
    | {one.variable for one in NAMES.table if one.part and not one.family}
)
"""Variables of the older system that settings are composed of; they have no row of their own."""
_OWN_COOKIES: Final = re.compile("queue-pass(-.*)?|queue-language|(__Host-)?(visitor|desk)")
_CHOSEN_ELSEWHERE: Final = frozenset(
    {"CONFIG_SERVER_HEADERS", "CONFIG_SERVER_PASSWORD", "CONFIG_SERVER_TOKEN"}
)
_METRICS: Final = "metrics are fetched at /actuator/prometheus, and not pushed"
_LOG: Final = "the log goes to standard output"
_OF_OPENTELEMETRY: Final = {
    "OTEL_TRACES_SAMPLER": "TRACING_SAMPLING_PROBABILITY says how many traces are recorded",
    "OTEL_TRACES_EXPORTER": "spans go where OTEL_EXPORTER_OTLP_ENDPOINT and ZIPKIN_ENDPOINT say",
    "OTEL_EXPORTER_ZIPKIN_": "ZIPKIN_ENDPOINT says where Zipkin is",
    "OTEL_EXPORTER_OTLP_METRICS_": _METRICS,
    "OTEL_EXPORTER_OTLP_LOGS_": _LOG,
    "OTEL_METRIC": _METRICS,
    "OTEL_LOG": _LOG,
    "OTEL_PROPAGATORS": "services get W3C traceparent; W3C and B3 are understood",
    "OTEL_BSP_": "the queue of spans has the limits of docs/reference/tracing.md",
}
"""What the gateway does instead of what a variable of OpenTelemetry asks for, by the beginning of its name."""
_MAX_PLAUSIBLE_SECONDS: Final = {
    "REDIS_TIMEOUT_SECONDS": 60.0,
    "PROXY_CONNECT_TIMEOUT_SECONDS": 600.0,
    "PROXY_RESPONSE_TIMEOUT_SECONDS": 7200.0,
    "PROXY_KEEP_ALIVE_SECONDS": 600.0,
    "PROXY_DNS_SECONDS": 3600.0,
    "REQUEST_HEAD_TIMEOUT_SECONDS": 600.0,
    "REQUEST_BODY_TIMEOUT_SECONDS": 3600.0,
    "RESPONSE_WRITE_TIMEOUT_SECONDS": 3600.0,
    "KEEP_ALIVE_TIMEOUT_SECONDS": 7200.0,
    "SHUTDOWN_GRACE_SECONDS": 3600.0,
    "ALLOWED_IN_DURATION_SECONDS": 86_400.0,
    "QUEUE_ABSENT_SECONDS": 43_200.0,
    "QUEUE_HOLD_SECONDS": 604_800.0,
    "QUEUE_MAX_SESSION_SECONDS": 604_800.0,
    "QUEUE_CLAIM_SECONDS": 43_200.0,
    "QUEUE_HISTORY_SECONDS": 604_800.0,
    "QUEUE_ROOM_IDLE_SECONDS": 604_800.0,
    "QUEUE_STATUS_INTERVAL_SECONDS": 3600.0,
    "QUEUE_FOLLOW_SECONDS": 3600.0,
    "SSE_HEARTBEAT_SECONDS": 3600.0,
    "STREAM_TOKEN_GRACE_SECONDS": 30 * 86_400.0,
    "WEBSOCKET_IDLE_SECONDS": 86_400.0,
    "CONFIG_SERVER_REFRESH_SECONDS": 14_400.0,
    "CONFIG_SERVER_CONNECT_TIMEOUT_SECONDS": 600.0,
    "CONFIG_SERVER_TIMEOUT_SECONDS": 3600.0,
    "EUREKA_CLIENT_REGISTRYFETCHINTERVALSECONDS": 3600.0,
}
"""In seconds. Far longer than any user waits: such a value was probably meant as milliseconds."""

_MIN_PLAUSIBLE_MS: Final = 5.0

_PRIVATE_ENDINGS: Final = frozenset(
    {"arpa", "corp", "docker", "example", "home", "intern", "internal", "intranet", "invalid", "lan", "local"}
    | {"localdomain", "localhost", "private", "svc", "test"}
)


class RecordedEnviron(Mapping[str, str]):
    """An environment that records which variables were read."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.names_read: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names_read.add(name)
        return self.environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.environ)

    def __len__(self) -> int:
        return len(self.environ)


def warnings_of_names(environ: Mapping[str, str], more: Collection[str] = ()) -> list[str]:
    """Warnings about variables that are not settings but look like one; about those that Spring or OpenTelemetry knows
    and that would change something there; and about forms of one property that contradict each other. ``more``: other
    names that have a meaning, such as those of placeholders in the route file."""
    view = _understood(environ)
    conflicts = [
        f"{other} is passed over, since {counting} is the same property with another value: remove one of the two"
        for counting, other in view.conflicts
    ]
    names = _unknown_names(view, more)
    options = [
        f"{variable} sets {', '.join(_first_names(given))}, which is not read: set variables of these names"
        for variable in _JAVA
        if (given := sorted(set(_OPTION.findall(view.plain.get(variable, "")))))
    ]
    without = [
        f"{_listed(each)} of Spring's without effect here: {instead}"
        for instead, each in names.without.items()
    ]
    warnings = [*conflicts, *unread_zones(view), *options, *names.unknown, *without]
    if len(warnings) > MAX_WARNINGS:
        left = len(warnings) - MAX_WARNINGS + 1
        warnings[MAX_WARNINGS - 1 :] = [
            f"{left} more variables are not understood: see docs/reference/spring-names.md"
        ]
    return warnings


def notes_of_names(environ: Mapping[str, str], more: Collection[str] = ()) -> list[str]:
    """One line that names the variables that Spring knows and that don't concern a gateway; none if there are no such
    variables."""
    harmless = _unknown_names(_understood(environ), more).harmless
    return (
        [f"of Spring's, and of no concern to this gateway: {', '.join(_first_names(harmless))}"]
        if harmless
        else []
    )


class _UnknownNames(NamedTuple):
    """Names without a meaning for the gateway: warnings about those that Spring does not know either, Spring's names by
    what the gateway does instead, and Spring's harmless names."""

    unknown: list[str]
    without: dict[str, list[str]]
    harmless: list[str]


def _unknown_names(view: SpringEnviron, more: Collection[str]) -> _UnknownNames:
    settings = setting_names()
    known_names = settings | set(more)
    candidates = NameIndex(known_names)
    found = _UnknownNames([], {}, [])
    for name, text in sorted({**view.plain, **view.from_json}.items()):
        if name in known_names or NAMES.match(name) or _is_service_link(name, text):
            continue
        shown = f"{name} in {VARIABLES[1]}" if name in view.from_json else name
        if name.startswith(OPENTELEMETRY):
            found.unknown.append(_of_opentelemetry(shown, nearest(name, candidates.related(name))))
            continue
        if not springs.is_springs(name):
            if (intended := _intended_name(name, candidates, view)) is not None:
                found.unknown.append(_unknown(shown, intended, settings))
            continue
        one = springs.known(name)
        near = None if one and one.whole else nearest(as_variable(name), candidates.related(name))
        # What is set under its right name, too, was hardly misspelt.
        if one is None or (near and near not in view):
            found.unknown.append(_unknown(shown, near or "", settings, "spring-names"))
        elif one.instead:
            found.without.setdefault(one.instead, []).append(shown)
        else:
            found.harmless.append(shown)
    return found


def _of_opentelemetry(name: str, near: str | None) -> str:
    known = (instead for start, instead in _OF_OPENTELEMETRY.items() if name.startswith(start))
    hint = f"the nearest is {near}" if near else "docs/reference/tracing.md names those that are read"
    return f"{name} of OpenTelemetry has no effect here: {next(known, hint)}"


def _understood(environ: Mapping[str, str]) -> SpringEnviron:
    return understood(environ.environ if isinstance(environ, RecordedEnviron) else environ)


def _first_names(names: list[str]) -> list[str]:
    more = len(names) - _MAX_NAMED
    return names if more <= 0 else [*names[:_MAX_NAMED], f"{more} more"]


def _listed(names: list[str]) -> str:
    *others, last = _first_names(names)
    return f"{', '.join(others)} and {last} are settings" if others else f"{last} is a setting"


def _is_service_link(name: str, text: str) -> bool:
    """Whether Kubernetes or Docker has set the variable for a service. In Spring's namespaces some of these names are
    also properties, so there the value must have the form that Kubernetes or Docker writes."""
    if not _SERVICE_LINK.fullmatch(name):
        return False
    if (
        not springs.is_springs(name)
        or not name.endswith(("_PORT", "_NAME"))
        or name.endswith("_SERVICE_PORT")
    ):
        return True
    return text.startswith(("tcp://", "udp://", "sctp://", "/"))


def setting_names() -> frozenset[str]:
    """Every variable with a fixed name from which a setting is read."""
    return OLDER_PARTS.union(VARIABLES, *((row.name, *row.older) for row in TABLE))


def _intended_name(name: str, candidates: NameIndex, environ: Mapping[str, str]) -> str | None:
    """The known name that is probably meant; "" for a name in one of the gateway's own namespaces that resembles
    none."""
    own = name.startswith(_OWN_NAMESPACES)
    known = candidates.related(name)
    near = nearest(name, known) or _by_stem(name, known)
    if near is None and own:
        near = _closest(name, known)
    # What is set under its right name, too, was hardly misspelt, unless no other program has such names.
    return near if own or (near and near not in environ) else None


def _by_stem(name: str, known: list[str]) -> str | None:
    """The known name that differs only in its unit: ``SHUTDOWN_GRACE`` or ``SHUTDOWN_GRACE_MS``."""
    stem = _stem(name.upper())
    if "_" not in stem:
        return None
    return next(
        (
            other
            for other in known
            if (bare := _stem(other)) != other and (bare == stem or looks_like(bare, stem))
        ),
        None,
    )


@lru_cache(maxsize=1024)
def _stem(name: str) -> str:
    return _UNITS.sub("", name)


def _closest(name: str, known: list[str]) -> str:
    """The setting that shares most words with a name of one of the gateway's own namespaces; "" if none shares more
    than the first word."""
    words = set(name.split("_"))
    best = max(known, key=lambda other: (len(words & set(other.split("_"))), -len(other)), default="")
    return best if len(words & set(best.split("_"))) > 1 else ""


def _unknown(name: str, intended: str, settings: Collection[str], page: str = "settings") -> str:
    what = "a setting" if intended in settings or not intended else "used by the settings or the route file"
    hint = f": the nearest is {intended}" if intended else f": docs/reference/{page}.md names all there are"
    return f"{name} is not {what}, so it has no effect{hint}"


def warnings_of_values(settings: Settings) -> list[str]:
    """Warnings about values that contradict each other or are insecure."""
    return [
        *_secrets(settings),
        *_cookies(settings),
        *_networks(settings),
        *_addresses(settings),
        *_times(settings),
        *_lease(settings),
        *_rooms_by_name(settings),
    ]


def _secrets(settings: Settings) -> Iterator[str]:
    for row in TABLE:
        value = getattr(settings, row.attribute)
        # Lists of secrets have a minimum length of their own.
        if not row.secret or not isinstance(value, str):
            continue
        # The password of another server was not chosen for the gateway.
        if row.name not in _CHOSEN_ELSEWHERE and value and len(value) < MIN_SECRET_LENGTH:
            yield (
                f"{row.name} has {len(value)} characters, so it can be guessed: take a random one of "
                f"{MIN_SECRET_LENGTH} or more, such as `openssl rand -hex 16` prints"
            )
    if settings.management_reads == "token" and not (settings.management_token or settings.operators_file):
        yield (
            "MANAGEMENT_READS is token, and neither MANAGEMENT_TOKEN nor OPERATORS_FILE is set, so no one can read "
            "metrics and details of health: set MANAGEMENT_TOKEN"
        )


def _cookies(settings: Settings) -> Iterator[str]:
    if _OWN_COOKIES.fullmatch(settings.jwt_cookie_name or ""):
        yield (
            f"JWT_COOKIE_NAME is {settings.jwt_cookie_name}, the name of a cookie that the gateway itself may set, so "
            "one would replace the other, and services would not get it: take another name"
        )


def _rooms_by_name(settings: Settings) -> Iterator[str]:
    if settings.queue_rooms_per_client >= settings.queue_max_rooms > 0:
        yield (
            f"QUEUE_ROOMS_PER_CLIENT is {settings.queue_rooms_per_client}, and QUEUE_MAX_ROOMS is "
            f"{settings.queue_max_rooms}, so one client can use up all rooms by name: make the first one lower"
        )


def _networks(settings: Settings) -> Iterator[str]:
    for network in settings.trusted_proxies:
        # No one owns a public network of this size; an IPv6 /7 is private.
        if network.prefixlen < (8 if network.version == 4 else 16) and not network.is_private:
            yield (
                f"TRUSTED_PROXIES has {network}, so strangers are believed what they say in X-Forwarded-For, and "
                "every client can choose its address: name the proxies' own networks"
            )


def _addresses(settings: Settings) -> Iterator[str]:
    told = {
        "JWT_JWKS_URI": (settings.jwt_jwks_uri,) if settings.jwt_jwks_uri else (),
        # The issuer is called only if no address of the keys is set; an issuer that is not an address is never called.
        "JWT_ISSUER": (settings.jwt_issuer,) if settings.jwt_issuer and not settings.jwt_jwks_uri else (),
        "CONFIG_SERVER_URL": settings.config_server_url,
        "SPRING_CONFIG_IMPORT": settings.spring_config_import.urls if settings.spring_config_import else (),
    }
    stakes = dict.fromkeys(("JWT_JWKS_URI", "JWT_ISSUER"), "replace the keys and so make tokens")
    for name, urls in told.items():
        for url in urls:
            scheme, host = _scheme_and_host(url)
            if scheme == "http" and is_public(host):
                yield (
                    f"{name} asks {host} over plain http, so anyone on the way there can "
                    f"{stakes.get(name, 'replace the routes')}: use https"
                )
    scheme = settings.redis_url.partition("://")[0]
    for host in _hosts_of_redis(settings.redis_url) if scheme.partition("+")[0] == "redis" else ():
        if is_public(host):
            yield (
                f"REDIS_URL reaches {host} without TLS, so anyone on the way there reads and changes the line: "
                f"use {scheme.replace('redis', 'rediss', 1)}:// or a private address"
            )


def _hosts_of_redis(url: str) -> Iterable[str]:
    """Each host of an address once; sentinels and nodes stand for the servers that they lead to."""
    nodes = parse_redis_address(url).nodes
    return dict.fromkeys(node.host for node in nodes) if nodes else (urlsplit(url).hostname or "",)


def _scheme_and_host(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:  # an issuer may be any text
        return "", ""
    return parts.scheme, parts.hostname or ""


def is_public(host: str) -> bool:
    """Whether a host is on the public internet, judged by its name. A name of two parts may be a service of a cluster
    (``auth.production``) and counts as private."""
    try:
        return ip_address(host).is_global
    except ValueError:
        labels = host.rstrip(".").lower().split(".")
        return len(labels) > 2 and labels[-1] not in _PRIVATE_ENDINGS and "svc" not in labels


def _times(settings: Settings) -> Iterator[str]:
    for name, longest in _MAX_PLAUSIBLE_SECONDS.items():
        value = getattr(settings, name.lower())
        if longest < value < math.inf:
            yield f"{name} is {value:g} s ({_in_words(value)}): it is in seconds, not in milliseconds"
    lag = settings.overload_lag_ms
    if 0 < lag < _MIN_PLAUSIBLE_MS:
        yield (
            f"OVERLOAD_LAG_MS is {lag:g} ms, so that nearly everyone is told to come back: it is in milliseconds, not "
            "in seconds"
        )
    absent, interval = settings.queue_absent_seconds, settings.queue_status_interval_seconds
    if 0 < absent <= interval:
        yield (
            f"QUEUE_ABSENT_SECONDS ({absent:g}) is not above QUEUE_STATUS_INTERVAL_SECONDS ({interval:g}), so users "
            "who ask as often as Retry-After says are out of sight for too long and are parked: make it several times "
            "the interval"
        )
    if settings.queue_follow == "auto" and settings.queue_follow_seconds < MIN_FOLLOWING_SECONDS:
        yield (
            f"QUEUE_FOLLOW_SECONDS is {settings.queue_follow_seconds:g}: a Java gateway shows itself every 10 s only, "
            f"and one that pauses would be taken for gone. Make it {MIN_FOLLOWING_SECONDS:g} or more"
        )
    if settings.queue_follow == "on" and settings.redis_key_prefix:
        yield (
            "QUEUE_FOLLOW is on and REDIS_KEY_PREFIX is set: a Java gateway knows no prefix, so none is followed. "
            "Remove one of the two"
        )
    if settings.queue_follow == "on" and settings.redis_url.partition("+")[2].startswith("cluster:"):
        yield (
            "QUEUE_FOLLOW is on and Redis is a cluster: a Java gateway's keys are in several slots there, so none is "
            "followed. Set QUEUE_FOLLOW=off"
        )


def _lease(settings: Settings) -> Iterator[str]:
    renewal = settings.eureka_instance_leaserenewalintervalinseconds
    expiry = settings.eureka_instance_leaseexpirationdurationinseconds
    registers = settings.eureka_client_serviceurl_defaultzone and settings.eureka_register
    if registers and expiry is not None and expiry <= renewal:
        yield (
            f"EUREKA_INSTANCE_LEASEEXPIRATIONDURATIONINSECONDS ({expiry}) is not above "
            f"EUREKA_INSTANCE_LEASERENEWALINTERVALINSECONDS ({renewal}), so Eureka takes this gateway for gone between "
            "two heartbeats, and others send it nothing: make it three times the interval, or leave it unset"
        )


def _in_words(seconds: float) -> str:
    for unit, length in (("days", 86_400.0), ("hours", 3600.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} minutes"


def warnings_of_limits(settings: Settings, descriptors: int) -> list[str]:
    """Warnings about numbers of connections that exceed the limit of file descriptors."""
    needed: dict[str, Any] = {
        "SSE_MAX_STREAMS": settings.sse_max_streams or 0,
        "WEBSOCKET_MAX": 2 * (settings.websocket_max or 0),
    }
    named = {name: count for name, count in needed.items() if count}
    total = sum(named.values())
    if total < descriptors:
        return []
    return [
        f"{' and '.join(named)} would need {total} file descriptors and the process can have {descriptors}, so "
        "connections are turned away before that: raise the limit (ulimit -n, LimitNOFILE= in systemd) or lower the "
        "setting"
    ]
