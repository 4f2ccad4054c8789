"""Reads Eureka's JSON responses and writes the gateway's registration. No I/O.

Hosts and ports from a registry are checked before they become an address. An entry without a valid host and port is
kept, because the registry's hash counts it, but gets no requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address
from itertools import islice
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from gateway.proxy.upstream import UpstreamBase
from gateway.settings.host_names import can_be_resolved

MAX_INSTANCES: Final = 50_000
"""A longer listing is refused, because it would hold up all requests for seconds at each change."""
MAX_LISTS: Final = 4 * MAX_INSTANCES
"""The response has a list for each service. While Python reads a list, no other thread runs, and a response may hold
millions of empty ones."""
MAX_COMMAS: Final = 100 * MAX_INSTANCES
"""The same of other values."""
MAX_NAMES: Final = 16
"""How many names of one entry are used; further ones are ignored."""

UP: Final = "UP"
DOWN: Final = "DOWN"

_STATUS = re.compile(r"[A-Z_]{1,32}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_SERVICE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")


_NEEDED: Final = frozenset(
    {"applications", "apps__hashcode", "application", "name", "instance", "instanceId", "hostName", "ipAddr"}
    | {"status", "vipAddress", "port", "securePort", "$", "@enabled", "actionType"}
)


_OF_CONFIG_SERVERS: Final = _NEEDED | {"metadata", "configPath", "user", "password"}
MAX_CONFIG_SERVERS: Final = 16
_SEGMENT: Final = r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,99}"
_CONFIG_PATH: Final = re.compile(rf"(?:/?{_SEGMENT}(?:/{_SEGMENT}){{0,7}})?/?")
# No control characters, and no lone surrogates, which JSON can spell.
_CREDENTIAL: Final = re.compile(r"[\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]{1,1000}")
_DEFAULT_USER: Final = "user"


class BadRegistry(ValueError):
    """A response that is no registry."""


class Instance(NamedTuple):
    """One entry. ``names``: the service names it is found by, in lower case. ``base``: where requests go, None if the
    entry has no usable address. ``gone``: a delta says that the entry was deleted."""

    key: tuple[str, str]
    names: tuple[str, ...]
    status: str
    base: UpstreamBase | None
    gone: bool


class Listing(NamedTuple):
    """A whole registry or a delta. ``hash`` is that of the whole registry in both cases."""

    instances: tuple[Instance, ...]
    hash: str


def parse_listing(document: bytes) -> Listing:
    """Reads the response to ``/apps`` or ``/apps/delta``. Raises BadRegistry if it is neither.

    Single entries that can't be read at all (no id and no host) are left out.
    """
    applications = _applications(document, _NEEDED)
    entries = _entries(applications)
    instances = tuple(
        instance
        for app, entry in islice(entries, MAX_INSTANCES)
        if (instance := _instance(app, entry)) is not None
    )
    if next(entries, None) is not None:
        raise BadRegistry(f"more than {MAX_INSTANCES} instances")
    return Listing(instances, applications["apps__hashcode"])


def parse_config_servers(document: bytes, names: Sequence[str]) -> tuple[str, ...]:
    """The addresses of Config Servers in the response to ``/apps``: the UP instances of the first of ``names`` that has
    any. Raises BadRegistry.

    As with Spring's client, ``configPath`` in an instance's metadata is appended to the address, and ``user`` and
    ``password`` there are its credentials. They become part of the address, percent-encoded. An instance with unusable
    metadata is left out. Returns at most ``MAX_CONFIG_SERVERS``, in a fixed order.
    """
    wanted = [name.lower() for name in names]
    found: dict[str, set[str]] = {name: set() for name in wanted}
    for app, entry in _entries(_applications(document, _OF_CONFIG_SERVERS)):
        instance = _instance(app, entry)
        if instance is None or instance.status != UP or instance.base is None:
            continue
        for name in found.keys() & set(instance.names):
            if address := _config_address(instance.base, entry.get("metadata")):
                found[name].add(address)
    best = next((found[name] for name in wanted if found[name]), set())
    return tuple(sorted(best)[:MAX_CONFIG_SERVERS])


def _config_address(base: UpstreamBase, metadata: object) -> str:
    """The address of a Config Server; empty if its metadata can't be used."""
    facts = metadata if isinstance(metadata, dict) else {}
    path = _text(facts.get("configPath"))
    if not _CONFIG_PATH.fullmatch(path):
        return ""
    userinfo = ""
    if password := _text(facts.get("password")):
        user = _text(facts.get("user")) or _DEFAULT_USER
        if not _CREDENTIAL.fullmatch(user) or not _CREDENTIAL.fullmatch(password):
            return ""
        userinfo = f"{quote(user, safe='')}:{quote(password, safe='')}@"
    scheme, _, place = str(base).partition("://")
    return f"{scheme}://{userinfo}{place.rstrip('/')}/{path.strip('/')}".rstrip("/")


def _applications(document: bytes, needed: frozenset[str]) -> dict[str, Any]:
    """The registry's one object, with the ``needed`` members of all objects. Raises BadRegistry.

    Only the needed members are kept, a tenth of all. That takes one Python call per object, which also lets other
    threads run: without these calls, parsing megabytes of JSON in a thread would block the event loop.
    """

    def kept(members: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in members.items() if name in needed}

    if document.count(b"[") > MAX_LISTS or document.count(b",") > MAX_COMMAS:
        raise BadRegistry("too many values")
    try:
        # From bytes, because they may begin with a byte order mark.
        content = json.loads(document, object_hook=kept)
    except (ValueError, RecursionError) as error:
        raise BadRegistry("not JSON") from error
    applications = content.get("applications") if isinstance(content, dict) else None
    if not isinstance(applications, dict) or not isinstance(applications.get("apps__hashcode"), str):
        raise BadRegistry("no applications")
    return applications


def _entries(applications: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each instance with its application's name."""
    for application in _objects(applications.get("application")):
        for entry in _objects(application.get("instance")):
            yield _text(application.get("name")), entry


def _instance(app: str, entry: dict[str, Any]) -> Instance | None:
    host = _text(entry.get("hostName"))
    id_ = _text(entry.get("instanceId")) or host
    if not app or not id_:
        return None
    status = _text(entry.get("status"))
    # As in Spring's client: a service is found by its virtual addresses, which by default are its name.
    vips = _text(entry.get("vipAddress")).split(",", MAX_NAMES)[:MAX_NAMES]
    names = [name.strip().lower() for name in vips if _SERVICE.fullmatch(name.strip())]
    if not names and _SERVICE.fullmatch(app):
        names = [app.lower()]
    return Instance(
        (app.upper(), id_),
        tuple(dict.fromkeys(names)),
        status if _STATUS.fullmatch(status) else "UNKNOWN",
        _base(host, _text(entry.get("ipAddr")), entry),
        entry.get("actionType") == "DELETED",
    )


def _base(host: str, address: str, entry: dict[str, Any]) -> UpstreamBase | None:
    """The address. As in Spring's client, the host name is preferred to the IP address and the secure port to the
    plain one."""
    usable = _host(host) or _host(address)
    if usable is None:
        return None
    secure = _port(entry.get("securePort"))
    if secure is not None and str(entry["securePort"].get("@enabled")).lower() == "true":
        return UpstreamBase("https", usable, secure)
    # Spring's client does not check whether this port is enabled.
    port = _port(entry.get("port"))
    return None if port is None else UpstreamBase("http", usable, port)


def _host(text: str) -> str | None:
    if ":" not in text:
        return text.lower() if _HOST.fullmatch(text) and can_be_resolved(text) else None
    try:
        address = IPv6Address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return None if address.scope_id else str(address)


def _port(member: object) -> int | None:
    """``{"$": 8080, "@enabled": "true"}`` → 8080, enabled or not; None if it is no port."""
    if not isinstance(member, dict):
        return None
    number = str(member.get("$"))
    if not re.fullmatch(r"[0-9]{1,5}", number, re.ASCII) or not 0 < int(number) < 65536:
        return None
    return int(number)


def _objects(value: object) -> Iterator[dict[str, Any]]:
    """The objects of a list. Older servers write a list of one as the object itself."""
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, dict):
            yield item


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


class Pages(NamedTuple):
    """Pages that a registration names: the path at the gateway, or the whole address if one is set."""

    home: str = "/"
    status: str = "/actuator/info"
    health: str = "/actuator/health"


class InstanceInfo(NamedTuple):
    """The gateway's own entry, as other services find it. ``renewal`` and ``expiry`` are in seconds; without
    ``expiry``, three heartbeats may be lost. ``port`` is for plain HTTP, ``secure_port`` is that of a proxy that speaks
    TLS. ``plain`` and ``secure`` say which of the two ports other services should use."""

    app: str
    host: str
    address: str
    port: int
    management_port: int
    metadata: dict[str, str]
    renewal: int
    expiry: int | None = None
    instance_id: str | None = None
    plain: bool = True
    secure_port: int = 443
    secure: bool = False
    pages: Pages = Pages()

    @property
    def id(self) -> str:
        """Unique, and the same after a restart, so that the new process takes over the old one's entry."""
        return self.instance_id or f"{self.host}:{self.app}:{self.port}"


def registration(own: InstanceInfo, status: str, dirty_ms: int) -> bytes:
    """The body of a registration. ``dirty_ms`` (epoch milliseconds) grows with each change of the entry."""
    entry = {
        "instanceId": own.id,
        "app": own.app.upper(),
        "hostName": own.host,
        "ipAddr": own.address,
        "status": status,
        "vipAddress": own.app,
        "secureVipAddress": own.app,
        "port": {"$": own.port, "@enabled": str(own.plain).lower()},
        "securePort": {"$": own.secure_port, "@enabled": str(own.secure).lower()},
        "homePageUrl": _page(own, own.port, own.pages.home),
        "statusPageUrl": _page(own, own.management_port, own.pages.status),
        "healthCheckUrl": _page(own, own.management_port, own.pages.health),
        "dataCenterInfo": {
            "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
            "name": "MyOwn",
        },
        # Three heartbeats may be lost before the servers consider this gateway dead.
        "leaseInfo": {
            "renewalIntervalInSecs": own.renewal,
            "durationInSecs": own.expiry or 3 * own.renewal,
        },
        "metadata": {"management.port": str(own.management_port), **own.metadata},
        "lastDirtyTimestamp": str(dirty_ms),
    }
    return json.dumps({"instance": entry}).encode()


def _page(own: InstanceInfo, port: int, page: str) -> str:
    return f"{UpstreamBase('http', own.host, port)}{page}" if page.startswith("/") else page
