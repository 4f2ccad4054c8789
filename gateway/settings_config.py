"""Settings of the Config Server; part of ``Settings``."""

from __future__ import annotations

from dataclasses import dataclass

from gateway import settings_kinds as kinds
from gateway.settings_kinds import ConfigImport, duration
from gateway.settings_parts import headers_of_parts
from gateway.settings_spring import import_of_spring
from gateway.settings_table import setting


@dataclass(frozen=True, slots=True, repr=False)
class ConfigServerSettings:
    """Where routes come from besides the file."""

    spring_config_import: ConfigImport | None = setting(  # noqa: RUF009 - the default is None
        kinds.CONFIG_IMPORT,
        None,
        "Whether routes come from a Config Server, and whether the start may do without it (`optional:`).",
        off=None,
        compose=import_of_spring,
        default_words="`optional:configserver:` with a variable `SPRING_…` or `CONFIG_SERVER_URL`, else off",
        group="Config Server",
    )
    config_server_url: tuple[str, ...] = setting(
        kinds.HTTP_URLS,
        (),
        "Its address, where `SPRING_CONFIG_IMPORT` has none. Several have the same content, tried in order.",
        default_words="`http://localhost:8888` if `SPRING_CONFIG_IMPORT` is set",
    )
    config_server_label: tuple[str, ...] = setting(
        kinds.LABELS,
        (),
        "Branch, tag or commit of the configuration. Of several the first one counts that the server has.",
        default_words="the server's own",
    )
    config_server_username: str | None = setting(
        kinds.LINE,
        None,
        "User there.",
        default_words="the address's",
    )
    config_server_password: str | None = setting(
        kinds.LINE,
        None,
        "Password there.",
        secret=True,
        default_words="the address's",
    )
    config_server_refresh_seconds: float = setting(
        duration(zero="only when told to"), 30.0, "Time between two looks for a changed configuration."
    )
    config_server_webhook_secret: str | None = setting(
        kinds.TOKEN,
        None,
        "Signs `POST /actuator/refresh/webhook`, which is 404 while this is unset.",
        secret=True,
        default_words="no webhook",
    )
    config_server_enabled: bool = setting(
        kinds.SWITCH, True, "Whether it is asked at all, whatever else is set."
    )
    config_server_fail_fast: bool = setting(
        kinds.SWITCH, False, "Whether the start fails without it even if the import is `optional:`."
    )
    config_server_application: str | None = setting(
        kinds.LINE,
        None,
        "Whose configuration is asked for; several names are separated by commas.",
        default_words="`SPRING_APPLICATION_NAME`",
    )
    config_server_profiles: tuple[str, ...] = setting(
        kinds.NAMES,
        (),
        "Profiles that are asked for.",
        default_words="`SPRING_PROFILES_ACTIVE`",
    )
    config_server_token: str | None = setting(
        kinds.TOKEN, None, "Sent to it as `X-Config-Token`.", secret=True, default_words="none"
    )
    config_server_headers: tuple[tuple[str, str], ...] = setting(
        kinds.HEADERS,
        (),
        "Headers that are sent to it; also one by one, as `SPRING_CLOUD_CONFIG_HEADERS_TENANT=tickets`.",
        compose=headers_of_parts,
        secret=True,
        default_words="none",
    )
    config_server_connect_timeout_seconds: float = setting(
        duration(), 10.0, "For connecting to one of its addresses."
    )
    config_server_timeout_seconds: float = setting(
        duration(), 10.0, "For the whole answer, of whichever address: a server may clone a repository first."
    )
    config_server_discovery: bool = setting(
        kinds.SWITCH,
        False,
        "Whether it is found through Eureka; addresses that are set don't count then.",
    )
    config_server_service_id: tuple[str, ...] = setting(
        kinds.ZONES,
        ("configserver", "config-server"),
        "Its name in Eureka. Of several the first one counts that has an instance.",
    )
