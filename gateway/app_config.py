"""What the settings and a Config Server have to do with each other: where it is, and what it may set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import aiohttp

from gateway.observe.metrics import Metrics
from gateway.routing.config.fetch import Wanted, http_ask, places
from gateway.routing.config.server import ConfigServer
from gateway.routing.table import RouteTable
from gateway.settings import TABLE, Settings

DEFAULT_SERVER: Final = "http://localhost:8888"
DEFAULT_KEY_SET: Final = "http://localhost:8090/.well-known/jwks.json"


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


class TokenSettings(NamedTuple):
    """What tokens are checked by. Without ``keys``, the address of the key set, the document of ``issuer`` has it; if
    that is no address, there are none."""

    keys: str | None
    algorithms: tuple[str, ...]
    issuer: str | None
    audiences: tuple[str, ...]


def token_settings(settings: Settings, environ: Mapping[str, str], table: RouteTable) -> TokenSettings:
    """What tokens are checked by: what the environment says, else the Config Server, else the defaults.

    An address of the key set wins over the issuer's document. The default address counts in a Spring environment
    where the issuer is no address, and so has no document.
    """

    def chosen(name: str) -> tuple[str, ...] | None:
        row = next(row for row in TABLE if row.name == name)
        own = getattr(settings, name.lower()) != row.default_in(settings.spring_environment)
        if own or any(environ.get(each, "").strip() for each in (row.name, *row.older)):
            return None
        return table.tokens.get(name.lower())

    uri, issuers = chosen("JWT_JWKS_URI"), chosen("JWT_ISSUER")
    keys = uri[0] if uri else settings.jwt_jwks_uri
    issuer = issuers[0] if issuers else settings.jwt_issuer
    if keys is None and not (issuer and is_address(issuer)):
        keys = DEFAULT_KEY_SET if settings.spring_environment else None
    return TokenSettings(
        keys,
        chosen("JWT_ALGORITHMS") or settings.jwt_algorithms,
        issuer,
        chosen("JWT_AUDIENCE") or settings.jwt_audience or (),
    )


def is_address(issuer: str) -> bool:
    """Whether an issuer is an address, below which it may have a document; any other can only be compared."""
    return issuer.lower().startswith(("http://", "https://"))
