"""Settings about other systems: the gateway's own name, Eureka, the Config Server. Part of ``Settings``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.settings import types as kinds
from gateway.settings.combined import headers_of_parts, key_of, turned_off
from gateway.settings.fields import parsed, setting
from gateway.settings.profile import import_of_spring
from gateway.settings.spring.environ import SpringEnviron
from gateway.settings.spring.names import as_variable
from gateway.settings.spring.table import NAMES
from gateway.settings.types import ConfigImport, duration, whole


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


_ZONES_OF: Final = "EUREKA_CLIENT_AVAILABILITYZONES_"
_SERVERS_OF: Final = "EUREKA_CLIENT_SERVICEURL_"
_METADATA: Final = "EUREKA_INSTANCE_METADATAMAP_"
_DISCOVERY: Final = "SPRING_CLOUD_DISCOVERY_ENABLED"
_REGISTRATION: Final = "SPRING_CLOUD_SERVICEREGISTRY_AUTOREGISTRATION_ENABLED"
_SPRINGS_REGION: Final = "us-east-1"
_DEFAULT_ZONE: Final = "defaultZone"


def zones_of_region(environ: Mapping[str, str]) -> str | None:
    """The zones of the gateway's region, from Spring's variables; None if they don't set any.

    Raises ``SettingsError`` for names that can't be zones.
    """
    name = _variable_of_region(environ)
    text = environ.get(name, "").strip()
    zones: tuple[str, ...] = parsed(kinds.ZONES, name, text)
    return ",".join(zones) or None


def _variable_of_region(environ: Mapping[str, str]) -> str:
    return _ZONES_OF + as_variable(environ.get("EUREKA_CLIENT_REGION", "").strip() or _SPRINGS_REGION)


def unread_zones(environ: SpringEnviron) -> Iterator[str]:
    """Warnings, one line each: for a variable with servers of a zone that no list of zones names, and for lists of
    zones of other regions if the gateway's own region has none. These variables are not read, so the default zone
    counts; a misspelt default zone would leave the default address."""
    texts = {**environ.plain, **environ.from_json}
    names = {name: match for name in texts if texts[name].strip() and (match := NAMES.match(name))}
    lists = {name: text for name, text in environ.items() if f"{name}_".startswith(_ZONES_OF)}
    zones = {zone.strip() for text in lists.values() for zone in text.split(",")} | {_DEFAULT_ZONE}
    read = {variable for zone in zones for variable in _variables_of_zone(zone)}
    for name, match in names.items():
        if match.variable.startswith(_SERVERS_OF) and match.variable not in read:
            yield (
                f"{name} has servers of a zone that EUREKA_CLIENT_AVAILABILITYZONES does not name, so it has no "
                f"effect: those of the default zone are in {_SERVERS_OF}DEFAULTZONE"
            )
    own = (_ZONES_OF.rstrip("_"), _variable_of_region(environ))
    if any(environ.get(name, "").strip() for name in own):
        return
    for name, match in names.items():
        if match.variable.startswith(_ZONES_OF):
            yield (
                f"{name} has zones of another region than the gateway's, so it has no effect: EUREKA_CLIENT_REGION "
                f"names the gateway's region, which is {_SPRINGS_REGION} without it"
            )


def metadata_of_parts(environ: Mapping[str, str]) -> str | None:
    """``key=value,…`` made of one variable per key; None if there is none.

    Raises ``SettingsError`` for a value with a comma or control characters.
    """
    parts = {name: text.strip() for name, text in environ.items() if name.startswith(_METADATA)}
    for name, text in parts.items():
        parsed(kinds.METADATA_VALUE, name, text)
    return ",".join(f"{key_of(name, _METADATA)}={text}" for name, text in parts.items()) or None


def eureka_wanted(environ: Mapping[str, str], wanted: bool, _: str | None) -> bool:
    """``wanted``, unless Spring's switch for all discovery is off. Raises ``SettingsError``."""
    return wanted and not turned_off(environ, _DISCOVERY)


def registration_wanted(environ: Mapping[str, str], wanted: bool, _: str | None) -> bool:
    """``wanted``, unless Spring's switch for all registration is off. Raises ``SettingsError``."""
    return wanted and not turned_off(environ, _REGISTRATION)


def servers_by_zone(values: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The servers of all zones, those of the first zone first, without duplicates. A zone without servers of its own
    has those of the default zone; if that has none either, Eureka is off.

    ``values``: the settings read so far; a setting that is missing because it is wrong counts as empty. Raises
    ``SettingsError``, naming the zone's variable.
    """
    default: tuple[str, ...] = values.get("eureka_client_serviceurl_defaultzone", ())
    if not default or not values.get("eureka_client_enabled", True):
        return ()
    zones: tuple[str, ...] = values.get("eureka_client_availabilityzones") or (_DEFAULT_ZONE,)
    if not values.get("eureka_client_prefersamezoneeureka", True):
        zones = (*zones[1:], zones[0])
    servers: list[str] = []
    for zone in zones:
        name, legacy = _variables_of_zone(zone)
        if not environ.get(name, "").strip() and environ.get(legacy, "").strip():
            name = legacy
        text = environ.get(name, "").strip()
        own: tuple[str, ...] = parsed(kinds.HTTP_URLS, name, text) if text else default
        servers += own
    return tuple(dict.fromkeys(servers))


def _variables_of_zone(zone: str) -> tuple[str, str]:
    """The variables that may hold the zone's servers: the canonical name, and the older form."""
    return _SERVERS_OF + as_variable(zone), _SERVERS_OF + zone.replace("-", "_").replace(".", "_").upper()


@dataclass(frozen=True, slots=True, repr=False)
class DiscoverySettings(ConfigServerSettings):
    """The gateway's name to other systems, and where services are. A subclass, because only one base class may have
    slots."""

    spring_application_name: str = setting(
        kinds.HOST,
        "gateway-server",
        "The gateway's name in Eureka and in traces, and at the Config Server.",
        group="Discovery",
    )
    spring_profiles_active: tuple[str, ...] = setting(
        kinds.NAMES, (), "Profiles, for the Config Server and `/actuator/info`.", default_words="none"
    )
    eureka_client_enabled: bool = setting(
        kinds.SWITCH,
        True,
        "Whether the gateway uses Eureka. With `false`, the other settings of Eureka have no effect.",
        cross_check=eureka_wanted,
    )
    eureka_client_serviceurl_defaultzone: tuple[str, ...] = setting(
        kinds.HTTP_URLS,
        (),
        "Eureka servers, tried in this order.",
        off=(),
        spring=("http://localhost:8761/eureka/",),
        default_words="off; in a Spring environment `http://localhost:8761/eureka/`",
    )
    eureka_client_availabilityzones: tuple[str, ...] = setting(
        kinds.ZONES,
        (),
        "Zones of Eureka servers, the gateway's own first; see eureka.md.",
        compose=zones_of_region,
        default_words="the default zone",
    )
    eureka_client_prefersamezoneeureka: bool = setting(
        kinds.SWITCH, True, "Whether servers of the first zone are asked first; else they are asked last."
    )
    eureka_client_registryfetchintervalseconds: float = setting(
        duration(), 10.0, "Time between two looks at who is registered with Eureka."
    )
    eureka_instance_hostname: str | None = setting(
        kinds.HOST,
        None,
        "The name under which Eureka tells others of this gateway.",
        default_words="`SERVER_HOST` if that is one address, else the machine's",
    )
    eureka_instance_preferipaddress: bool = setting(
        kinds.SWITCH, False, "Whether Eureka tells others the gateway's IP address instead of a name."
    )
    eureka_instance_ipaddress: str | None = setting(
        kinds.IP_ADDRESS,
        None,
        "The IP address that Eureka tells others.",
        default_words="that of the machine on the way to Eureka",
    )
    eureka_instance_appname: str | None = setting(
        kinds.HOST,
        None,
        "The gateway's name in Eureka, where it is another.",
        default_words="`SPRING_APPLICATION_NAME`",
    )
    eureka_instance_instanceid: str | None = setting(
        kinds.LINE,
        None,
        "What tells this gateway from others of its name. May hold `${spring.cloud.client.hostname}`, "
        "`${spring.cloud.client.ip-address}`, `${server.port}` and `${random.value}`.",
        default_words="host, name and port",
    )
    eureka_instance_nonsecureport: int | None = setting(
        whole(1, 65535), None, "The port that Eureka tells others.", default_words="the one listened on"
    )
    eureka_instance_nonsecureportenabled: bool = setting(
        kinds.SWITCH, True, "Whether Eureka tells others to use that port."
    )
    eureka_instance_secureport: int = setting(
        whole(1, 65535), 443, "The port at which a proxy in front of the gateway speaks TLS."
    )
    eureka_instance_secureportenabled: bool = setting(
        kinds.SWITCH, False, "Whether Eureka tells others to use that port."
    )
    eureka_instance_homepageurl: str | None = setting(
        kinds.HTTP_URL, None, "Home page that Eureka shows.", default_words="made of the next"
    )
    eureka_instance_homepageurlpath: str = setting(kinds.URL_PATH, "/", "Its path at the gateway.")
    eureka_instance_statuspageurl: str | None = setting(
        kinds.HTTP_URL, None, "Status page that Eureka shows.", default_words="made of the next"
    )
    eureka_instance_statuspageurlpath: str = setting(
        kinds.URL_PATH, "/actuator/info", "Its path at the gateway, on the port of `/actuator`."
    )
    eureka_instance_healthcheckurl: str | None = setting(
        kinds.HTTP_URL, None, "Health page that Eureka tells others.", default_words="made of the next"
    )
    eureka_instance_healthcheckurlpath: str = setting(
        kinds.URL_PATH, "/actuator/health", "Its path at the gateway, on the port of `/actuator`."
    )
    eureka_instance_metadatamap: tuple[tuple[str, str], ...] = setting(
        kinds.METADATA,
        (),
        "What Eureka tells others besides; also one by one, as `EUREKA_INSTANCE_METADATAMAP_TEAM=tickets`.",
        compose=metadata_of_parts,
        default_words="none",
    )
    eureka_instance_leaserenewalintervalinseconds: int = setting(
        whole(1, 3600),
        30,
        "Time between two heartbeats to Eureka; after three without one the gateway counts as gone.",
    )
    eureka_instance_leaseexpirationdurationinseconds: int | None = setting(
        whole(1, 86_400),
        None,
        "How long after the last heartbeat the gateway counts as gone.",
        default_words="three times the time between two",
    )
    eureka_register: bool = setting(
        kinds.SWITCH, True, "Whether to register with Eureka.", cross_check=registration_wanted
    )
    eureka_fetch: bool = setting(
        kinds.SWITCH,
        True,
        "Whether to take services' instances from Eureka.",
    )
