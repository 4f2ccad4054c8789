"""Turns a Config Server's response into sections of a route file. Pure.

Spring's rules apply: the first source that has a property wins, a list is taken as a whole from one source, and
mappings are merged. Older and newer names of a property are both read; within a source the newer one wins. Properties
that the gateway does not read are listed by name. ``gates``, ``access``, ``rooms`` and ``services`` come from the route
file only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.discovery.config_server.response import (
    ConfigResponse,
    Lookup,
    PropertySource,
    Segment,
    Value,
    split,
    text_of,
)
from gateway.routing.spec.defaults import SECURE_HEADERS
from gateway.routing.spec.document import Fields, Items, Node, Text, merged
from gateway.routing.spec.issues import Place
from gateway.routing.spec.overlay import Properties
from gateway.routing.spec.remote_settings import FAMILIES, LISTS, ONE_VALUE
from gateway.settings.spring.names import uniform

_HERE: Final = "nothing here reads it"
_EUREKA: Final = "what belongs to Eureka is set by variables alone: see docs/reference/eureka.md"
_REDIS: Final = "where the waiting room is says REDIS_URL alone"
_SERVER: Final = "the gateway's own server is set by variables alone: see docs/reference/settings.md"
_ACTUATOR: Final = "/actuator has the paths and endpoints of docs/reference/api.md"
_FILTERS: Final = "filters, predicates and headers of a kind can't be switched off or set so"
_POOL: Final = "connections to services are limited neither in number nor in age"
_TLS: Final = (
    "TLS to services is as the machine's certificates, services and metadata of routes (tls-ca and so on) say"
)
_SPANS: Final = (
    "spans go to ZIPKIN_ENDPOINT and OTEL_EXPORTER_OTLP_ENDPOINT, and services get W3C traceparent"
)
_USERS: Final = "there are no users but those of tokens, and open calls are those of routes.yaml"

# Names without case and hyphens. ``~`` stands for Spring Cloud Gateway's prefix, older or newer. The longest matching
# prefix counts.
_MEANINGS: Final[Mapping[str, str]] = {
    "~": _HERE,
    "~.enabled": "the gateway can't be switched off",
    "~.forwarded": "Forwarded names no address of the gateway",
    "~.globalfilter": "there are no global filters to be switched",
    "~.filter": _FILTERS,
    "~.predicate": _FILTERS,
    "~.httpclient": "it is nothing that the way to services has here",
    "~.httpclient.pool": _POOL,
    "~.httpclient.ssl": _TLS,
    "~.httpclient.proxy": "services are called without a proxy",
    "~.httpclient.compression": "answers of services pass as they are",
    "~.httpclient.websocket": "frames of WebSockets pass whatever their length",
    "~.loadbalancer": "a service without instances is 503",
    "~.redisratelimiter": "the waiting room is what limits here",
    "~.setstatus": "the status of the service is not told in a header",
    "~.version": "the predicate Version is not supported",
    "~.xforwarded": "services get one value of X-Forwarded-Host, -Port and -Proto, the client's",
    "spring.security": _USERS,
    "spring.security.oauth2.resourceserver": "tokens are checked with jwk-set-uri and what belongs to it",
    "spring.data.redis": _REDIS,
    "spring.redis": _REDIS,
    "spring.webflux.basepath": "the gateway has no path before its own",
    "spring.lifecycle": _SERVER,
    "spring.cloud.loadbalancer": "instances take turns, and one that refuses connections is left out for a while",
    "spring.cloud.discovery": _EUREKA,
    "spring.cloud.config": "the Config Server is set by variables alone",
    "spring.web.locale": "the language of messages is DEFAULT_LOCALE",
    "eureka": _EUREKA,
    "server": _SERVER,
    "management.server": _ACTUATOR,
    "management.endpoints.web.basepath": _ACTUATOR,
    "management.endpoints.web.pathmapping": _ACTUATOR,
    "management.endpoints.web.exposure.exclude": _ACTUATOR,
    "management.endpoints.web.cors": "pages of other origins get nothing of /actuator",
    "management.tracing.propagation": _SPANS,
    "management.tracing.baggage": _SPANS,
    "management.tracing.export": _SPANS,
    "management.otlp": _SPANS,
    "management.opentelemetry": _SPANS,
    "management.wavefront": _SPANS,
    "springdoc.apidocs": "the gateway's own description is at /v3/api-docs",
    "springdoc.swaggerui": "Swagger UI is at /swagger-ui.html",
    "queue": "the rooms are set by variables and in routes.yaml: see docs/explanation/queue.md",
}
_HARMLESS: Final = frozenset(
    {"~.failonroutedefinitionerror", "~.handlermapping", "~.httpserver.wiretap", "~.metrics", "~.mvc"}
    | {"~.observability", "~.restrictivepropertyaccessor", "~.routefiltercacheenabled", "~.server.webmvc"}
    | {"~.routerefreshlistener", "~.streamingmediatypes", "~.function", "~.actuator"}
    | {"~.forwarded.order", "~.xforwarded.order", "~.filter.removehopbyhop.order", "~.httpclient.wiretap"}
    | {"~.httpclient.pool.name", "~.httpclient.pool.metrics", "~.httpclient.pool.evictioninterval"}
    | {"~.httpclient.pool.leasingstrategy", "~.httpclient.ssl.handshaketimeout"}
    | {"~.httpclient.ssl.closenotifyflushtimeout", "~.httpclient.ssl.closenotifyreadtimeout"}
    | {"spring.data.redis.clientname", "spring.data.redis.lettuce", "spring.data.redis.jedis"}
    | {"spring.data.redis.repositories", "spring.security.filter", "spring.cloud.loadbalancer.cache"}
    | {"spring.cloud.loadbalancer.ribbon", "spring.cloud.loadbalancer.enabled", "spring.cloud.config.server"}
    | {"eureka.client.healthcheck", "eureka.server", "eureka.dashboard"}
    | {
        "server.error",
        "server.jetty",
        "server.servlet",
        "server.tomcat",
        "server.undertow",
        "server.reactive",
    }
    | {
        "management.tracing.sampling",
        "springdoc.swaggerui.operationssorter",
        "springdoc.swaggerui.tagssorter",
    }
)
_DEFAULTS: Final[Mapping[str, str]] = {
    "springdoc.apidocs.path": "/v3/api-docs",
    "springdoc.swaggerui.path": "/swagger-ui.html",
    "spring.cloud.discovery.enabled": "true",
    "~.httpclient.compression": "false",
    "~.httpclient.ssl.useinsecuretrustmanager": "false",
    "~.loadbalancer.use404": "false",
}
"""Values that change nothing, because they are the defaults."""
_GATEWAY: Final = ("spring", "cloud", "gateway")


def meaning_of(segments: Sequence[Segment], value: str) -> str:
    """What it means for the operator that this property is not read; empty if it is harmless or for other services."""
    steps = [str(segment.plain) for segment in segments]
    if tuple(steps[:3]) == _GATEWAY:
        newer = steps[3:5] == ["server", "webflux"]
        steps = ["~", *steps[5 if newer else 3 :]]
    name = ".".join(steps)
    if _DEFAULTS.get(name) == uniform(value) or _DEFAULTS.get(name) == value.strip():
        return ""
    # Every feature with a switch is on here, except those in ``_DEFAULTS``.
    if steps and steps[-1] == "enabled" and value.strip().lower() == "true" and name not in _DEFAULTS:
        return ""
    for length in range(len(steps), 0, -1):
        beginning = ".".join(steps[:length])
        if beginning in _HARMLESS:
            return ""
        if beginning in _MEANINGS:
            return _MEANINGS[beginning]
    return ""


_JWT: Final = ("spring", "security", "oauth2", "resourceserver", "jwt")
_ROUTE: Final = frozenset({"id", "uri", "order", "enabled"})
_LOCATOR: Final = frozenset(
    {"enabled", "lowercaseserviceid", "routeidprefix", "includeexpression", "urlexpression"}
)
_CORS: Final = frozenset(
    {"allowedorigins", "allowedoriginpatterns", "allowedmethods", "allowedheaders", "exposedheaders"}
    | {"allowcredentials", "allowprivatenetwork", "maxage"}
)
_SECURE_HEADERS: Final = frozenset({*map(uniform, SECURE_HEADERS), "enable", "disable"})
_TOKENS: Final = frozenset({"jwkseturi", "issueruri", "jwsalgorithms", "audiences"})
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})")

Path = tuple[str | int, ...]


def properties_of(answer: ConfigResponse, environ: Mapping[str, str]) -> Properties:
    """The properties in ``answer`` that the gateway reads. Placeholders are filled from ``environ`` and ``answer``.

    Raises ConfigUnavailable if one of them can't be used.
    """
    lookup = Lookup(answer.sources, environ)
    maker = _Maker(lookup)
    trees = [maker.tree(source, older) for source in answer.sources for older in (False, True)]
    whole: Node = Fields({}, 0)
    for tree in reversed(trees):
        whole = merged(whole, tree)
    sections, tokens, given = (_below(whole, key) for key in ("gateway", "jwt", "given"))
    texts = _texts((*sections.values(), *tokens.values(), *given.values()))
    ignored = sorted(name for name in maker.ignored if uniform(name) not in lookup.used)
    unread = {name: maker.ignored[name] for name in ignored if maker.ignored[name]}
    counts = {"gateway": sections, "jwt": tokens, "given": given}
    return Properties(
        sections,
        tokens,
        given,
        tuple(maker.places),
        {maker.places[-text.line - 1].name: text.value for text in texts},
        tuple(ignored),
        unread,
        _digest(Fields({key: Fields(entries, 0) for key, entries in counts.items()}, 0)),
        answer.version,
        answer.label,
    )


def _below(node: Node, key: str) -> Mapping[str, Node]:
    found = node.entries.get(key) if isinstance(node, Fields) else None
    return found.entries if isinstance(found, Fields) else {}


def _texts(nodes: Iterable[Node]) -> Iterator[Text]:
    ahead = list(nodes)
    while ahead:
        node = ahead.pop()
        if isinstance(node, Text):
            yield node
        else:
            ahead += node.items if isinstance(node, Items) else node.entries.values()


def _digest(root: Node) -> bytes:
    """A digest of the values, their places and their order. It does not depend on the source or line of a value."""
    hashed = hashlib.sha256()
    ahead: list[tuple[Path, Node]] = [((), root)]
    while ahead:
        path, node = ahead.pop()
        if isinstance(node, Text):
            hashed.update(repr((path, node.value, node.unset)).encode())
            continue
        below = enumerate(node.items) if isinstance(node, Items) else node.entries.items()
        ahead += [((*path, name), child) for name, child in below]
    return hashed.digest()


@dataclass(slots=True)
class _Branch:
    """A mapping or list under construction. ``place`` is that of its first value."""

    place: Place
    below: dict[str | int, _Branch | tuple[Place, Value]] = field(default_factory=dict)


class _Maker:
    """Makes a tree of each source, and records the place of each node."""

    def __init__(self, lookup: Lookup) -> None:
        self.places: list[Place] = []
        self.ignored: dict[str, str] = {}
        """Name of each property that is not read → what that means for the operator; empty if not known."""
        self._lookup = lookup

    def tree(self, source: PropertySource, older: bool) -> Node:
        """The properties in this source that the gateway reads, by newer or ``older`` names. Others are ``ignored``."""
        root = _Branch(Place(source.name, 0, ""))
        for name, value in source.properties.items():
            segments = split(name)
            path, is_older = _path(segments)
            if path and value.fault:
                raise value.fault
            if path == ("gateway", "routes") and value.value == "":
                # Null and an empty list look the same here. Neither is meant to remove all routes.
                continue
            if path and is_older is older:
                _put(root, path, segments, Place(source.name, value.line, name), value)
            elif not path:
                self.ignored.setdefault(name, meaning_of(segments, text_of(value.value)))
        return self._node(root)

    def _line(self, place: Place) -> int:
        self.places.append(place)
        return -len(self.places)

    def _node(self, at: _Branch | tuple[Place, Value]) -> Node:
        if isinstance(at, tuple):
            return self._text(*at)
        line = self._line(at.place)
        if at.below and all(isinstance(key, int) for key in at.below):
            ordered = sorted(at.below.items(), key=lambda pair: int(pair[0]))
            return Items(tuple(self._node(node) for _, node in ordered), line)
        entries = {str(key): self._node(node) for key, node in at.below.items()}
        lines = {key: node.line for key, node in entries.items()}
        return Fields(entries, line, lines)

    def _text(self, place: Place, value: Value) -> Text:
        text, unset = self._lookup.fill(text_of(value.value))
        # A text whose placeholder has no value is an error. As "null" it would count as a setting that is left out.
        return Text(text, self._line(place), "str" if unset else _kind(text), unset)


def _kind(text: str) -> str:
    """The type that YAML would give a text. Values from ``.properties`` files and placeholders are always texts, and an
    empty value, null and an empty list all arrive as ``""``."""
    if not text:
        return "null"
    if text.lower() in ("true", "false"):
        return "bool"
    return "int" if _NUMBER.fullmatch(text) else "str"


def _put(root: _Branch, path: Path, segments: Sequence[Segment], place: Place, value: Value) -> None:
    """Put a value into the tree. If a name has both a value and a mapping, the mapping counts."""
    skipped = len(segments) - len(path)
    branch = root
    for depth, key in enumerate(path[:-1]):
        until = segments[max(depth + skipped, 0)].until
        found = branch.below.get(key)
        if not isinstance(found, _Branch):
            found = branch.below[key] = _Branch(Place(place.source, place.line, until))
        branch = found
    if not isinstance(branch.below.get(path[-1]), _Branch):
        branch.below[path[-1]] = (place, value)


def _path(segments: Sequence[Segment]) -> tuple[Path, bool]:
    """The property's path in the tree (empty: it is not read), and whether its name is an older one."""
    names = tuple(segment.plain for segment in segments)
    if names[: len(_JWT)] == _JWT:
        rest = names[len(_JWT) :]
        known = (
            rest and rest[0] in _TOKENS and (len(rest) == 1 or (len(rest) == 2 and isinstance(rest[1], int)))
        )
        return (("jwt", *rest) if known else ()), False
    if names[: len(_GATEWAY)] != _GATEWAY:
        return _given(segments), False
    newer = names[len(_GATEWAY) : len(_GATEWAY) + 2] == ("server", "webflux")
    begin = len(_GATEWAY) + 2 * newer
    if one := ONE_VALUE.get(("~", *map(str, names[begin:]))):
        return ("given", one), not newer
    rest = _in_gateway(segments[begin:])
    return (("gateway", *rest) if rest else ()), not newer


def _given(segments: Sequence[Segment]) -> Path:
    """The path of a property that sets a gateway setting, outside of Spring Cloud Gateway's prefix."""
    names = tuple(str(segment.plain) for segment in segments)
    if one := ONE_VALUE.get(names):
        return ("given", one)
    for beginning, family in FAMILIES.items():
        if names[: len(beginning)] == beginning and len(names) > len(beginning):
            key = ".".join(str(segment.key).strip("[]") for segment in segments[len(beginning) :])
            return ("given", family, key)
    for beginning, found in LISTS.items():
        match [segment.plain for segment in segments[len(beginning) :]]:
            case [int(at), ("name" | "url") as part] if names[: len(beginning)] == beginning:
                return ("given", found, at, part)
    return ()


def _in_gateway(segments: Sequence[Segment]) -> Path:
    match [segment.plain for segment in segments]:
        case ["routes"]:
            return ("routes",)
        case ["routes", int(at)]:
            return ("routes", at)
        case ["routes", int(at), str(name)] if name in _ROUTE:
            return ("routes", at, name)
        case ["routes", int(at), "metadata", *_]:
            return ("routes", at, "metadata", *(segment.key for segment in segments[3:]))
        case ["routes", int(at), ("predicates" | "filters") as name, *_]:
            return _definition(("routes", at, name), segments[3:])
        case ["defaultfilters", *_]:
            return _definition(("defaultfilters",), segments[1:])
        case ["globalcors", "addtosimpleurlhandlermapping"]:
            return ("cors", "addtosimpleurlhandlermapping")
        case ["globalcors", "corsconfigurations", str(), str(name)] if name in _CORS:
            return ("cors", "corsconfigurations", str(segments[2].key), name)
        case ["globalcors", "corsconfigurations", str(), str(name), int(at)] if name in _CORS:
            return ("cors", "corsconfigurations", str(segments[2].key), name, at)
        case ["discovery", "locator", str(name)] if name in _LOCATOR:
            return ("discovery", "locator", name)
        case ["discovery", "locator", ("predicates" | "filters") as name, *_]:
            return _definition(("discovery", "locator", name), segments[3:])
        case ["filter" | "predicate", *_]:
            return _of_a_kind(segments)
    return ()


def _of_a_kind(segments: Sequence[Segment]) -> Path:
    """The path of a property that applies to all filters or predicates of a kind."""
    match [segment.plain for segment in segments]:
        case ["filter", "secureheaders", str(name)] if name in _SECURE_HEADERS:
            return ("filter", "secureheaders", name)
        case ["filter", "secureheaders", ("enable" | "disable") as name, int(at)]:
            return ("filter", "secureheaders", name, at)
        case ["predicate", "host", "includeport"]:
            return ("predicate", "host", "includeport")
    return ()


def _definition(before: Path, rest: Sequence[Segment]) -> Path:
    """The path within a list of predicates or filters: one text, several texts, or names with arguments."""
    match [segment.plain for segment in rest]:
        case []:
            return before
        case [int(at)]:
            return (*before, at)
        case [int(at), "name"]:
            return (*before, at, "name")
        case [int(at), "args", *_]:
            return (*before, at, "args", *(segment.key for segment in rest[2:]))
    return ()
