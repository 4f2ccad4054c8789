"""The summary that a gateway logs at its start: a few lines that show the operator what is in force. No secrets."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Final

from gateway import __version__
from gateway.composition.live_settings import is_address, token_settings
from gateway.composition.rooms import room_limits
from gateway.routing.table import RouteTable
from gateway.settings.model import Settings
from gateway.settings.profile import spring_lines
from gateway.settings.redis_address import parse_redis_address
from gateway.waiting_room.configured import ConfiguredLimits

MAX_NAMED: Final = 10
"""Rooms, and gated calls of a room, that are named at most; for the rest, only the number is logged."""


def summary(
    settings: Settings, environ: Mapping[str, str], table: RouteTable, *, base: str, management: str
) -> list[str]:
    """Lines for the log. ``base`` and ``management`` are the addresses of this gateway for clients and for
    operators."""
    rooms = room_limits(settings, table)
    return [
        f"gateway {__version__} on Python {platform.python_version()}",
        f"rooms: {_named([_room(name, limits) for name, limits in rooms.items()])}",
        _gates(table),
        _access(table),
        *spring_lines(settings.spring_because),
        _tokens(settings, environ, table),
        _discovery(settings, table),
        _management(settings, management),
    ]


def _room(name: str, limits: ConfiguredLimits) -> str:
    closed = ", so no one is let in" if limits.capacity == 0 else ""
    return f"{name} (capacity {limits.capacity}{closed}, session {limits.duration:g} s)"


def _gates(table: RouteTable) -> str:
    calls: dict[str, list[str]] = {}
    for gate in table.gates:
        calls.setdefault(gate.room, []).extend(str(call) for call in gate.calls)
        calls[gate.room].extend(f"{call} (renews)" for call in gate.renews)
    named = [f"{room}: {_named(each)}" for room, each in calls.items() if each]
    return f"gates: {'; '.join(named)}" if named else "gates: none, so no call needs a place"


def _access(table: RouteTable) -> str:
    match len(table.public):
        case 0:
            return "access: no call is open"
        case 1:
            return "access: 1 rule opens calls without a token"
        case count:
            return f"access: {count} rules open calls without a token"


def _named(items: Sequence[str]) -> str:
    more = len(items) - MAX_NAMED
    return ", ".join(items[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _tokens(settings: Settings, environ: Mapping[str, str], table: RouteTable) -> str:
    keys, algorithms, issuer, audiences = token_settings(settings, environ, table)
    if keys:
        source = f"keys from {without_password(keys)}"
    elif issuer and is_address(issuer):
        source = "keys from where the issuer's document says"
    else:
        source = "no keys, since JWT_JWKS_URI is not set"
    parts = [source, ", ".join(algorithms)]
    parts.append(f"issuer {without_password(issuer)}" if issuer else "issuer not compared")
    parts.append(f"audience {' or '.join(audiences)}" if audiences else "audience not compared")
    if settings.jwt_cookie_name:
        everywhere = " on all calls" if settings.jwt_cookie_calls == "all" else ""
        parts.append(f"cookie {settings.jwt_cookie_name}{everywhere}")
    return f"tokens: {'; '.join(parts)}"


def _discovery(settings: Settings, table: RouteTable) -> str:
    given, count = sum(1 for urls in table.services.values() if urls), len(table.services)
    own = f"{given} of {count} services have instances in the route file"
    servers = settings.eureka_client_serviceurl_defaultzone
    if servers and settings.eureka_fetch:
        return f"services: {own}; others from Eureka at {', '.join(map(without_password, servers))}"
    return f"services: {own}; discovery is off"


def _management(settings: Settings, base: str) -> str:
    token = " (with an operator's token)" if settings.management_reads == "token" else ""
    operators = settings.management_token or settings.operators_file
    changes = (
        "possible" if operators else "not possible, since neither MANAGEMENT_TOKEN nor OPERATORS_FILE is set"
    )
    return f"metrics at {base}/metrics, health at {base}/actuator/health{token}; changes by operators are {changes}"


def without_password(url: str) -> str:
    """An address without its secrets, for the log. Passwords stand before the host, and behind the question mark."""
    scheme, separator, rest = url.partition("?")[0].partition("://")
    return scheme + separator + rest.rpartition("@")[2]


def redis_kind(settings: Settings) -> str:
    """The kind of Redis in words."""
    if settings.redis_url == "embedded":
        return f"embedded, data in {settings.embedded_redis_dir}"
    address = parse_redis_address(settings.redis_url)
    kinds = {
        "one": "one server",
        "sentinel": f"the master {address.service} of sentinels",
        "cluster": "a cluster",
    }
    return kinds[address.form]
