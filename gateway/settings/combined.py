"""Settings whose value is composed of several of Spring's variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeVar

from gateway.errors import SettingsError
from gateway.settings import types as kinds
from gateway.settings.fields import HIDDEN, parsed
from gateway.settings.spring.values import SWITCH, is_true, seconds_of
from gateway.settings.types import ValueType

T = TypeVar("T")

_SWITCH: Final = ValueType(is_true, SWITCH.allowed)
_SHUTDOWN: Final = kinds.one_of("graceful", "immediate")
_GRACE: Final = ValueType(
    lambda text: kinds.duration(zero="at once").parse(f"{seconds_of(text):.9f}"),
    "a length of time, such as 30s, PT30S, or 30000 for milliseconds",
)
_HEADERS: Final = "SPRING_CLOUD_CONFIG_HEADERS_"


def turned_off(environ: Mapping[str, str], name: str) -> bool:
    """Whether a switch is set, and off. Raises ``SettingsError``."""
    text = environ.get(name, "").strip()
    return bool(text) and not parsed(_SWITCH, name, text)


def key_of(name: str, beginning: str) -> str:
    """The key at the end of a variable's name. A name in capitals has lost the case of its key: the key is then taken
    in lower case, with dots for underscores, as in Spring."""
    rest = name.removeprefix(beginning)
    return rest.lower().replace("_", ".") if rest == rest.upper() else rest


def grace_of_spring(environ: Mapping[str, str]) -> str | None:
    """How long a stop may take, in seconds; None if Spring's variables don't set it. Raises ``SettingsError``."""
    how = environ.get("SERVER_SHUTDOWN", "").strip()
    if how and parsed(_SHUTDOWN, "SERVER_SHUTDOWN", how) == "immediate":
        return "0"
    name = "SPRING_LIFECYCLE_TIMEOUTPERSHUTDOWNPHASE"
    text = environ.get(name, "").strip()
    return f"{parsed(_GRACE, name, text):.9f}" if text else None


def headers_of_parts(environ: Mapping[str, str]) -> str | None:
    """``Name=value,…`` made of one variable per header; None if there is none. ``_`` in a name in capitals is a hyphen.

    Raises ``SettingsError``, without the value, for a value with a comma or control characters.
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


_TAGS: Final = "MANAGEMENT_METRICS_TAGS_"
_DOCUMENT: Final = re.compile(r"SPRINGDOC_SWAGGERUI_URLS_([0-9]{1,2})_(NAME|URL)")
# If both generations are set, the newer one counts.
_GATEWAY: Final = ("SPRING_CLOUD_GATEWAY_", "SPRING_CLOUD_GATEWAY_SERVER_WEBFLUX_")
_X: Final = ("for", "host", "port", "proto", "prefix")
_SWITCHES: Final[Mapping[str, tuple[str, ...]]] = {
    "FORWARDED_ENABLED": ("forwarded",),
    "XFORWARDED_ENABLED": _X,
    **{f"XFORWARDED_{word.upper()}ENABLED": (word,) for word in _X},
}


def tags_of_parts(environ: Mapping[str, str]) -> str | None:
    """``name=value,…`` made of one variable per label of metrics; None if there is none.

    Raises ``SettingsError`` for a value with a comma or control characters.
    """
    parts = {name: text.strip() for name, text in environ.items() if name.startswith(_TAGS) and text.strip()}
    for name, text in parts.items():
        parsed(kinds.METADATA_VALUE, name, text)
    return ",".join(f"{key_of(name, _TAGS)}={text}" for name, text in parts.items()) or None


def headers_of_switches(environ: Mapping[str, str]) -> str | None:
    """The headers that no switch turns off, separated by commas; None if there is no switch, and "none" if all are off.

    Raises ``SettingsError`` for a value that is not a switch.
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
    """``seconds``; but 0 if Spring's pool is ``disabled`` and ``seconds`` does not come from the gateway's own
    variable."""
    if name == "PROXY_KEEP_ALIVE_SECONDS":
        return seconds
    kinds_of_pool = [environ.get(f"{prefix}HTTPCLIENT_POOL_TYPE", "").strip().lower() for prefix in _GATEWAY]
    # The last that is set counts.
    return 0.0 if list(filter(None, kinds_of_pool))[-1:] == ["disabled"] else seconds


def cookie_is_named(environ: Mapping[str, str], calls: str, name: str | None) -> str:
    """``calls``. Raises ``SettingsError`` if a cookie is to count on all calls, and none is named."""
    if calls == "all" and not environ.get("JWT_COOKIE_NAME", "").strip():
        raise SettingsError(
            name or "JWT_COOKIE_CALLS",
            calls,
            "queue as long as JWT_COOKIE_NAME names no cookie; name one for all",
        )
    return calls


def has_private_key(environ: Mapping[str, str], file: T, name: str | None) -> T:
    """``file``. Raises ``SettingsError`` for a certificate without a private key."""
    return _belongs_to(environ, file, name, "SERVER_SSL_CERTIFICATE", "SERVER_SSL_CERTIFICATE_PRIVATE_KEY")


def has_certificate(environ: Mapping[str, str], file: T, name: str | None) -> T:
    """``file``. Raises ``SettingsError`` for a private key without a certificate."""
    return _belongs_to(environ, file, name, "SERVER_SSL_CERTIFICATE_PRIVATE_KEY", "SERVER_SSL_CERTIFICATE")


def _belongs_to(environ: Mapping[str, str], file: T, name: str | None, own: str, other: str) -> T:
    if file is not None and not environ.get(other, "").strip():
        raise SettingsError(name or own, str(file), f"a file only together with {other}")
    return file


def documents_of_parts(environ: Mapping[str, str]) -> str | None:
    """``name=address,…`` made of two variables per API description, in the order of their numbers; None if there is
    none."""
    found: dict[int, dict[str, str]] = {}
    for name, text in environ.items():
        if (match := _DOCUMENT.fullmatch(name)) and text.strip():
            found.setdefault(int(match[1]), {})[match[2]] = text.strip()
    pairs = (found[number] for number in sorted(found))
    return (
        ",".join(f"{pair.get('NAME') or pair.get('URL', '')}={pair.get('URL', '')}" for pair in pairs) or None
    )
