"""Reads and checks the settings that a Config Server gives besides routes. Pure.

Each is one of Spring's properties and sets one of the gateway's settings. An environment variable takes precedence; the
caller applies that rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.routing.java_regex import compile_java
from gateway.routing.matcher import MatchingTimeout
from gateway.routing.spec.document import Fields, Items, Node, Text, as_items, filled
from gateway.routing.spec.issues import Issues, RuleViolation
from gateway.routing.spec.sections import texts
from gateway.settings.model import TABLE
from gateway.settings.spring.names import as_variable, uniform
from gateway.settings.spring.values import DURATION, MILLISECONDS, is_true

MAX_TAGS: Final = 32
MAX_LABEL_LENGTH: Final = 100
MAX_VALUE_LENGTH: Final = 1000
_PUBLIC_ADDRESSES: Final = ("203.0.113.7", "198.51.100.7", "8.8.8.8")
"""Addresses that an operator's own proxy is very unlikely to have."""


def _same(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Property:
    """A property with one value, and the setting that it sets.

    ``name`` is canonical. The prefix ``~.`` stands for Spring Cloud Gateway's prefix, older or newer. ``convert`` turns
    Spring's text into the setting's, or raises ValueError. ``allowed`` describes Spring's allowed values. ``live``: a
    change takes effect at once; otherwise at the next start.
    """

    name: str
    setting: str
    convert: Callable[[str], str] = _same
    allowed: str = ""
    live: bool = True


_TIME: Final = "a length of time such as 2s, 500ms or PT2S, or a number of milliseconds"
_NUMBER_OF_MS: Final = "a whole number of milliseconds"
_ZIPKIN: Final = "ZIPKIN_ENDPOINT"

# If several properties set the same setting, the first one that has a value counts.
_SCALARS: Final = (
    Property(
        "~.httpclient.connect-timeout", "PROXY_CONNECT_TIMEOUT_SECONDS", MILLISECONDS.convert, _NUMBER_OF_MS
    ),
    Property("~.httpclient.response-timeout", "PROXY_RESPONSE_TIMEOUT_SECONDS", DURATION.convert, _TIME),
    Property("~.httpclient.pool.max-idle-time", "PROXY_KEEP_ALIVE_SECONDS", DURATION.convert, _TIME),
    Property("queue.max-capacity", "ALLOWED_IN_MAX_CAPACITY"),
    Property("queue.allowed-in-duration-seconds", "ALLOWED_IN_DURATION_SECONDS"),
    Property("management.tracing.sampling.probability", "TRACING_SAMPLING_PROBABILITY"),
    Property("management.tracing.export.zipkin.endpoint", _ZIPKIN, live=False),
    Property("management.zipkin.tracing.endpoint", _ZIPKIN, live=False),
    Property("springdoc.swagger-ui.urls-primary-name", "API_DOCUMENT_FIRST"),
)
_NO_SPANS: Final = (
    "management.tracing.export.enabled",
    "management.tracing.enabled",
    "management.tracing.export.zipkin.enabled",
    "management.zipkin.tracing.export.enabled",
)
_PREFIXES: Final = ("spring.cloud.gateway.server.webflux", "spring.cloud.gateway")
_POOL: Final = "~.httpclient.pool.type"
_TRUSTED: Final = "~.trusted-proxies"
_FORWARDED: Final = "~.forwarded.enabled"
_X_FORWARDED: Final = "~.x-forwarded.enabled"
_WHOLE_CHAIN: Final = "~.x-forwarded.for-append"
_X: Final = ("for", "host", "port", "proto", "prefix")
_HEADER_SWITCHES: Final = {
    _FORWARDED: ("forwarded",),
    _X_FORWARDED: _X,
    **{f"~.x-forwarded.{name}-enabled": (name,) for name in _X},
}
_TAGS: Final = ("management.metrics.tags", "management.observations.key-values")
_DOCUMENTS: Final = "springdoc.swagger-ui.urls"

ONE_VALUE: Final[Mapping[tuple[str, ...], str]] = {
    tuple(map(uniform, name.split("."))): name
    for name in (
        *(each.name for each in _SCALARS),
        *_NO_SPANS,
        *(_POOL, _TRUSTED, _WHOLE_CHAIN, *_HEADER_SWITCHES),
    )
}
"""Segments of a name, in the form that is compared → canonical name. ``~`` stands for Spring Cloud Gateway's prefix."""
FAMILIES: Final[Mapping[tuple[str, ...], str]] = {
    tuple(map(uniform, name.split("."))): name for name in _TAGS
}
"""The same for mappings whose keys the operator chooses."""
LISTS: Final[Mapping[tuple[str, ...], str]] = {tuple(map(uniform, _DOCUMENTS.split("."))): _DOCUMENTS}
"""The same for lists with a ``name`` and a ``url`` in each item."""

GIVEN: Final[Mapping[str, tuple[str, bool]]] = {
    **{each.name: (each.setting, each.live) for each in _SCALARS},
    **dict.fromkeys(_NO_SPANS, (_ZIPKIN, False)),
    _POOL: ("PROXY_KEEP_ALIVE_SECONDS", True),
    _TRUSTED: ("TRUSTED_PROXIES_PATTERN", True),
    **dict.fromkeys(_HEADER_SWITCHES, ("FORWARDED_HEADERS", True)),
    _WHOLE_CHAIN: ("FORWARDED_FOR_CHAIN", True),
    **dict.fromkeys((f"{name}.*" for name in _TAGS), ("METRICS_TAGS", False)),
    f"{_DOCUMENTS}[n].name": ("API_DOCUMENTS", True),
    f"{_DOCUMENTS}[n].url": ("API_DOCUMENTS", True),
}
"""Every property with the setting that it sets, and whether a change takes effect at once."""


def read_given(nodes: Mapping[str, Node], environ: Mapping[str, str], issues: Issues) -> dict[str, Any]:
    """Values of settings by the setting's name in lower case. ``nodes`` are by canonical name. Empty values are left
    out, so that the setting is the same as without a Config Server."""
    reader = _Reader({name: node for name, node in nodes.items() if not _is_own(name, environ)}, issues)
    found: dict[str, Any] = {}
    for one in _SCALARS:
        value = reader.setting(one)
        if value is not None:
            found.setdefault(one.setting.lower(), value)
    if reader.text(_POOL, str.lower) == "disabled":
        found["proxy_keep_alive_seconds"] = 0.0
    if any(reader.switch(name) is False for name in _NO_SPANS):
        found["zipkin_endpoint"] = None
    if (pattern := reader.pattern(_TRUSTED)) is not None:
        found["trusted_proxies_pattern"] = pattern
    switches = {name: reader.switch(name) for name in _HEADER_SWITCHES}
    if any(value is not None for value in switches.values()):
        off = {word for name, value in switches.items() if value is False for word in _HEADER_SWITCHES[name]}
        found["forwarded_headers"] = tuple(word for word in ("forwarded", *_X) if word not in off)
    if (whole := reader.switch(_WHOLE_CHAIN)) is not None:
        found["forwarded_for_chain"] = whole
    if tags := reader.tags():
        found["metrics_tags"] = tags
    if documents := reader.documents():
        found["api_documents"] = documents
    return found


def _kind(setting: str) -> Any:
    return next(row.kind for row in TABLE if row.name == setting)


def _is_own(name: str, environ: Mapping[str, str]) -> bool:
    """Whether the environment sets the property ``name``, which is one of those that turn a setting off.

    If the variable does not turn the setting off, the setting's value stays the same, so the value does not show that
    the variable is set. The variable takes precedence over this property only, not over others for the same setting.
    """
    if name != _POOL and name not in _NO_SPANS:
        return False
    variables = (as_variable(name.replace("~", prefix)) for prefix in _PREFIXES)
    return any(environ.get(variable, "").strip() for variable in variables)


class _Reader:
    def __init__(self, nodes: Mapping[str, Node], issues: Issues) -> None:
        self._nodes = nodes
        self._issues = issues

    def _text(self, node: Node | None) -> str | None:
        """The value with its placeholders filled; None if there is no value, or if it is a fault."""
        if not isinstance(node, Text) or node.null:
            return None
        try:
            return filled(node).strip() or None
        except RuleViolation as error:
            self._issues.add_violation(node.line, error)
            return None

    def text(self, name: str, fold: Callable[[str], str] = _same) -> str | None:
        text = self._text(self._nodes.get(name))
        return None if text is None else fold(text)

    def _wrong(self, name: str, setting: str, allowed: str) -> None:
        # Does not quote the value, which may hold a password.
        self._issues.add(self._nodes[name].line, "setting", f"{setting}: allowed is {allowed}")

    def setting(self, one: Property) -> Any:
        text = self.text(one.name)
        if text is None:
            return None
        kind = _kind(one.setting)
        try:
            return kind.parse(one.convert(text))
        except ValueError:
            allowed = f"{one.allowed}, within {kind.allowed}" if one.allowed else kind.allowed
            self._wrong(one.name, one.setting, allowed)
            return None

    def switch(self, name: str) -> bool | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            return is_true(text)
        except ValueError:
            self._wrong(name, GIVEN[name][0], "true or false")
            return None

    def pattern(self, name: str) -> str | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            warnings = tuple(warnings_of_pattern(text))
        except RuleViolation as error:
            self._issues.add_violation(self._nodes[name].line, error)
            return None
        for warning in warnings:
            self._issues.warn(self._nodes[name].line, "trusted-proxies", warning)
        return text

    def tags(self) -> tuple[tuple[str, str], ...]:
        found: dict[str, str] = {}
        for name in _TAGS:
            node = self._nodes.get(name)
            for key, below in node.entries.items() if isinstance(node, Fields) else ():
                value = self._text(below)
                # Labels are written as Micrometer writes them for Prometheus.
                label = re.sub(r"[^a-zA-Z0-9_]", "_", key)
                label = label if label[:1].isalpha() else f"m_{label}"
                if value is None:
                    continue
                if len(label) > MAX_LABEL_LENGTH or len(value) > MAX_VALUE_LENGTH or len(found) >= MAX_TAGS:
                    self._issues.warn(
                        below.line,
                        "setting",
                        f"left out: METRICS_TAGS are at most {MAX_TAGS}, with names of up to {MAX_LABEL_LENGTH} and "
                        f"values of up to {MAX_VALUE_LENGTH} characters",
                    )
                    continue
                found.setdefault(label, value)
        return tuple(found.items())

    def documents(self) -> tuple[tuple[str, str], ...]:
        node = self._nodes.get(_DOCUMENTS)
        items = None if node is None else as_items(node)
        if items is None:
            return ()
        return tuple(self._documents(items))

    def _documents(self, items: Items) -> Iterator[tuple[str, str]]:
        kind = _kind("API_DOCUMENTS")
        for item in items.items:
            fields = item.entries if isinstance(item, Fields) else {}
            url = self._text(fields.get("url")) or ""
            name = self._text(fields.get("name")) or url
            # A comma or "=" in a name would be read as a separator, so each becomes a blank.
            pair = f"{re.sub('[,=]', ' ', name)}={url}"
            try:
                kind.parse(pair)
            except ValueError:
                self._issues.warn(item.line, "setting", f"left out: API_DOCUMENTS are {kind.allowed}")
                continue
            yield name, url


def warnings_of_pattern(pattern: str) -> Iterator[str]:
    """Warnings about the regex of trusted proxies. Raises RuleViolation if ``pattern`` is no regex."""
    regex = compile_java(pattern)
    if regex.warning:
        yield regex.warning
    trusts = trusting(pattern)
    if all(map(trusts, _PUBLIC_ADDRESSES)):
        yield "every address is trusted, so each client can say who it is: name your proxies"


def trusting(pattern: str) -> Callable[[str], bool]:
    """A function that returns whether an address is that of a trusted proxy. Raises RuleViolation if ``pattern`` is no
    regex."""
    regex = compile_java(pattern)

    def trusts(address: str) -> bool:
        try:
            return regex.matches(address)
        except MatchingTimeout:
            return False

    return trusts


_SETTINGS: Final = {
    "jwkseturi": "JWT_JWKS_URI",
    "issueruri": "JWT_ISSUER",
    "audiences": "JWT_AUDIENCE",
    "jwsalgorithms": "JWT_ALGORITHMS",
}


def read_tokens(nodes: Mapping[str, Node], issues: Issues) -> dict[str, tuple[str, ...]]:
    """Token settings by name in lower case, checked by each setting's rules. Empty values are left out.

    ``audiences`` may hold several, of which a token needs one.
    """
    found: dict[str, tuple[str, ...]] = {}
    for key, node in nodes.items():
        row = next(row for row in TABLE if row.name == _SETTINGS[key])
        several = key in ("audiences", "jwsalgorithms")
        if isinstance(node, Fields) or (isinstance(node, Items) and not several):
            issues.add(node.line, "shape", "this must be one text")
            continue
        values = []
        for text in texts(node, key, issues):
            parts = [part for part in text.value.split(",") if part.strip()] if several else []
            for part in parts or (text.value,):
                try:
                    row.kind.parse(part.strip())
                except ValueError:
                    issues.add(text.line, "token-setting", f"{row.name}: allowed is {row.kind.allowed}")
                values.append(part.strip())
        if values and not (isinstance(node, Text) and node.null):
            found[row.name.lower()] = tuple(values)
    return found
