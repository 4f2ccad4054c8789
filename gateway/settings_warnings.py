"""What is allowed in the environment and yet hardly meant. Each warning is one line: what is so, what it means, what
to do. Nothing is looked up: no name, no file, no network."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.settings import TABLE, Settings
from gateway.spelling import Names, looks_like, nearest

SHORTEST_SECRET: Final = 16
SHORTEST_FOLLOWING: Final = 30.0

# Names that begin so are the gateway's alone, so that an unknown one among them is a mistake.
_OWN_NAMESPACES: Final = (
    "ALLOWED_IN_",
    "CONFIG_SERVER_",
    "EMBEDDED_REDIS_",
    "OVERLOAD_",
    "QUEUE_",
    "REQUEST_BODY_",
    "REQUEST_HEAD_",
    "SLOW_UPLOADS_",
    "SSE_",
    "STREAM_TOKEN_",
    "WEBSOCKET_",
)
# What Kubernetes and Docker set for each service that there is: QUEUE_PORT_80_TCP_ADDR, QUEUE_SERVICE_HOST.
_SERVICE_LINK = re.compile(
    r".+_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_.+)?)?|NAME|ENV_.+)"
)
_UNITS = re.compile(r"_(SECONDS|SECS?|S|MS|MILLIS(ECONDS)?|MINUTES|BYTES|KB|MB)$")
_OLDER_REDIS: Final = "SPRING_DATA_REDIS_"
OLDER_PARTS: Final = frozenset(
    {
        "EUREKA_CLIENT_REGION",
        "REDIS_IP",
        "REDIS_PORT",
        "REDIS_PW",
        *(
            f"{_OLDER_REDIS}{part}"
            for part in (
                "CLUSTER_NODES",
                "DATABASE",
                "HOST",
                "PASSWORD",
                "PORT",
                "SENTINEL_MASTER",
                "SENTINEL_NODES",
                "SENTINEL_PASSWORD",
                "SENTINEL_USERNAME",
                "SSL",
                "SSL_BUNDLE",
                "SSL_ENABLED",
                "TIMEOUT",
                "URL",
                "USERNAME",
            )
        ),
    }
)
"""Variables of the older system that settings are composed of; they have no row of their own."""
# The rest of these names depends on the values of others, see settings_discovery.
_FAMILIES: Final = (
    "EUREKA_CLIENT_AVAILABILITYZONES_",
    "EUREKA_CLIENT_SERVICEURL_",
    "EUREKA_INSTANCE_METADATAMAP_",
)
_LONGEST_SENSIBLE: Final = {
    "REDIS_TIMEOUT_SECONDS": 60.0,
    "PROXY_CONNECT_TIMEOUT_SECONDS": 600.0,
    "PROXY_RESPONSE_TIMEOUT_SECONDS": 7200.0,
    "PROXY_KEEP_ALIVE_SECONDS": 600.0,
    "REQUEST_HEAD_TIMEOUT_SECONDS": 600.0,
    "REQUEST_BODY_TIMEOUT_SECONDS": 3600.0,
    "RESPONSE_WRITE_TIMEOUT_SECONDS": 3600.0,
    "KEEP_ALIVE_TIMEOUT_SECONDS": 7200.0,
    "SHUTDOWN_GRACE_SECONDS": 3600.0,
    "ALLOWED_IN_DURATION_SECONDS": 86_400.0,
    "QUEUE_ABSENT_SECONDS": 86_400.0,
    "QUEUE_STATUS_INTERVAL_SECONDS": 3600.0,
    "QUEUE_FOLLOW_SECONDS": 3600.0,
    "SSE_HEARTBEAT_SECONDS": 3600.0,
}
"""In seconds. Far longer than anyone waits: such a value was mostly meant as milliseconds."""

_PRIVATE_ENDINGS: Final = frozenset(
    {"arpa", "corp", "docker", "example", "home", "intern", "internal", "intranet", "invalid", "lan", "local"}
    | {"localdomain", "localhost", "private", "svc", "test"}
)


class Asked(Mapping[str, str]):
    """An environment that remembers which variables it was asked for."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


def warnings_of_names(environ: Mapping[str, str], more: Collection[str] = ()) -> list[str]:
    """Variables that are no settings but look like one. ``more`` are other names that mean something, such as those
    of placeholders in the route file."""
    settings = setting_names()
    known = settings | set(more)
    candidates = Names(known)
    return [
        _unknown(name, meant, settings)
        for name in sorted(environ)
        if name not in known
        and not name.startswith(_FAMILIES)
        and not (_as_spring_reads(name).startswith(_OLDER_REDIS) and _as_spring_reads(name) in known)
        and not _SERVICE_LINK.fullmatch(name)
        and (meant := _meant(name, candidates, environ)) is not None
    ]


def _as_spring_reads(name: str) -> str:
    """The usual form of a name that may have any case, dots for underscores, and an index of a list at its end."""
    folded = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    folded = re.sub(r"_\d{1,3}$", "", folded)
    return re.sub(r"^SPRING_REDIS_", _OLDER_REDIS, folded)


def setting_names() -> frozenset[str]:
    """Every variable with a fixed name that a setting is read from."""
    return OLDER_PARTS.union(*((row.name, *row.older) for row in TABLE))


def _meant(name: str, candidates: Names, environ: Mapping[str, str]) -> str | None:
    """The known name that is probably meant; "" for one of the gateway's own that resembles none."""
    own = name.startswith(_OWN_NAMESPACES)
    known = candidates.related(name)
    near = nearest(name, known) or _by_stem(name, known)
    if near is None and own:
        near = _closest(name, known)
    # What is set under its right name, too, was hardly misspelt, unless no other program has such names.
    return near if own or (near and near not in environ) else None


def _by_stem(name: str, known: list[str]) -> str | None:
    """The name that differs in its unit alone: ``SHUTDOWN_GRACE`` or ``SHUTDOWN_GRACE_MS``."""
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
    """The setting that shares most words with a name of one of the own namespaces; "" if none shares more than
    the first."""
    words = set(name.split("_"))
    best = max(known, key=lambda other: (len(words & set(other.split("_"))), -len(other)), default="")
    return best if len(words & set(best.split("_"))) > 1 else ""


def _unknown(name: str, meant: str, settings: Collection[str]) -> str:
    what = "a setting" if meant in settings or not meant else "used by the settings or the route file"
    hint = f": the nearest is {meant}" if meant else ": docs/settings.md names all there are"
    return f"{name} is not {what}, so it has no effect{hint}"


def warnings_of_values(settings: Settings) -> list[str]:
    """Values that contradict each other, or leave a door open."""
    return [*_secrets(settings), *_networks(settings), *_addresses(settings), *_times(settings)]


def _secrets(settings: Settings) -> Iterator[str]:
    for row in TABLE:
        value = getattr(settings, row.name.lower())
        # Who chose the password of another server did not choose it here.
        if row.secret and row.name != "CONFIG_SERVER_PASSWORD" and value and len(value) < SHORTEST_SECRET:
            yield (
                f"{row.name} has {len(value)} characters, so it can be guessed: take a random one of "
                f"{SHORTEST_SECRET} or more, such as `openssl rand -hex 16` prints"
            )
    if settings.management_reads == "token" and not settings.management_token:
        yield (
            "MANAGEMENT_READS is token and MANAGEMENT_TOKEN is not set, so no one can read metrics and details of "
            "health: set MANAGEMENT_TOKEN"
        )


def _networks(settings: Settings) -> Iterator[str]:
    for network in settings.trusted_proxies:
        # No one owns a public network of this size; /7 of IPv6 is private.
        if network.prefixlen < (8 if network.version == 4 else 16) and not network.is_private:
            yield (
                f"TRUSTED_PROXIES has {network}, so strangers are believed what they say in X-Forwarded-For, and "
                "every client can choose its address: name the proxies' own networks"
            )


def _addresses(settings: Settings) -> Iterator[str]:
    told = {
        "JWT_JWKS_URI": (settings.jwt_jwks_uri,),
        "CONFIG_SERVER_URL": settings.config_server_url,
        "SPRING_CONFIG_IMPORT": settings.spring_config_import.urls if settings.spring_config_import else (),
    }
    stakes = {"JWT_JWKS_URI": "replace the keys and so make tokens"}
    for name, urls in told.items():
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme == "http" and is_public(parts.hostname or ""):
                yield (
                    f"{name} asks {parts.hostname} over plain http, so anyone on the way there can "
                    f"{stakes.get(name, 'replace the routes')}: use https"
                )
    if settings.redis_url.startswith("redis://"):
        host = urlsplit(settings.redis_url).hostname or ""
        if is_public(host):
            yield (
                f"REDIS_URL reaches {host} without TLS, so anyone on the way there reads and changes the line: "
                "use rediss:// or a private address"
            )


def is_public(host: str) -> bool:
    """Whether a host is on the public internet, as far as its name tells. A name of two parts may be a service of
    a cluster (``auth.production``) and counts as private."""
    try:
        return ip_address(host).is_global
    except ValueError:
        labels = host.rstrip(".").lower().split(".")
        return len(labels) > 2 and labels[-1] not in _PRIVATE_ENDINGS and "svc" not in labels


def _times(settings: Settings) -> Iterator[str]:
    for name, longest in _LONGEST_SENSIBLE.items():
        value = getattr(settings, name.lower())
        if value > longest:
            yield f"{name} is {value:g} s ({_in_words(value)}): it is in seconds, not in milliseconds"
    absent, interval = settings.queue_absent_seconds, settings.queue_status_interval_seconds
    if 0 < absent <= interval:
        yield (
            f"QUEUE_ABSENT_SECONDS ({absent:g}) is not above QUEUE_STATUS_INTERVAL_SECONDS ({interval:g}), so users "
            "who ask as often as Retry-After says are out of sight for too long and lose the place: make it several "
            "times the interval"
        )
    if settings.queue_follow == "auto" and settings.queue_follow_seconds < SHORTEST_FOLLOWING:
        yield (
            f"QUEUE_FOLLOW_SECONDS is {settings.queue_follow_seconds:g}: a Java gateway shows itself every 10 s only, "
            f"and one that pauses would be taken for gone. Make it {SHORTEST_FOLLOWING:g} or more"
        )
    if settings.queue_follow == "on" and settings.redis_key_prefix:
        yield (
            "QUEUE_FOLLOW is on and REDIS_KEY_PREFIX is set: a Java gateway knows no prefix, so none is followed. "
            "Remove one of the two"
        )


def _in_words(seconds: float) -> str:
    for unit, length in (("days", 86_400.0), ("hours", 3600.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} minutes"


def warnings_of_limits(settings: Settings, descriptors: int) -> list[str]:
    """Numbers of connections that the limit of file descriptors does not bear."""
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
