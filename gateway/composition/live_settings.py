"""Settings and the Config Server: where the server is, and which settings it may set."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

import aiohttp

from gateway.discovery.config_server.client import ConfigServer
from gateway.discovery.config_server.fetch import Ask, ConfigRequest, Find, http_fetcher, places
from gateway.discovery.eureka.client import config_servers
from gateway.discovery.eureka.lease import machine
from gateway.discovery.eureka.transport import EurekaAway, EurekaServers
from gateway.errors import ConfigUnavailable, ConfigUnusable, SettingsError
from gateway.observability.metrics import Metrics
from gateway.proxy.forwarded import TrustedProxies
from gateway.routing.spec.issues import RuleViolation
from gateway.routing.spec.remote_settings import GIVEN, trusting
from gateway.routing.table import RouteTable
from gateway.settings.model import TABLE, Settings

DEFAULT_SERVER: Final = "http://localhost:8888"
DEFAULT_KEY_SET: Final = "http://localhost:8090/.well-known/jwks.json"
AT_START: Final = tuple(sorted({setting.lower() for setting, live in GIVEN.values() if not live}))
"""Settings that a Config Server can set only at the start."""
MAX_LOGGED: Final = 100

_log = logging.getLogger(__name__)


def config_request(settings: Settings) -> ConfigRequest | None:
    """Which Config Server to call, and for what; None if the settings name none."""
    imported = settings.spring_config_import
    found = settings.config_server_discovery
    is_named = imported is not None or found or settings.config_server_url
    if not (settings.config_server_enabled and is_named):
        return None
    named = (imported.urls if imported else ()) or settings.config_server_url or (DEFAULT_SERVER,)
    return ConfigRequest(
        () if found else named,
        settings.config_server_application or settings.spring_application_name,
        settings.config_server_profiles or settings.spring_profiles_active,
        settings.config_server_label,
        settings.config_server_username or "",
        settings.config_server_password or "",
        found=found,
        headers=settings.config_server_headers,
        token=settings.config_server_token or "",
        connect_seconds=settings.config_server_connect_timeout_seconds,
        seconds=settings.config_server_timeout_seconds,
    )


def is_optional(settings: Settings) -> bool:
    """Whether the gateway starts without the Config Server. An address alone does not make the server required."""
    imported = settings.spring_config_import
    own = None if imported is None else imported.fail_fast
    if settings.config_server_fail_fast if own is None else own:
        return False
    return imported is None or imported.optional


class _WithOwnNames(Mapping[str, str]):
    """The environment, plus values for names that are not set in it. Reads a name from the environment when it is read
    here, so that ``Asked`` records it."""

    def __init__(self, environ: Mapping[str, str], own: Mapping[str, str]) -> None:
        self._environ = environ
        self._own = own

    def __getitem__(self, name: str) -> str:
        if name not in self._own:
            return self._environ[name]
        return self._environ.get(name) or self._own[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self._environ), **self._own})

    def __len__(self) -> int:
        return len(set(self._environ) | set(self._own))


def with_own_names(settings: Settings, environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment for placeholders in a Config Server's values. Names that Spring knows by itself
    (``${spring.application.name}``, ``${spring.cloud.client.ip-address}``) have a value here, too, if no variable sets
    them."""
    hostname, address = machine(settings)
    own = {
        "SPRING_APPLICATION_NAME": settings.spring_application_name,
        "SERVER_PORT": str(settings.server_port),
        "SPRING_CLOUD_CLIENT_HOSTNAME": hostname,
        "SPRING_CLOUD_CLIENT_IP_ADDRESS": address,
    }
    return _WithOwnNames(environ, own)


def config_server(
    settings: Settings, environ: Mapping[str, str], session: aiohttp.ClientSession, metrics: Metrics
) -> ConfigServer | None:
    """The Config Server that the settings name, if they name one."""
    asked = config_request(settings)
    if asked is None:
        return None
    return ConfigServer(
        config_fetcher(settings, asked, session, metrics),
        with_own_names(settings, environ),
        shown=_server_name(settings, asked),
        interval=settings.config_server_refresh_seconds,
        optional=is_optional(settings),
        on_fetched=metrics.config_fetched,
    )


def is_set(settings: Settings, environ: Mapping[str, str], name: str) -> bool:
    """Whether the environment sets ``name``, so that it takes precedence over the Config Server."""
    row = next(row for row in TABLE if row.name == name)
    if getattr(settings, name.lower()) != row.default_in(settings.spring_environment):
        return True
    # A setting composed of several variables may have the same value as the default.
    if row.compose is not None and row.compose(environ) is not None:
        return True
    names = (row.name, *row.older)
    return any(environ.get(each, "").strip() or (row.may_be_off and each in environ) for each in names)


class LiveSettings:
    """The settings, with values from a Config Server where no variable is set: ``now``.

    Warns once of each value that has no effect because a variable is set to another one, and of each that takes effect
    only at the next start.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str], table: RouteTable) -> None:
        self._settings = settings
        self._environ = environ
        self._logged: set[tuple[str, object]] = set()
        self.now = self._started = self._with(table)

    def follow(self, table: RouteTable) -> Settings:
        """The settings in force with this table."""
        self.now = self._with(table)
        for name in AT_START:
            value = getattr(self.now, name)
            if value != getattr(self._started, name):
                self._log_once(name, value, "what the Config Server has for %s counts from the next start on")
        return self.now

    def _with(self, table: RouteTable) -> Settings:
        changes = {}
        for name, value in table.given.items():
            if not is_set(self._settings, self._environ, name.upper()):
                changes[name] = value
            elif value != getattr(self._settings, name):
                self._log_once(name, value, "the variable %s counts before what the Config Server has for it")
        return replace(self._settings, **changes) if changes else self._settings

    def _log_once(self, name: str, value: object, text: str) -> None:
        if (name, value) not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add((name, value))
            _log.warning(text, name.upper())


def config_fetcher(
    settings: Settings, asked: ConfigRequest, session: aiohttp.ClientSession, metrics: Metrics
) -> Ask:
    """The function that calls the Config Server, at the address in the settings or at the one that Eureka knows."""
    return http_fetcher(session, asked, _found(settings, session, metrics) if asked.found else None)


def _found(settings: Settings, session: aiohttp.ClientSession, metrics: Metrics) -> Find:
    urls = settings.eureka_client_serviceurl_defaultzone
    names = settings.config_server_service_id
    servers = EurekaServers(session, urls, metrics)

    async def find() -> tuple[str, ...]:
        if not urls:
            raise ConfigUnavailable("it is to be found through Eureka, and no server of that is set")
        try:
            found = await config_servers(servers, names)
        except EurekaAway as error:
            if error.answered:
                raise ConfigUnusable("it is to be found through Eureka, whose answer is of no use") from None
            raise ConfigUnavailable("it is to be found through Eureka, which does not answer") from None
        if not found:
            raise ConfigUnavailable(f"no instance of {' or '.join(names)} is up in Eureka")
        return found

    return find


def _server_name(settings: Settings, asked: ConfigRequest) -> str:
    """The server's address or name, for the log."""
    return f"Eureka's {' or '.join(settings.config_server_service_id)}" if asked.found else places(asked.urls)


class TokenSettings(NamedTuple):
    """What tokens are checked against. Without ``keys``, the address of the key set, the document of ``issuer`` names
    the key set; if the issuer is not an address, there are no keys."""

    keys: str | None
    algorithms: tuple[str, ...]
    issuer: str | None
    audiences: tuple[str, ...]


def token_settings(settings: Settings, environ: Mapping[str, str], table: RouteTable) -> TokenSettings:
    """What tokens are checked against: the environment's values, else the Config Server's, else the defaults.

    An address of the key set takes precedence over the issuer's document. The default address applies in a Spring
    environment if the issuer is not an address, and so has no document.
    """

    def chosen(name: str) -> tuple[str, ...] | None:
        return None if is_set(settings, environ, name) else table.tokens.get(name.lower())

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
    """Whether an issuer is an address, below which it may have a document. Any other issuer can only be compared."""
    return issuer.lower().startswith(("http://", "https://"))


def trusted_proxies(settings: Settings) -> TrustedProxies:
    """The trusted proxies of the settings. Raises SettingsError for an invalid regex."""
    pattern = settings.trusted_proxies_pattern
    try:
        return TrustedProxies(settings.trusted_proxies, trusting(pattern) if pattern else None)
    except RuleViolation as error:
        # The message begins with the regex, which may contain a placeholder's value.
        why = error.message.replace(repr(pattern), "this one")
        raise SettingsError("TRUSTED_PROXIES_PATTERN", pattern or "", f"a regex of Java's; {why}") from None
