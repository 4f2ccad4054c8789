"""Settings of the Config Server; part of ``Settings``."""

from __future__ import annotations

from dataclasses import dataclass

from gateway import settings_kinds as kinds
from gateway.settings_kinds import ConfigImport, duration
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
        older=("SPRING_CLOUD_CONFIG_URI",),
        default_words="`http://localhost:8888` if `SPRING_CONFIG_IMPORT` is set",
    )
    config_server_label: tuple[str, ...] = setting(
        kinds.LABELS,
        (),
        "Branch, tag or commit of the configuration. Of several the first one counts that the server has.",
        older=("SPRING_CLOUD_CONFIG_LABEL",),
        default_words="the server's own",
    )
    config_server_username: str | None = setting(
        kinds.LINE,
        None,
        "User there.",
        older=("SPRING_CLOUD_CONFIG_USERNAME",),
        default_words="the address's",
    )
    config_server_password: str | None = setting(
        kinds.LINE,
        None,
        "Password there.",
        older=("SPRING_CLOUD_CONFIG_PASSWORD",),
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
