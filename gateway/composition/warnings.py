"""Warnings that need more than one part of the gateway: settings with the route table, with Redis, with this
machine."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from gateway.composition.certificates import certificates_of
from gateway.composition.live_settings import config_request, is_address, token_settings, trusted_proxies
from gateway.composition.operators import OperatorsFileError, read_operators
from gateway.composition.page_warnings import warnings_of_pages
from gateway.composition.tracing import otlp_of
from gateway.errors import SettingsError
from gateway.routing.spec.issues import Issue, RuleViolation
from gateway.routing.spec.remote_settings import warnings_of_pattern
from gateway.routing.spec.warnings import NEEDS_ALL_ROUTES, to_itself, without_instances
from gateway.routing.table import RouteTable
from gateway.settings.model import Settings
from gateway.settings.warnings import warnings_of_limits, warnings_of_names, warnings_of_values
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.redis.embedded import EmbeddedRedisError, find_server
from gateway.waiting_room.rooms import check_prefix_for_cluster


def warnings_of_table(table: RouteTable, settings: Settings, *, all_routes: bool = True) -> tuple[Issue, ...]:
    """The warnings of a route table: those of its file, and those about it with these settings.

    ``all_routes`` False: a Config Server, if the settings name one, may have further routes.
    """
    found = list(table.warnings)
    if not all_routes and config_request(settings) is not None:
        found = [warning for warning in found if warning.rule not in NEEDS_ALL_ROUTES]
    if not (settings.eureka_client_serviceurl_defaultzone and settings.eureka_fetch):
        found += without_instances(table)
    found += warnings_of_pages(table, settings)
    if settings.server_port:
        found += to_itself(table, settings.server_port)
    return tuple(found)


def warnings_of_settings(
    settings: Settings, environ: Mapping[str, str], names: Collection[str] = ()
) -> list[str]:
    """The warnings about the environment, each in one line. ``names`` are variables that the route file refers to."""
    return [
        *warnings_of_names(environ, names),
        *warnings_of_values(settings),
        *warnings_of_limits(settings, descriptor_limit()),
        *_pattern(settings),
        *_embedded(settings),
        *_overlooked_file(settings),
    ]


def errors_of_settings(settings: Settings) -> list[SettingsError]:
    """Errors that stop the start although each setting by itself is allowed: TLS files, a missing package, a prefix
    that is not valid for a cluster, an invalid regex. Reads files; uses no network."""
    found = []
    try:
        trusted_proxies(settings)
    except SettingsError as error:
        found.append(error)
    try:
        if (
            settings.redis_url != "embedded"
            and Redis(settings.redis_url, settings.redis_timeout_seconds).is_cluster
        ):
            check_prefix_for_cluster(settings.redis_key_prefix)
    except SettingsError as error:
        found.append(error)
    for read in (certificates_of, otlp_of):
        try:
            read(settings)
        except SettingsError as error:
            found.append(error)
    return found


def errors_of_operators(settings: Settings) -> tuple[Issue, ...]:
    """The errors of ``OPERATORS_FILE``, which stop the start."""
    if settings.operators_file is None:
        return ()
    try:
        read_operators(settings.operators_file)
    except OperatorsFileError as error:
        return error.issues
    return ()


def warnings_of_keys(settings: Settings, environ: Mapping[str, str], table: RouteTable) -> list[str]:
    """Warns if neither the settings nor a Config Server say where the keys for checking tokens are."""
    if _needs_no_token(table):
        return []
    in_force = token_settings(settings, environ, table)
    if in_force.keys or (in_force.issuer and is_address(in_force.issuer)):
        return []
    return [
        "JWT_JWKS_URI is not set, so no token can be checked, and calls that need one get 503: set it to the address "
        "of your auth server's key set"
    ]


def _needs_no_token(table: RouteTable) -> bool:
    """Whether no call can need a token: all rooms are for visitors alone, and a rule opens all other calls."""
    of_visitors = {room for room, who in table.visitor_rooms.items() if who == "visitor"}
    opens_all = any(call.method is None and call.pattern.source == "/**" for call in table.public)
    return opens_all and of_visitors >= table.rooms.keys()


def descriptor_limit() -> int:
    """How many file descriptors a gateway can have: it raises its limit as far as the system allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1_048_576 if hard == resource.RLIM_INFINITY else hard


def warnings_of_host(settings: Settings) -> list[str]:
    """Warns if this machine can't listen on the host of the settings, as far as a look-up shows."""
    host = settings.server_host
    try:
        socket.getaddrinfo(host, settings.server_port, type=socket.SOCK_STREAM)
    except OSError as error:
        return [
            f"SERVER_HOST is {host}, which is no address here ({error.strerror}): name an address of this machine"
        ]
    return []


def _embedded(settings: Settings) -> list[str]:
    if settings.redis_url != "embedded":
        return []
    try:
        find_server()
    except EmbeddedRedisError as error:
        return [str(error)]
    folder = Path(os.path.abspath(settings.embedded_redis_dir))
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return []
    return [
        f"EMBEDDED_REDIS_DIR is {settings.embedded_redis_dir}, and {folder} can't be written to: name another folder"
    ]


def _pattern(settings: Settings) -> list[str]:
    """Warnings about the regex of trusted proxies; an invalid regex is an error instead."""
    if settings.trusted_proxies_pattern is None:
        return []
    with suppress(RuleViolation):
        return [
            f"TRUSTED_PROXIES_PATTERN: {each}"
            for each in warnings_of_pattern(settings.trusted_proxies_pattern)
        ]
    return []


def _overlooked_file(settings: Settings) -> list[str]:
    """Warns of a route file with a name that the gateway does not look for: the shipped file is used instead."""
    if settings.routes_file is not None or Path("routes.yaml").exists() or not Path("routes.yml").exists():
        return []
    return [
        "routes.yml is not read, and without a routes.yaml here the routes are those of the file that is shipped: "
        "rename it to routes.yaml, or set ROUTES_FILE"
    ]
