"""Settings that several of Spring's variables make together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway import settings_kinds as kinds
from gateway.errors import SettingsError
from gateway.settings_kinds import Kind
from gateway.settings_table import HIDDEN, parsed
from gateway.spring.values import SWITCH, is_true, seconds_of

_SWITCH: Final = Kind(is_true, SWITCH.allowed)
_SHUTDOWN: Final = kinds.one_of("graceful", "immediate")
_GRACE: Final = Kind(
    lambda text: kinds.duration(zero="at once").parse(f"{seconds_of(text):.9f}"),
    "a length of time, such as 30s, PT30S, or 30000 for milliseconds",
)
_HEADERS: Final = "SPRING_CLOUD_CONFIG_HEADERS_"


def turned_off(environ: Mapping[str, str], name: str) -> bool:
    """Whether a switch is set, and off. Raises ``SettingsError``."""
    text = environ.get(name, "").strip()
    return bool(text) and not parsed(_SWITCH, name, text)


def key_of(name: str, beginning: str) -> str:
    """The key that a variable's name ends with. In capitals it has lost its case, and is taken in lower case with dots
    for underscores, as in Spring."""
    rest = name.removeprefix(beginning)
    return rest.lower().replace("_", ".") if rest == rest.upper() else rest


def grace_of_spring(environ: Mapping[str, str]) -> str | None:
    """How long a stop may take, in seconds; None if Spring's variables don't say. Raises ``SettingsError``."""
    how = environ.get("SERVER_SHUTDOWN", "").strip()
    if how and parsed(_SHUTDOWN, "SERVER_SHUTDOWN", how) == "immediate":
        return "0"
    name = "SPRING_LIFECYCLE_TIMEOUTPERSHUTDOWNPHASE"
    text = environ.get(name, "").strip()
    return f"{parsed(_GRACE, name, text):.9f}" if text else None


def headers_of_parts(environ: Mapping[str, str]) -> str | None:
    """``Name=value,…`` out of a variable for each header; None if there is none. In capitals ``_`` is a hyphen.

    Raises ``SettingsError``, without the value, for one with a comma or control characters.
    """
    pairs: list[str] = []
    for name, text in environ.items():
        if not name.startswith(_HEADERS) or not text.strip():
            continue
        rest = name.removeprefix(_HEADERS)
        pair = f"{rest.replace('_', '-') if rest == rest.upper() else rest}={text.strip()}"
        try:
            if len(kinds.HEADERS.parse(pair)) != 1:
                raise ValueError(name)
        except ValueError:
            raise SettingsError(name, HIDDEN, kinds.METADATA_VALUE.allowed) from None
        pairs.append(pair)
    return ",".join(pairs) or None
