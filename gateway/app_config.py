"""What the settings and a Config Server have to do with each other: where it is, and what it may set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import aiohttp

from gateway.observe.metrics import Metrics
from gateway.routing.config.fetch import Wanted, http_ask, places
from gateway.routing.config.server import ConfigServer
from gateway.routing.table import RouteTable
from gateway.settings import TABLE, Settings

DEFAULT_SERVER: Final = "http://localhost:8888"


def wanted(settings: Settings) -> Wanted | None:
    """What to ask of which Config Server; None if the settings name none."""
    imported = settings.spring_config_import
    if not settings.config_server_enabled or (imported is None and not settings.config_server_url):
        return None
    return Wanted(
        (imported.urls if imported else ()) or settings.config_server_url or (DEFAULT_SERVER,),
        settings.config_server_application or settings.spring_application_name,
        settings.config_server_profiles or settings.spring_profiles_active,
        settings.config_server_label,
        settings.config_server_username or "",
        settings.config_server_password or "",
        headers=settings.config_server_headers,
        token=settings.config_server_token or "",
        connect_seconds=settings.config_server_connect_timeout_seconds,
        seconds=settings.config_server_timeout_seconds,
    )


def is_optional(settings: Settings) -> bool:
    """Whether a gateway starts without the Config Server. An address alone says no more than where it is."""
    if settings.config_server_fail_fast:
        return False
    return settings.spring_config_import is None or settings.spring_config_import.optional


def config_server(
    settings: Settings, environ: Mapping[str, str], session: aiohttp.ClientSession, metrics: Metrics
) -> ConfigServer | None:
    """The Config Server that the settings name, if they name one."""
    asked = wanted(settings)
    if asked is None:
        return None
    return ConfigServer(
        http_ask(session, asked),
        environ,
        shown=places(asked.urls),
        interval=settings.config_server_refresh_seconds,
        optional=is_optional(settings),
        on_fetched=metrics.config_fetched,
    )


def token_settings(
    settings: Settings, environ: Mapping[str, str], table: RouteTable
) -> tuple[str, tuple[str, ...], str | None, tuple[str, ...]]:
    """Address of the keys, algorithms, issuer and audiences: the environment's, else the Config Server's, else the
    defaults."""

    def chosen(name: str) -> tuple[str, ...] | None:
        row = next(row for row in TABLE if row.name == name)
        own = getattr(settings, name.lower()) != row.default_in(settings.spring_environment)
        if own or any(environ.get(each, "").strip() for each in (row.name, *row.older)):
            return None
        return table.tokens.get(name.lower())

    uri, issuer = chosen("JWT_JWKS_URI"), chosen("JWT_ISSUER")
    audience = (settings.jwt_audience,) if settings.jwt_audience else ()
    return (
        uri[0] if uri else settings.jwt_jwks_uri,
        chosen("JWT_ALGORITHMS") or settings.jwt_algorithms,
        issuer[0] if issuer else settings.jwt_issuer,
        chosen("JWT_AUDIENCE") or audience,
    )
