"""Spring's properties for all filters or predicates of a kind: ``filter.secure-headers.*``, ``predicate.host.*``.

They are in the sections ``filter`` and ``predicate``, in the gateway's own format, in Spring's, or among a Config
Server's properties. A property without effect in the gateway causes a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.routing.spec.document import Fields, Items, Node, Text, as_items, filled, plain_name
from gateway.routing.spec.issues import Issues, RuleViolation, nearest, unknown

_PERMISSIONS: Final = (
    *("accelerometer", "ambient-light-sensor", "autoplay", "battery", "camera", "cross-origin-isolated"),
    *("display-capture", "document-domain", "encrypted-media", "execution-while-not-rendered"),
    *("execution-while-out-of-viewport", "fullscreen", "geolocation", "gyroscope", "keyboard-map"),
    *("magnetometer", "microphone", "midi", "navigation-override", "payment", "picture-in-picture"),
    *("publickey-credentials-get", "screen-wake-lock", "sync-xhr", "usb", "web-share", "xr-spatial-tracking"),
)
OPT_IN: Final = "Permissions-Policy"
"""The only header of ``SecureHeaders`` that is added only if it is enabled."""

SECURE_HEADERS: Final[Mapping[str, tuple[str, str]]] = {
    "xss-protection-header": ("X-Xss-Protection", "1 ; mode=block"),
    "strict-transport-security": ("Strict-Transport-Security", "max-age=631138519"),
    "frame-options": ("X-Frame-Options", "DENY"),
    "content-type-options": ("X-Content-Type-Options", "nosniff"),
    "referrer-policy": ("Referrer-Policy", "no-referrer"),
    "content-security-policy": (
        "Content-Security-Policy",
        "default-src 'self' https:; font-src 'self' https: data:; img-src 'self' https: data:; "
        "object-src 'none'; script-src https:; style-src 'self' https: 'unsafe-inline'",
    ),
    "download-options": ("X-Download-Options", "noopen"),
    "permitted-cross-domain-policies": ("X-Permitted-Cross-Domain-Policies", "none"),
    "permissions-policy": (OPT_IN, ", ".join(f"{name}=()" for name in _PERMISSIONS)),
}
"""Name of the property that sets a header's value → the header's name and its default value."""

SWITCHES: Final = ("enable", "disable")
"""The properties that name headers to be added or left out."""

_NAMES: Final = {name.lower(): name for name, _ in SECURE_HEADERS.values()}
_NOT_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class SecureHeaders:
    """The headers that ``SecureHeaders`` adds: values by name, and the names switched on or off, in lower case."""

    values: Mapping[str, str] = field(default_factory=lambda: dict(SECURE_HEADERS.values()))
    enabled: frozenset[str] = frozenset()
    disabled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Defaults:
    """Defaults for all filters and predicates of a kind. ``host_has_port``: ``Host`` compares the port too."""

    secure_headers: SecureHeaders = field(default_factory=SecureHeaders)
    host_has_port: bool = True


@dataclass(frozen=True, slots=True)
class _Property:
    """One property below ``filter`` or ``predicate``: its name as written, and its value."""

    name: str
    node: Text | Items


def read_defaults(
    filters: tuple[Node | None, ...], predicates: tuple[Node | None, ...], issues: Issues
) -> Defaults:
    """Read the sections ``filter`` and ``predicate``. If a property is in several sections, the last one counts."""
    host = _properties("predicate", predicates, issues)
    port = host.pop(("host", "includeport"), None)
    values = dict(SECURE_HEADERS.values())
    properties = _properties("filter", filters, issues)
    switched: dict[str, frozenset[str]] = {}
    for key, (header, _) in SECURE_HEADERS.items():
        found = properties.pop(("secureheaders", plain_name(key)), None)
        if found is not None and (text := _text(found, issues)):
            values[header] = text
    for key in SWITCHES:
        found = properties.pop(("secureheaders", key), None)
        switched[key] = frozenset(_header_names(found, issues) if found else ())
    for path, found in {**properties, **host}.items():
        _without_effect(path, found, issues)
    return Defaults(
        SecureHeaders(values, switched["enable"], switched["disable"]),
        port is None or _flag(port, issues),
    )


def header_names(texts: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The names in ``enable`` or ``disable``, in lower case, each with its warning or ""."""
    for text in texts:
        for name in filter(None, map(str.strip, text.lower().split(","))):
            known = name in _NAMES
            yield name, "" if known else f"SecureHeaders adds no header {name!r}{nearest(name, _NAMES)}"


def _properties(
    section: str, nodes: tuple[Node | None, ...], issues: Issues
) -> dict[tuple[str, ...], _Property]:
    """All values below a section by plain path."""
    found: dict[tuple[str, ...], _Property] = {}
    for node in nodes:
        if node is None or (isinstance(node, Text) and node.null):
            continue
        if not isinstance(node, Fields):
            issues.add(node.line, "shape", f"{section} must be a mapping")
            continue
        found |= dict(_flat(node, (), section))
    return found


def _flat(node: Fields, path: tuple[str, ...], name: str) -> Iterator[tuple[tuple[str, ...], _Property]]:
    for key, value in node.expanded().entries.items():
        below, items = (*path, plain_name(key)), as_items(value)
        if items is not None:
            yield below, _Property(f"{name}.{key}", items)
        elif isinstance(value, Fields):
            yield from _flat(value, below, f"{name}.{key}")
        elif isinstance(value, Text) and not value.null:
            yield below, _Property(f"{name}.{key}", value)


def _texts(found: _Property, issues: Issues) -> tuple[str, ...]:
    items = found.node.items if isinstance(found.node, Items) else (found.node,)
    texts = []
    for item in items:
        try:
            if not isinstance(item, Text):
                raise RuleViolation("shape", f"{found.name} must be a text or a list of texts")
            texts.append("" if item.null else filled(item))
        except RuleViolation as error:
            issues.add_violation(item.line, error)
    return tuple(texts)


def _text(found: _Property, issues: Issues) -> str:
    text = ",".join(_texts(found, issues))
    if _NOT_IN_VALUE.search(text):
        issues.add(found.node.line, "argument", f"{found.name} holds a control character")
        return ""
    return text


def _header_names(found: _Property, issues: Issues) -> Iterator[str]:
    for name, warning in header_names(_texts(found, issues)):
        if warning:
            issues.warn(found.node.line, "argument", f"{found.name}: {warning}")
        yield name


def _flag(found: _Property, issues: Issues) -> bool:
    text = _text(found, issues).lower()
    if text not in ("true", "false"):
        issues.add(found.node.line, "argument", unknown(f"value of {found.name}", text, ("true", "false")))
    return text != "false"


def _without_effect(path: tuple[str, ...], found: _Property, issues: Issues) -> None:
    """Report a property without effect. A switch that is on is not reported, because every feature is on here. A
    misspelled property is a fault if its kind has properties."""
    node = found.node
    if path[-1] == "enabled" and isinstance(node, Text) and node.value.lower() == "true":
        return
    if path[0] == "secureheaders" and path[-1] != "enabled":
        name = found.name.rpartition(".")[2]
        issues.add(
            node.line, "key", unknown("property of secure-headers", name, (*SECURE_HEADERS, *SWITCHES))
        )
        return
    why = "none can be switched off" if path[-1] == "enabled" else "it means nothing here"
    issues.warn(node.line, "no-effect", f"{found.name} has no effect: {why}")
