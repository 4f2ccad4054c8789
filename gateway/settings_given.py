"""Settings that several of Spring's variables make together: headers about the client, labels, descriptions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway import settings_kinds as kinds
from gateway.settings_parts import key_of
from gateway.settings_table import parsed

_TAGS: Final = "MANAGEMENT_METRICS_TAGS_"
_DOCUMENT: Final = re.compile(r"SPRINGDOC_SWAGGERUI_URLS_([0-9]{1,2})_(NAME|URL)")
# The newer generation counts.
_GATEWAY: Final = ("SPRING_CLOUD_GATEWAY_", "SPRING_CLOUD_GATEWAY_SERVER_WEBFLUX_")
_X: Final = ("for", "host", "port", "proto", "prefix")
_SWITCHES: Final[Mapping[str, tuple[str, ...]]] = {
    "FORWARDED_ENABLED": ("forwarded",),
    "XFORWARDED_ENABLED": _X,
    **{f"XFORWARDED_{word.upper()}ENABLED": (word,) for word in _X},
}


def tags_of_parts(environ: Mapping[str, str]) -> str | None:
    """``name=value,…`` out of a variable for each label of metrics; None if there is none.

    Raises ``SettingsError`` for a value with a comma or control characters.
    """
    parts = {name: text.strip() for name, text in environ.items() if name.startswith(_TAGS) and text.strip()}
    for name, text in parts.items():
        parsed(kinds.METADATA_VALUE, name, text)
    return ",".join(f"{key_of(name, _TAGS)}={text}" for name, text in parts.items()) or None


def headers_of_switches(environ: Mapping[str, str]) -> str | None:
    """The headers that no switch turns off, separated by commas; None if there is no switch, and "none" if all are off.

    Raises ``SettingsError`` for what is no switch.
    """
    states: dict[str, bool] = {}
    for prefix in _GATEWAY:
        for name in _SWITCHES:
            if text := environ.get(prefix + name, "").strip():
                states[name] = parsed(kinds.SWITCH, prefix + name, text)
    if not states:
        return None
    off = {word for name, state in states.items() if not state for word in _SWITCHES[name]}
    return ",".join(word for word in ("forwarded", *_X) if word not in off) or kinds.NO_HEADERS


def kept_as_pool_says(environ: Mapping[str, str], seconds: float, name: str | None) -> float:
    """``seconds``; 0 if Spring's pool is ``disabled``, unless the gateway's own variable is where they are from."""
    if name == "PROXY_KEEP_ALIVE_SECONDS":
        return seconds
    kinds_of_pool = [environ.get(f"{prefix}HTTPCLIENT_POOL_TYPE", "").strip().lower() for prefix in _GATEWAY]
    # The last that is set counts.
    return 0.0 if list(filter(None, kinds_of_pool))[-1:] == ["disabled"] else seconds


def documents_of_parts(environ: Mapping[str, str]) -> str | None:
    """``name=address,…`` out of two variables for each description, in the order of their numbers; None if there is
    none."""
    found: dict[int, dict[str, str]] = {}
    for name, text in environ.items():
        if (match := _DOCUMENT.fullmatch(name)) and text.strip():
            found.setdefault(int(match[1]), {})[match[2]] = text.strip()
    pairs = (found[number] for number in sorted(found))
    return (
        ",".join(f"{pair.get('NAME') or pair.get('URL', '')}={pair.get('URL', '')}" for pair in pairs) or None
    )
