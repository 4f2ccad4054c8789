"""Settings of what is around the gateway: its name there, Eureka, Zipkin. Part of ``Settings``.

Spring spreads zones and metadata over variables whose names depend on others' values; the functions here put them
together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway import settings_kinds as kinds
from gateway.settings_config import ConfigServerSettings
from gateway.settings_kinds import duration, whole
from gateway.settings_table import parsed, setting

_ZONES_OF: Final = "EUREKA_CLIENT_AVAILABILITYZONES_"
_SERVERS_OF: Final = "EUREKA_CLIENT_SERVICEURL_"
_METADATA: Final = "EUREKA_INSTANCE_METADATAMAP_"
_SPRINGS_REGION: Final = "us-east-1"


def zones_of_region(environ: Mapping[str, str]) -> str | None:
    """The zones of the gateway's region, as Spring's variables give them; None if they don't.

    Raises ``SettingsError`` for names that can't be zones.
    """
    name = _ZONES_OF + _as_variable(environ.get("EUREKA_CLIENT_REGION", "").strip() or _SPRINGS_REGION)
    text = environ.get(name, "").strip()
    zones: tuple[str, ...] = parsed(kinds.ZONES, name, text)
    return ",".join(zones) or None


def metadata_of_parts(environ: Mapping[str, str]) -> str | None:
    """``key=value,…`` out of a variable for each key; None if there is none.

    Raises ``SettingsError`` for a value with a comma or control characters.
    """
    parts = {name: text.strip() for name, text in environ.items() if name.startswith(_METADATA)}
    for name, text in parts.items():
        parsed(kinds.METADATA_VALUE, name, text)
    return ",".join(f"{name.removeprefix(_METADATA).lower()}={text}" for name, text in parts.items()) or None


def servers_by_zone(values: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The servers of all zones, the first zone's first, each once. A zone without servers of its own has those of
    the default zone; without any of those Eureka is off.

    ``values`` are the settings read so far; what is missing in them, because it is wrong, counts as empty. Raises
    ``SettingsError``, naming the zone's variable.
    """
    default: tuple[str, ...] = values.get("eureka_client_serviceurl_defaultzone", ())
    if not default:
        return ()
    servers: list[str] = []
    for zone in values.get("eureka_client_availabilityzones") or ("defaultZone",):
        name = _SERVERS_OF + _as_variable(zone)
        text = environ.get(name, "").strip()
        own: tuple[str, ...] = parsed(kinds.HTTP_URLS, name, text) if text else default
        servers += own
    return tuple(dict.fromkeys(servers))


def _as_variable(name: str) -> str:
    """Spring's rule for names in the environment: no dashes, underscores for dots, capitals."""
    return name.replace("-", "").replace(".", "_").upper()


@dataclass(frozen=True, slots=True, repr=False)
class DiscoverySettings(ConfigServerSettings):
    """Who this gateway is to others, and where services and traces are. Derived, since only one base may have slots."""

    spring_application_name: str = setting(
        kinds.HOST,
        "gateway-server",
        "The gateway's name in Eureka and Zipkin, and at the Config Server.",
        group="Discovery and tracing",
    )
    spring_profiles_active: tuple[str, ...] = setting(
        kinds.NAMES, (), "Profiles, for the Config Server and `/actuator/info`.", default_words="none"
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
    eureka_register: bool = setting(
        kinds.SWITCH, True, "Whether to register with Eureka.", older=("EUREKA_CLIENT_REGISTERWITHEUREKA",)
    )
    eureka_fetch: bool = setting(
        kinds.SWITCH,
        True,
        "Whether to take services' instances from Eureka.",
        older=("EUREKA_CLIENT_FETCHREGISTRY",),
    )
    zipkin_endpoint: str | None = setting(
        kinds.HTTP_URL,
        None,
        "Where spans are sent.",
        older=("MANAGEMENT_TRACING_EXPORT_ZIPKIN_ENDPOINT", "MANAGEMENT_ZIPKIN_TRACING_ENDPOINT"),
        off=None,
        spring="http://localhost:9411/api/v2/spans",
        default_words="off; in a Spring environment `http://localhost:9411/api/v2/spans`",
    )
    tracing_sampling_probability: float = setting(
        kinds.fraction(),
        0.1,
        "Share of the traces begun here that is recorded; a trace that a client began is, if the client says so.",
        older=("MANAGEMENT_TRACING_SAMPLING_PROBABILITY",),
    )
