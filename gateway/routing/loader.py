"""Loads a route file: the whole table, or all of its faults at once.

The file is the gateway's own shape (``routes:``, ``services:``, ``gates:``, …) or Spring's
(``spring.cloud.gateway.server.webflux.routes`` and so on, with or without the last two words); the
gateway's own sections may stand beside either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from gateway.routing.document import BadDocument, Fields, Node, Text, read_document
from gateway.routing.faults import Faults, RouteFileError, unknown
from gateway.routing.route_reader import read_routes
from gateway.routing.sections import (
    check_overlaps,
    read_access,
    read_cors,
    read_gates,
    read_rooms,
    read_services,
)
from gateway.routing.table import RouteTable

_OWN: Final = ("routes", "default-filters", "services", "gates", "access", "rooms", "cors")
# Settings of Spring that have nothing to do with routes; here they are environment variables.
_SPRING_TOP: Final = frozenset(
    {"application", "config", "debug", "eureka", "info", "jwt", "logging", "management", "resilience4j"}
    | {"server", "springdoc", "token"}
)
_SPRING_GATEWAY: Final = frozenset(
    {"actuator", "discovery", "enabled", "failonroutedefinitionerror", "filter", "forwarded", "globalfilter"}
    | {"handlermapping", "httpclient", "httpserver", "loadbalancer", "metrics", "observability", "predicate"}
    | {"redisratelimiter", "routefiltercacheenabled", "routerefreshlistener", "securityheaders"}
    | {"streamingmediatypes", "trustedproxies", "websocket", "xforwarded"}
)
_IN_GATEWAY: Final = ("routes", "default-filters", "globalcors")


def default_file() -> Path:
    """The route file that comes with the package."""
    return Path(str(resources.files("gateway").joinpath("routes.yaml")))


def load(path: Path, environ: Mapping[str, str]) -> RouteTable:
    """Load a route file; raises RouteFileError with every fault, also if it can't be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        faults = Faults(str(path))
        faults.add(1, "file", f"can't be read: {error.strerror or error}")
        raise RouteFileError(faults.in_order()) from None
    return parse(data, str(path), environ)


def parse(data: bytes, file: str, environ: Mapping[str, str]) -> RouteTable:
    """Make a table of a route file's content; raises RouteFileError. ``file`` is its name in faults."""
    faults = Faults(file)
    try:
        root = read_document(data, environ)
    except BadDocument as error:
        faults.add(error.line, "yaml", error.message)
        raise RouteFileError(faults.in_order()) from None
    if root is None:
        faults.add(1, "shape", "the file is empty; write 'routes: []' for a gateway without routes")
        raise RouteFileError(faults.in_order())
    sections = _sections(root, faults)
    routes = read_routes(sections.get("routes"), sections.get("defaultfilters"), faults)
    gates, gate_lines = read_gates(sections.get("gates"), faults)
    public, public_lines = read_access(sections.get("access"), faults)
    check_overlaps(gates, gate_lines, public, public_lines, faults)
    cors, cors_unrouted = read_cors(sections.get("cors"), faults)
    table = RouteTable(
        routes=routes,
        gates=gates,
        public=public,
        rooms=read_rooms(sections.get("rooms"), gates, faults),
        services=read_services(sections.get("services"), faults),
        cors=cors,
        cors_unrouted=cors_unrouted,
        source=file,
        digest=digest_of(data),
    )
    if faults.found:
        raise RouteFileError(faults.in_order())
    return table


def digest_of(data: bytes) -> bytes:
    """What tells one content of a route file from another."""
    return hashlib.sha256(data).digest()


def _plain(key: str) -> str:
    return key.replace("-", "").replace("_", "").lower()


def _sections(root: Fields, faults: Faults) -> dict[str, Node]:
    """All sections by plain key, Spring's moved to where the gateway's own are."""
    sections: dict[str, Node] = {}
    known = {_plain(name) for name in _OWN}
    spring = next((key for key in root.entries if key.lower() == "spring"), None)
    for key, node in root.entries.items():
        plain = _plain(key)
        if plain in known:
            sections[plain] = node
        elif key != spring and not (spring is not None and plain in _SPRING_TOP):
            faults.add(root.lines.get(key, 1), "key", unknown("section", key, (*_OWN, "spring")))
    for plain, node in _spring_sections(root.entries[spring], faults).items() if spring else ():
        if plain in sections:
            faults.add(
                node.line, "shape", f"{plain} is there twice: in the gateway's own shape and in Spring's"
            )
        sections[plain] = node
    return sections


def _spring_sections(node: Node, faults: Faults) -> dict[str, Node]:
    gateway = _below(_below(node, "cloud"), "gateway")
    sections: dict[str, Node] = {}
    for place in (gateway, _below(_below(gateway, "server"), "webflux")):
        if not isinstance(place, Fields):
            continue
        for key, value in place.expanded().entries.items():
            plain = _plain(key)
            if plain in ("routes", "defaultfilters", "globalcors"):
                sections["cors" if plain == "globalcors" else plain] = value
            elif plain not in _SPRING_GATEWAY and not (place is gateway and plain in ("server", "mvc")):
                line = place.lines.get(key, place.line)
                faults.add(line, "key", unknown("key of the gateway", key, _IN_GATEWAY))
    return sections


def _below(node: Node | None, key: str) -> Node | None:
    if not isinstance(node, Fields):
        return None
    found = {name.lower(): value for name, value in node.expanded().entries.items()}.get(key)
    return None if isinstance(found, Text) else found
