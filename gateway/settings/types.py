"""The types of values that a setting can have: how the text is parsed, and what is allowed in words.

A parser takes the text of an environment variable and returns the value, or raises ``ValueError``. The text of that
error does not matter, since the error shown to the operator is made from ``allowed``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Generic, Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

from gateway.settings.host_names import can_be_resolved
from gateway.settings.redis_address import RepeatedParameter, parse_redis_address

T = TypeVar("T")
K = TypeVar("K", bound=str)
Network = IPv4Network | IPv6Network

# Ten years in seconds. A longer value is a typing error; timers of the event loop can still hold this one.
MAX_DURATION_SECONDS = 315_360_000
MIN_DURATION_SECONDS = 0.001
MAX_LABELS = 16
MAX_DOCUMENTS = 100
# Far below 2**53, up to which Redis' Lua counts exactly.
MAX_COUNT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ValueType(Generic[T]):
    """``parse`` reads a text or raises ``ValueError``; ``allowed`` completes "allowed is …"."""

    parse: Callable[[str], T]
    allowed: str


class NotAllowed(ValueError):
    """Raised by ``parse`` if it can say more than its type: ``allowed`` completes "allowed is …"."""

    def __init__(self, allowed: str) -> None:
        self.allowed = allowed
        super().__init__(allowed)


def whole(low: int, high: int = MAX_COUNT, note: str = "") -> ValueType[int]:
    """A whole number within both bounds."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}|[1-9][0-9]{12,17}", text, re.ASCII):
            raise ValueError(text)
        return _within(int(text), low, high)

    return ValueType(parse, f"a whole number from {low} to {high}{note}")


def duration(zero: str | None = None, unit: str = "seconds") -> ValueType[float]:
    """A length of time, fractions included. ``zero`` says what 0 means if 0 is allowed.

    Any other value is at least ``MIN_DURATION_SECONDS``: Redis counts in milliseconds, and the value must not become 0
    there.
    """

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?|\.[0-9]{1,9}", text, re.ASCII):
            raise ValueError(text)
        value = _within(float(text), 0, MAX_DURATION_SECONDS)
        if value < MIN_DURATION_SECONDS and (value or zero is None):
            raise ValueError(text)
        return value

    allowed = f"a number of {unit} from {MIN_DURATION_SECONDS:g}, fractions included, such as 0.5"
    return ValueType(parse, allowed if zero is None else f"{allowed} (0 = {zero})")


def fraction() -> ValueType[float]:
    """A share, from 0 (none) to 1 (all)."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9](\.[0-9]{1,9})?|\.[0-9]{1,9}", text, re.ASCII):
            raise ValueError(text)
        return _within(float(text), 0, 1)

    return ValueType(parse, "a number from 0 to 1, such as 0.25 (0 = none)")


def one_of(*words: K, fold: Callable[[str], str] = str.lower) -> ValueType[K]:
    """One of a few words, upper or lower case; ``fold`` brings a text into the words' own case."""
    by_text: Mapping[str, K] = {word: word for word in words}

    def parse(text: str) -> K:
        try:
            return by_text[fold(text)]
        except KeyError:
            raise ValueError(text) from None

    return ValueType(parse, " or ".join(filter(None, (", ".join(words[:-1]), words[-1]))))


def several_of(*words: str) -> ValueType[tuple[str, ...]]:
    """One or more of a few words, separated by commas, in the order given, each once."""

    def parse(text: str) -> tuple[str, ...]:
        items = _items(text)
        if not items or not set(items) <= set(words):
            raise ValueError(text)
        return tuple(dict.fromkeys(items))

    return ValueType(parse, f"one or more of {', '.join(words)}, separated by commas")


def _parse_rate(text: str) -> str:
    if not re.fullmatch(r"off|[1-9][0-9]{0,6}/[smh]", text.lower()):
        raise ValueError(text)
    return text.lower()


def _parse_switch(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    try:
        return words[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _parse_unshown_switch(text: str) -> bool:
    try:
        return _parse_switch(text)
    except ValueError:
        raise NotAllowed(SWITCH.allowed) from None


def _parse_networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(item) for item in _items(text))


def _parse_line(text: str) -> str:
    if not text.isprintable() or len(text) > 1000:
        raise ValueError("control characters, or too long")
    return text


def _parse_labels(text: str) -> tuple[str, ...]:
    labels = tuple(filter(None, (part.strip() for part in _parse_line(text).split(","))))
    if not 0 < len(labels) <= MAX_LABELS:
        raise ValueError
    return labels


def _parse_names(text: str) -> tuple[str, ...]:
    return _items(_parse_line(text))


def _parse_audiences(text: str) -> tuple[str, ...]:
    audiences = _items(_parse_line(text))
    if not audiences:
        raise ValueError("none")
    return audiences


def _parse_zones(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_matching(item, r"[0-9A-Za-z._-]{1,100}") for item in _items(text)))


def _parse_metadata(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (item.partition("=") for item in _items(_parse_line(text)))
    return tuple((_matching(key.strip(), r"[0-9A-Za-z._-]{1,100}"), value.strip()) for key, _, value in pairs)


def _parse_metadata_value(text: str) -> str:
    return _matching(_parse_line(text), r"[^,]*")


def _parse_documents(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [(name.strip(), url.strip()) for name, _, url in (item.partition("=") for item in _items(text))]
    if not 0 < len(pairs) <= MAX_DOCUMENTS:
        raise ValueError(text)
    for name, url in pairs:
        _parse_line(name)
        _printable(url)
        # Browsers read a backslash as a slash: /\host is another site, as //host is.
        if not name or not re.match(r"/(?!/)|https?://[^/]", url) or "\\" in url or len(url) > 1000:
            raise ValueError(text)
    return tuple(pairs)


def _parse_headers(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (item.partition("=") for item in _items(_parse_line(text)))
    return tuple(
        (_matching(name.strip(), r"[0-9A-Za-z!#$%&'*+.^_`|~-]{1,100}"), value.strip())
        for name, _, value in pairs
    )


def _parse_url_path(text: str) -> str:
    return _matching(text, r"/[\x21-\x7e]{0,1000}")


def _parse_host(text: str) -> str:
    if ":" in text:
        return str(IPv6Address(text))
    if not can_be_resolved(text):
        raise ValueError("no host name")
    return _matching(text, r"[0-9A-Za-z._-]{1,255}")


def _parse_token(text: str) -> str:
    return _matching(text, r"[\x21-\x7e]{1,1000}")


def _parse_cookie_name(text: str) -> str:
    return _matching(text, r"[0-9A-Za-z!#$%&'*+.^_`|~-]{1,255}")


def _parse_path(text: str) -> Path:
    if "\0" in text:
        raise ValueError("NUL")
    return Path(text)


def _parse_http_url(text: str) -> str:
    parts = _split_url(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not can_be_resolved(parts.hostname):
        raise ValueError("no http address")
    return text


def _parse_http_urls(text: str) -> tuple[str, ...]:
    urls = tuple(_parse_http_url(item) for item in _items(text))
    if not urls:
        raise ValueError("none")
    return urls


@dataclass(frozen=True, slots=True)
class ConfigImport:
    """Where to import a configuration from. ``urls`` may be empty: then another setting has them. ``fail_fast``, if the
    first address has it, takes precedence over the setting of that name."""

    optional: bool
    urls: tuple[str, ...] = field(repr=False)  # may hold a password
    fail_fast: bool | None = None


def _parse_config_import(text: str) -> ConfigImport:
    optional = text.startswith("optional:")
    kind, colon, rest = text.removeprefix("optional:").partition(":")
    if kind != "configserver" or not colon:
        raise ValueError("no Config Server")
    urls = _parse_http_urls(rest) if rest else ()
    return ConfigImport(optional, urls, _fail_fast(urls[0]) if urls else None)


def _fail_fast(url: str) -> bool | None:
    """The ``fail-fast`` value in the query of an import's first address. Spring reads the query and does not send it;
    the rest of it says how often a call is repeated."""
    said = dict(part.partition("=")[::2] for part in urlsplit(url).query.split("&"))
    return said["fail-fast"].lower() == "true" if "fail-fast" in said else None


def _parse_redis_url(text: str) -> str:
    if text == "embedded":
        return text
    _printable(text)
    try:
        parse_redis_address(text)
    except RepeatedParameter as error:
        raise NotAllowed(error.allowed) from None
    return text


def _split_url(text: str) -> SplitResult:
    _printable(text)
    parts = urlsplit(text)
    if not text.startswith(f"{parts.scheme}://"):
        raise ValueError("no scheme, or not in lower case")
    if parts.port == 0:  # reading the port also checks that it is a number below 65536
        raise ValueError("port 0")
    return parts


def _printable(text: str) -> None:
    if not text.isprintable() or " " in text:
        raise ValueError("blanks or control characters")


def _parse_secrets(text: str) -> tuple[str, ...]:
    secrets = _items(text)
    if not 1 <= len(secrets) <= 8:
        raise ValueError("none, or too many")
    return tuple(_matching(each, "[!-~]{16,1000}") for each in secrets)


def _matching(text: str, pattern: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError("unfit characters, or too long")
    return text


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


N = TypeVar("N", int, float)


def _within(value: N, low: int, high: int) -> N:
    if not low <= value <= high:
        raise ValueError(f"not within {low} and {high}")
    return value


PORT = whole(0, 65535, " (0 = any free port)")
SWITCH = ValueType(_parse_switch, "true, false, 1, 0, yes or no")
UNSHOWN_SWITCH = ValueType(_parse_unshown_switch, SWITCH.allowed)
"""A switch whose variable may, by its name, hold a password of the operator's. A wrong value is not shown."""
NETWORKS = ValueType(_parse_networks, "networks such as 10.0.0.0/8 or 2001:db8::/32, separated by commas")
LABELS = ValueType(_parse_labels, f"up to {MAX_LABELS} labels, separated by commas")
LINE = ValueType(_parse_line, "up to 1000 characters without control characters")
NAMES = ValueType(_parse_names, "names separated by commas")
AUDIENCES = ValueType(
    _parse_audiences,
    "one or more names separated by commas, up to 1000 characters without control characters",
)
ZONES = ValueType(_parse_zones, "names of letters, digits and ._-, separated by commas")
METADATA = ValueType(_parse_metadata, "pairs such as team=tickets, separated by commas")
METADATA_VALUE = ValueType(
    _parse_metadata_value, "up to 1000 characters without commas and control characters"
)
DOCUMENTS = ValueType(
    _parse_documents,
    f"up to {MAX_DOCUMENTS} pairs of a name and an address without backslashes that begins with / or "
    "http, such as Orders=/orders/v3/api-docs, separated by commas",
)
HEADERS = ValueType(_parse_headers, "pairs such as X-Tenant=tickets, separated by commas")
HOST = ValueType(_parse_host, "a host name or an IP address")
IP_ADDRESS = ValueType(lambda text: str(ip_address(text)), "an IP address")
URL_PATH = ValueType(_parse_url_path, "a path that begins with /")
TOKEN = ValueType(_parse_token, "up to 1000 visible ASCII characters without blanks")
COOKIE_NAME = ValueType(_parse_cookie_name, "a cookie's name (letters, digits and !#$%&'*+.^_`|~-)")
PATH = ValueType(_parse_path, "a path")
HTTP_URL = ValueType(_parse_http_url, "an http:// or https:// address")
HTTP_URLS = ValueType(_parse_http_urls, "one or more http:// or https:// addresses, separated by commas")
REDIS_URL = ValueType(
    _parse_redis_url,
    "redis://[user:password@]host[:port][/database], redis+sentinel://[…@]host[:port],…/service[/database], "
    "redis+cluster://[…@]host[:port],…, each with rediss for TLS, unix:///path/of/a/socket or embedded, "
    "with no other parameters and values than docs/reference/redis.md has",
)
CONFIG_IMPORT = ValueType(
    _parse_config_import,
    "configserver: or optional:configserver:, with an http:// or https:// address behind it or not",
)
ALGORITHMS = several_of(
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
)
REPEAT_METHODS = several_of("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
_HEADERS = several_of("forwarded", "for", "host", "port", "proto", "prefix")
NO_HEADERS = "none"
FORWARDED_HEADERS = ValueType(
    lambda text: () if text == NO_HEADERS else _HEADERS.parse(text), _HEADERS.allowed
)
LOCALES = ("ko", "en", "ja", "zh-Hans", "zh-Hant", "es", "fr", "de", "ar")
_LOCALES_BY_CASE: Mapping[str, str] = {name.lower(): name for name in LOCALES}
LOCALE: ValueType[str] = one_of(*LOCALES, fold=lambda text: _LOCALES_BY_CASE.get(text.lower(), text))
PROFILE: ValueType[Literal["spring", "plain"]] = one_of("spring", "plain")
FORWARD_HEADERS: ValueType[Literal["none", "native", "framework"]] = one_of("none", "native", "framework")
RATE: ValueType[str] = ValueType(
    _parse_rate, "a whole number from 1 to 9999999 per s, m or h, such as 120/m, or off"
)
RELINEUP: ValueType[Literal["back", "keep"]] = one_of("back", "keep")
LINEUP: ValueType[Literal["explicit", "implicit"]] = one_of("explicit", "implicit")
_YAML_SWITCH: Mapping[str, str] = {"true": "on", "yes": "on", "false": "off", "no": "off"}
MODE: ValueType[Literal["on", "off", "observe"]] = one_of(
    *("on", "off", "observe"), fold=lambda text: _YAML_SWITCH.get(text.lower(), text.lower())
)
SECRETS = ValueType(
    _parse_secrets, "up to 8 texts of 16 to 1000 visible ASCII characters without commas, separated by commas"
)
COOKIE_CALLS: ValueType[Literal["queue", "all"]] = one_of("queue", "all")
FOLLOW: ValueType[Literal["auto", "on", "off"]] = one_of("auto", "on", "off")
HOSTS = ValueType(
    lambda text: tuple(_parse_host(item) for item in _items(text)),
    "host names or IP addresses, separated by commas",
)
MANAGEMENT_READS: ValueType[Literal["open", "token"]] = one_of("open", "token")
LOG_FORMAT: ValueType[Literal["text", "json"]] = one_of("text", "json")
LOGGED_USER: ValueType[Literal["off", "hash", "plain"]] = one_of("off", "hash", "plain")
_JAVA_LEVELS: Mapping[str, str] = {"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "ERROR", "OFF": "ERROR"}
_LEVELS: ValueType[Literal["DEBUG", "INFO", "WARNING", "ERROR"]] = one_of(
    *("DEBUG", "INFO", "WARNING", "ERROR"), fold=lambda text: _JAVA_LEVELS.get(text.upper(), text.upper())
)
LOG_LEVEL = ValueType(_LEVELS.parse, "DEBUG, INFO, WARNING or ERROR, or Java's TRACE, WARN, FATAL or OFF")
