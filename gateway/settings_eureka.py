"""Settings of Eureka that Spring spreads over variables whose names depend on others' values: zones and metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway import settings_kinds as kinds
from gateway.settings_table import parsed

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
