"""What a Redis address says: one server, a master that sentinels know, or a cluster.

No name is looked up. Besides ``redis://``, ``rediss://`` and ``unix://`` there are, each with ``rediss`` for TLS::

    redis+sentinel://[user:password@]host[:26379][,host…]/service[/database][?sentinel_username=…&sentinel_password=…]
    redis+cluster://[user:password@]host[:6379][,host…]

Other parameters are redis-py's (``ssl_ca_certs=…``), as far as ``PARAMETERS`` has them, and hold for every
connection, those to sentinels included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from gateway.settings.host_names import can_be_resolved

MAX_NODES: Final = 32
"""Nodes in one address, at most."""

PARAMETERS: Final = frozenset(
    {
        *(
            "db",
            "username",
            "password",
            "client_name",
            "lib_name",
            "lib_version",
            "max_connections",
            "protocol",
        ),
        *("socket_connect_timeout", "socket_keepalive", "socket_read_size", "socket_timeout"),
        *("health_check_interval", "retry_on_timeout"),
    }
)
"""Parameters allowed behind the ``?`` of any address: those of redis-py's that are texts or numbers. Some have no
effect: the gateway has time-outs of its own, repeats no command, and uses one protocol."""

TLS_PARAMETERS: Final = frozenset(
    {
        *(
            "ssl_ca_certs",
            "ssl_ca_data",
            "ssl_ca_path",
            "ssl_cert_reqs",
            "ssl_certfile",
            "ssl_check_hostname",
        ),
        *("ssl_ciphers", "ssl_keyfile", "ssl_min_version", "ssl_password"),
    }
)
"""Further parameters allowed in an address with ``rediss``."""

_NAMES: Final = PARAMETERS | TLS_PARAMETERS | {"sentinel_username", "sentinel_password"}
_FORM = re.compile(
    r"(?P<scheme>rediss?)\+(?P<form>sentinel|cluster)://(?:(?P<userinfo>[^/?#]*)@)?(?P<nodes>[^@/?#]+)"
    r"(?:/(?P<first>[^/?#]*))?(?:/(?P<second>[^/?#]*))?(?:\?(?P<query>[^#]*))?"
)
_NODE = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[0-9A-Za-z._-]{1,255}))(?::(?P<port>[0-9]{1,5}))?"
)
_HOST = re.compile(r"[0-9A-Za-z._-]{1,255}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_SERVICE = re.compile(r"[0-9A-Za-z._-]{1,255}")
_DATABASE = re.compile(r"[0-9]{0,4}")
_DEFAULT_PORTS = {"sentinel": 26379, "cluster": 6379}


class RepeatedParameter(ValueError):
    """A parameter occurs more than once in the address, and programs disagree on which one counts. ``allowed``
    completes "allowed is …"."""

    def __init__(self, name: str) -> None:
        self.allowed = f"an address with its parameter {name} only once"
        super().__init__(self.allowed)


class Node(NamedTuple):
    """The host and port on which a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, repr=False)
class RedisAddress:
    """A parsed address. It has no ``repr`` of its own, because its parts may be secret."""

    form: Literal["one", "sentinel", "cluster"]
    url: str
    """The whole address, for the form ``one``."""
    nodes: tuple[Node, ...] = ()
    """Sentinels, or nodes of the cluster: the first ones to query."""
    service: str = ""
    """The master's name among sentinels."""
    database: int = 0
    scheme: str = "redis"
    userinfo: str = ""
    """``user:password`` for Redis itself, percent-encoded."""
    sentinel_userinfo: str = ""
    parameters: tuple[tuple[str, str], ...] = ()

    def url_of(self, node: Node) -> str:
        """The address of one Redis server among several."""
        return self._url(self.userinfo, node, f"/{self.database}")

    def url_of_guide(self, node: Node) -> str:
        """The address of a guide, which is queried for that server: a sentinel, or a node of the cluster."""
        return self._url(self.sentinel_userinfo, node, "") if self.form == "sentinel" else self.url_of(node)

    def _url(self, userinfo: str, node: Node, path: str) -> str:
        credentials = f"{userinfo}@" if userinfo else ""
        query = f"?{urlencode(self.parameters)}" if self.parameters else ""
        return f"{self.scheme}://{credentials}{node}{path}{query}"


def parse_redis_address(text: str) -> RedisAddress:
    """Parses an address. Raises RepeatedParameter, or another ValueError whose text is not for operators: the address
    may contain a password anywhere."""
    if not re.match(r"rediss?\+", text):
        return _one(text)
    found = _FORM.fullmatch(text)
    if not found:
        raise ValueError("neither sentinels nor a cluster")
    form: Literal["sentinel", "cluster"] = "sentinel" if found["form"] == "sentinel" else "cluster"
    query = found["query"] or ""
    _check_once(query)
    parameters = dict(parse_qsl(query, strict_parsing=bool(query)))
    if "db" in parameters:
        raise ValueError("the database belongs into the path")
    first, second = found["first"] or "", found["second"] or ""
    if form == "sentinel":
        if not _SERVICE.fullmatch(first) or not _DATABASE.fullmatch(second):
            raise ValueError("no service, or no database")
    elif first not in {"", "0"} or found["second"] is not None:
        raise ValueError("a cluster has database 0 only")
    sentinel_user = parameters.pop("sentinel_username", "") if form == "sentinel" else ""
    sentinel_password = parameters.pop("sentinel_password", "") if form == "sentinel" else ""
    _check_parameters(found["scheme"], parameters)
    return RedisAddress(
        form=form,
        url=text,
        nodes=_nodes(found["nodes"], _DEFAULT_PORTS[form]),
        service=first if form == "sentinel" else "",
        database=int(second or 0),
        scheme=found["scheme"],
        userinfo=found["userinfo"] or "",
        sentinel_userinfo=_userinfo(sentinel_user, sentinel_password),
        parameters=tuple(parameters.items()),
    )


def _one(text: str) -> RedisAddress:
    parts = urlsplit(text)
    if not text.startswith(f"{parts.scheme}://"):
        raise ValueError("no scheme, or not in lower case")
    if parts.scheme == "unix":
        if not parts.path.startswith("/"):
            raise ValueError("no path of a socket")
    elif parts.scheme not in {"redis", "rediss"} or not re.fullmatch(r"/?[0-9]{0,4}", parts.path):
        raise ValueError("no Redis address")
    if parts.hostname and not can_be_resolved(parts.hostname):
        raise ValueError("no host")
    if parts.port == 0:  # reading the port also checks that it is a number below 65536
        raise ValueError("port 0")
    _check_once(parts.query)
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    _check_parameters(parts.scheme, parameters)
    database = parameters.get("db") or (parts.scheme != "unix" and parts.path.strip("/"))
    return RedisAddress(form="one", url=text, database=int(database or 0), scheme=parts.scheme)


def _check_once(query: str) -> None:
    """Raises ValueError for a repeated parameter: redis-py would use the first, and ignore empty ones."""
    seen = set()
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name in seen:
            # An unknown name may be part of a password.
            raise RepeatedParameter(name) if name in _NAMES else ValueError("no such parameter")
        seen.add(name)


def _check_parameters(scheme: str, parameters: Mapping[str, str]) -> None:
    if not set(parameters) <= (PARAMETERS | TLS_PARAMETERS if scheme == "rediss" else PARAMETERS):
        raise ValueError("no such parameter")
    for name, value in parameters.items():
        allowed = _VALUES.get(name)
        if value and allowed and not allowed(value):
            raise ValueError("no such value")


def _is_duration(text: str) -> bool:
    """Whether the text is a usable number of seconds. With 0, Redis would seem away for ever; with infinity, a wait
    would never end."""
    return 0.001 <= float(text) <= 3600


def _is_name(text: str) -> bool:
    """Whether Redis accepts the text as the name of a client."""
    return re.fullmatch(r"[!-~]{1,200}", text) is not None


_VALUES: Final[Mapping[str, Callable[[str], bool]]] = {
    "client_name": _is_name,
    "db": lambda text: re.fullmatch(r"[0-9]{1,4}", text) is not None,
    "lib_name": _is_name,
    "lib_version": _is_name,
    "max_connections": lambda text: int(text) > 0,
    "socket_connect_timeout": _is_duration,
    "socket_read_size": lambda text: 1 <= int(text) <= 2**24,
}
"""The allowed values of parameters that have an effect, besides empty ones, which redis-py ignores. With other values
Redis would seem to be away."""


def is_host(text: str) -> bool:
    """Whether this is a host name or an address, without characters that have a meaning in a URL."""
    return _HOST.fullmatch(text) is not None and can_be_resolved(text)


def _nodes(text: str, default_port: int) -> tuple[Node, ...]:
    nodes: list[Node] = []
    for item in text.split(","):
        found = _NODE.fullmatch(item)
        if not found:
            raise ValueError("no node")
        port = int(found["port"] or default_port)
        if not 0 < port < 65536:
            raise ValueError("no port")
        node = Node(found["v6"] or found["host"], port)
        if not can_be_resolved(node.host):
            raise ValueError("no host")
        nodes.append(node)
    if len(nodes) > MAX_NODES:
        raise ValueError("too many nodes")
    return tuple(dict.fromkeys(nodes))


def _userinfo(user: str, password: str) -> str:
    if not (user or password):
        return ""
    return f"{quote(user, safe='')}:{quote(password, safe='')}"
