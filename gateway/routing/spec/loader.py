"""Loads a route file: returns the whole table, or raises all of its faults at once.

The file is in the gateway's own format (``routes:``, ``services:``, ``gates:``, …) or in Spring's
(``spring.cloud.gateway.server.webflux.routes`` and so on, with or without ``server.webflux``). The gateway's own
sections may be added to either. A Config Server's properties are laid over the file's sections first, so that the same
readers read both.
"""

from __future__ import annotations

import dataclasses
import hashlib
import stat
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from gateway.routing.spec.defaults import read_defaults
from gateway.routing.spec.document import BadDocument, Fields, Node, Text, merged, plain_name, read_document
from gateway.routing.spec.issues import Issues, RouteFileError, unknown
from gateway.routing.spec.locator import read_locator
from gateway.routing.spec.model import FILE, SPRING, SPRING_GATEWAY, SPRING_SECTIONS, SPRING_TOP
from gateway.routing.spec.overlay import Properties
from gateway.routing.spec.pages import with_pages
from gateway.routing.spec.remote_settings import read_given, read_tokens
from gateway.routing.spec.routes import read_routes, with_tls_of_services
from gateway.routing.spec.sections import (
    check_overlaps,
    lines_of,
    read_access,
    read_cors,
    read_gates,
    read_rooms,
)
from gateway.routing.spec.services import read_services
from gateway.routing.spec.size import warn_of_size
from gateway.routing.spec.warnings import Lines, warn_of
from gateway.routing.table import RouteTable

_SPRING_GATEWAY: Final = frozenset(map(plain_name, SPRING_GATEWAY))
# Spring's keys that the gateway ignores although that changes its behaviour, and what to do instead.
_WITHOUT_EFFECT: Final = {
    "forwarded": "Forwarded is always written anew",
    "globalfilter": "there are no global filters to be switched",
    "httpclient": "set PROXY_CONNECT_TIMEOUT_SECONDS and PROXY_RESPONSE_TIMEOUT_SECONDS, or a route's metadata",
    "httpserver": "the gateway's own server has settings of its own",
    "redisratelimiter": "the waiting room is what limits here",
    "setstatus": "the status of the service is not told in a header",
    "trustedproxies": "set TRUSTED_PROXIES to networks",
    "version": "the predicate Version is not supported",
    "xforwarded": "X-Forwarded-* are always written anew",
}


def default_file() -> Path:
    """The route file that is part of the package."""
    return Path(str(resources.files("gateway").joinpath("routes.yaml")))


MAX_FILE_BYTES: Final = 32 * 1024 * 1024


def content_of(path: Path, *, once: bool = False) -> bytes:
    """A route file's content. Raises RouteFileError if it can't be read or is longer than ``MAX_FILE_BYTES``.

    ``once``: the file is read only this once, so it may be a pipe. Otherwise it must be a regular file, which has the
    same content when it is read again, and never blocks the reader.
    """
    try:
        if not once and not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise OSError("it is not a regular file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise OSError(f"it is longer than {MAX_FILE_BYTES >> 20} MiB")
    except OSError as error:
        issues = Issues(str(path))
        issues.add(1, "file", f"can't be read: {error.strerror or error}")
        raise RouteFileError(issues.sorted_errors()) from None
    return data


def parse(
    data: bytes, file: str, environ: Mapping[str, str], properties: Properties | None = None
) -> RouteTable:
    """Make a table of a route file's content. Raises RouteFileError. ``file`` is its name in faults.

    ``properties`` of a Config Server are laid over the file. Its routes and default filters, if it has any, replace the
    file's. CORS is merged by path pattern and the locator by key, and the server wins. Services, gates, access and
    rooms come from the file only. The table's ``warnings`` name what is allowed but probably not intended.
    """
    issues = Issues(file, properties.places if properties else ())
    try:
        root = read_document(data, environ)
    except BadDocument as error:
        issues.add(error.line, "yaml", error.message)
        raise RouteFileError(issues.sorted_errors()) from None
    if root is None:
        issues.add(1, "shape", "the file is empty; write 'routes: []' for a gateway without routes")
        raise RouteFileError(issues.sorted_errors())
    own = _sections(root, issues)
    over = properties.sections if properties else {}
    sections = {**own, **over}
    default_filters = sections.get("defaultfilters")
    kind_defaults = read_defaults(
        (own.get("filter"), over.get("filter")), (own.get("predicate"), over.get("predicate")), issues
    )
    routes = read_routes(sections.get("routes"), default_filters, issues, kind_defaults)
    gates, gate_lines, gate_rooms = read_gates(own.get("gates"), issues)
    public, public_lines = read_access(own.get("access"), issues)
    rooms = with_pages(own.get("rooms"), read_rooms(own.get("rooms"), gates, issues), issues)
    check_overlaps(gates, gate_lines, public, public_lines, rooms, issues)
    own_cors, own_unrouted = read_cors(own.get("cors"), issues)
    over_cors, over_unrouted = read_cors(over.get("cors"), issues)
    services = read_services(own.get("services"), issues)
    table = RouteTable(
        routes=with_tls_of_services(routes, services.tls, issues),
        gates=gates,
        public=public,
        rooms=rooms,
        services=services.instances,
        service_policies=services.policies,
        service_tls={name: keys.tls for name, keys in services.tls.items()},
        # The server's patterns are tried first.
        cors={**over_cors, **own_cors, **over_cors},
        cors_unrouted=own_unrouted or over_unrouted,
        locator=read_locator(
            own.get("discovery"), over.get("discovery"), default_filters, issues, kind_defaults
        ),
        tokens=read_tokens(properties.tokens if properties else {}, issues),
        given=read_given(properties.given if properties else {}, environ, issues),
        source=file,
        digest=digest_of(data),
    )
    if issues.errors:
        raise RouteFileError(issues.sorted_errors())
    lines = Lines(
        {**gate_lines, **public_lines}, gate_rooms, lines_of(own.get("rooms")), lines_of(own.get("services"))
    )
    warn_of(table, lines, issues, gates_named="gates" in own)
    warn_of_size(table, lines.calls, issues)
    return dataclasses.replace(table, warnings=issues.warnings())


def digest_of(data: bytes) -> bytes:
    """A digest that identifies the content of a route file."""
    return hashlib.sha256(data).digest()


def _sections(root: Fields, issues: Issues) -> dict[str, Node]:
    """All sections by plain key. Spring's sections get the keys of the gateway's own."""
    sections: dict[str, Node] = {}
    spring = next((key for key in root.entries if key.lower() == SPRING), None)
    for key, node in root.entries.items():
        plain = plain_name(key)
        if plain in FILE.by_plain_name:
            sections[plain] = node
        elif key != spring and not (spring is not None and plain in SPRING_TOP):
            issues.add(root.lines.get(key, 1), "key", unknown("section", key, (*FILE.names, SPRING)))
    for plain, node in _spring_sections(root.entries[spring], issues).items() if spring else ():
        if plain in sections:
            issues.add(
                node.line, "shape", f"{plain} is there twice: in the gateway's own shape and in Spring's"
            )
        sections[plain] = node
    return sections


def _spring_sections(node: Node, issues: Issues) -> dict[str, Node]:
    gateway = _below(_below(node, "cloud"), "gateway")
    sections: dict[str, Node] = {}
    for place in (gateway, _below(_below(gateway, "server"), "webflux")):
        if not isinstance(place, Fields):
            continue
        for key, value in place.expanded().entries.items():
            plain = plain_name(key)
            if plain in ("filter", "predicate") and plain in sections:
                sections[plain] = merged(sections[plain], value)
            elif plain in SPRING_SECTIONS:
                sections[plain_name(SPRING_SECTIONS[plain].name)] = value
            elif plain not in _SPRING_GATEWAY and not (place is gateway and plain in ("server", "mvc")):
                line = place.lines.get(key, place.line)
                issues.add(
                    line,
                    "key",
                    unknown("key of the gateway", key, (each.spring for each in SPRING_SECTIONS.values())),
                )
            elif plain in _WITHOUT_EFFECT:
                line = place.lines.get(key, place.line)
                issues.warn(line, "no-effect", f"{key} has no effect: {_WITHOUT_EFFECT[plain]}")
    return sections


def _below(node: Node | None, key: str) -> Node | None:
    if not isinstance(node, Fields):
        return None
    found = {name.lower(): value for name, value in node.expanded().entries.items()}.get(key)
    return None if isinstance(found, Text) else found
