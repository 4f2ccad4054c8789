"""Warnings that take more than one part to know: settings with the route table, with Redis, with this machine."""

from __future__ import annotations

import os
import resource
from collections.abc import Collection, Mapping
from pathlib import Path

from gateway.app_config import wanted
from gateway.routing.config.given import warnings_of_pattern
from gateway.routing.faults import Fault, RuleBroken
from gateway.routing.table import RouteTable
from gateway.routing.warnings import NEEDS_ALL_ROUTES, to_itself, without_instances
from gateway.settings import Settings
from gateway.settings_warnings import warnings_of_limits, warnings_of_names, warnings_of_values
from gateway.waiting_room.embedded import EmbeddedRedisError, find_server


def warnings_of_table(table: RouteTable, settings: Settings, *, all_routes: bool = True) -> tuple[Fault, ...]:
    """What a table is warned of: that of its file, and what is odd about it with these settings.

    Without ``all_routes`` a Config Server, if the settings name one, may have others.
    """
    found = list(table.warnings)
    if not all_routes and wanted(settings) is not None:
        found = [warning for warning in found if warning.rule not in NEEDS_ALL_ROUTES]
    if not (settings.eureka_client_serviceurl_defaultzone and settings.eureka_fetch):
        found += without_instances(table)
    if settings.server_port:
        found += to_itself(table, settings.server_port)
    return tuple(found)


def warnings_of_settings(
    settings: Settings, environ: Mapping[str, str], names: Collection[str] = ()
) -> list[str]:
    """What the environment is warned of, each in one line. ``names`` are variables that the route file asks for."""
    return [
        *warnings_of_names(environ, names),
        *warnings_of_values(settings),
        *warnings_of_limits(settings, descriptor_limit()),
        *_pattern(settings),
        *_embedded(settings),
        *_overlooked_file(settings),
    ]


def descriptor_limit() -> int:
    """How many file descriptors a gateway can have: it raises its limit as far as the system allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1_048_576 if hard == resource.RLIM_INFINITY else hard


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
    """What is odd about the regex of trusted proxies; one that is none stops a start."""
    if settings.trusted_proxies_pattern is None:
        return []
    try:
        found = list(warnings_of_pattern(settings.trusted_proxies_pattern))
    except RuleBroken as error:
        found = [error.message]
    return [f"TRUSTED_PROXIES_PATTERN: {each}" for each in found]


def _overlooked_file(settings: Settings) -> list[str]:
    """A route file under a name that is not looked for, so that the shipped one is used instead."""
    if settings.routes_file is not None or Path("routes.yaml").exists() or not Path("routes.yml").exists():
        return []
    return [
        "routes.yml is not read, and without a routes.yaml here the routes are those of the file that is shipped: "
        "rename it to routes.yaml, or set ROUTES_FILE"
    ]
