"""The Redis address and time-out from the older system's variables, and variables that contradict a given address.

The older system is a Spring Boot application, so its names are read as Spring reads them from the environment:
``spring.data.redis.host`` may be spelled ``SPRING_DATA_REDIS_HOST`` in any case, with dots or underscores, and lists
may have an index. ``SPRING_REDIS_*`` are the same settings of Spring Boot 2. No variable is ignored that says where
Redis is, what the gateway's credentials are, or that the connection is to be encrypted: it takes effect, or the start
fails and names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from gateway.errors import SettingsError
from gateway.settings import types as kinds
from gateway.settings.redis_address import RedisAddress, parse_redis_address
from gateway.settings.spring.values import seconds_of
from gateway.settings.types import ValueType

HIDDEN: Final = "(hidden)"

_PREFIXES: Final = ("SPRING_DATA_REDIS_", "SPRING_REDIS_")
_SECRET: Final = frozenset({"PASSWORD", "SENTINEL_PASSWORD"})
_TRUE: Final = frozenset({"true", "on", "yes", "1"})
_FALSE: Final = frozenset({"false", "off", "no", "0"})
_BOOLEAN: Final = "true or false"
_DATABASES: Final = kinds.whole(0, 9999)

# Names of no setting, which an operator who sets them expects to have an effect. If an address is given, all of them
# except those about encryption may belong to another program that shares the environment.
_TLS_GUESSES: Final = (
    "REDIS_SSL",
    "REDIS_SSL_ENABLED",
    "REDIS_USE_SSL",
    "REDIS_TLS",
    "REDIS_TLS_ENABLED",
    "REDIS_USE_TLS",
)
_GUESSES: Final = (
    *("REDIS_HOST", "REDIS_PASSWORD", "REDIS_USER", "REDIS_USERNAME", "REDIS_DB", "REDIS_DATABASE"),
    *("REDIS_CLUSTER_NODES", "REDIS_SENTINEL_NODES", "REDIS_SENTINELS", "REDIS_SENTINEL_MASTER"),
    *("REDIS_URI", "REDIS_TLS_URL", "REDIS_ADDR", "REDIS_ADDRESS"),
)
# Settings that Spring has and the gateway does not support, by the rest of the name.
_UNSUPPORTED: Final = re.compile("MASTERREPLICA_NODES(_.*)?")
# Variables that say which Redis it is, and the gateway's credentials there. They may be combined only if one version of
# Spring reads them all.
_IDENTITY: Final = re.compile("(HOST|PORT|DATABASE|USERNAME|PASSWORD|SENTINEL_.*|CLUSTER_NODES.*)")


class Part(NamedTuple):
    """One variable of the older system: its name as it stands in the environment, and its text."""

    name: str
    text: str

    def refused(self, allowed: str) -> SettingsError:
        """The error that names this variable. A text with an ``@`` is hidden, because it may contain a password."""
        return SettingsError(self.name, HIDDEN if "@" in self.text else self.text[:200], allowed)

    def parsed(self, kind: ValueType[Any]) -> Any:
        """Its value, or None if it is empty. Raises SettingsError."""
        try:
            return kind.parse(self.text) if self.text else None
        except kinds.NotAllowed as error:
            raise SettingsError(self.name, HIDDEN, error.allowed) from None
        except ValueError:
            raise self.refused(kind.allowed) from None

    @property
    def encoded(self) -> str:
        """Its text for an address. Raises SettingsError if it is no text: a variable may hold any bytes."""
        try:
            return quote(self.text, safe="")
        except UnicodeEncodeError:
            # Without the cause, whose message quotes a character.
            raise SettingsError(self.name, HIDDEN, "a text in UTF-8") from None

    @property
    def true(self) -> bool:
        """Whether it is on. Raises SettingsError for a text that means neither on nor off."""
        word = self.text.lower()
        if word and word not in _TRUE | _FALSE:
            raise self.refused(_BOOLEAN)
        return word in _TRUE


class SpringParts:
    """The environment's values under Spring's names, by the rest of the name in upper case."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._parts: dict[str, Part] = {}
        # The exact name wins over other spellings, and the newer prefix over the older one.
        for name in sorted(environ, key=lambda name: (name != _folded(name), name)):
            folded = _folded(name)
            rank = next((at for at, prefix in enumerate(_PREFIXES) if folded.startswith(prefix)), None)
            if rank is None:
                continue
            rest = folded.removeprefix(_PREFIXES[rank])
            text = environ[name] if rest in _SECRET else environ[name].strip()
            if not text:
                continue
            newer = self._parts.get(rest)
            if newer is None or (rank == 0 and not _folded(newer.name).startswith(_PREFIXES[0])):
                self._parts[rest] = Part(name, text)

    def __getitem__(self, rest: str) -> Part:
        """The part of that name; an empty one under the newer name if it is not set."""
        return self._parts.get(rest) or Part(_PREFIXES[0] + rest, "")

    def check_alike(self) -> None:
        """Raises SettingsError for variables that no version of Spring would combine, such as the host of one set of
        names and the password of the other: the password could go to the wrong server."""
        newer: list[Part] = []
        older: list[Part] = []
        for rest, part in self._parts.items():
            if _UNSUPPORTED.fullmatch(rest):
                raise part.refused("unset: it is not read. Name the master, or use sentinels")
            if _IDENTITY.fullmatch(rest):
                (newer if _folded(part.name).startswith(_PREFIXES[0]) else older).append(part)
        if newer and older:
            hidden = Part(older[0].name, "@")
            raise hidden.refused(
                f"unset beside {newer[0].name}: Spring reads only one of the two sets of names"
            )

    def nodes(self, rest: str) -> Part:
        """A list of nodes, in one text or one variable per node."""
        whole = self[rest]
        if whole.text:
            return Part(whole.name, whole.text.replace(" ", ""))
        found = sorted(
            (int(match[1]), part)
            for name, part in self._parts.items()
            if (match := re.fullmatch(rf"{rest}_([0-9]{{1,3}})_?", name))
        )
        return Part(found[0][1].name, ",".join(part.text for _, part in found)) if found else whole

    @property
    def encrypted(self) -> Part | None:
        """The variable that switches TLS on, or None. Raises SettingsError for a value that is not supported."""
        bundle = self["SSL_BUNDLE"]
        if bundle.text:
            raise bundle.refused(
                "unset: say where the certificates are, as in REDIS_URL=rediss://host?ssl_ca_certs=/etc/ca.pem"
            )
        said = [part for part in (self["SSL_ENABLED"], self["SSL"]) if part.text]
        # Both names exist in either generation; the newer generation counts.
        said = [part for part in said if _folded(part.name).startswith(_PREFIXES[0])] or said
        if len({part.true for part in said}) > 1:
            raise said[1].refused(f"unset beside {said[0].name}: one asks for TLS and the other does not")
        return next((part for part in said if part.true), None)


def _folded(name: str) -> str:
    return re.sub(r"[.\[]", "_", name).replace("]", "").replace("-", "").upper()


def redis_address_of_parts(environ: Mapping[str, str]) -> str | None:
    """A Redis address made of the older system's variables, or ``None`` if none of them is set.

    Raises ``SettingsError`` for a wrong one. Sentinels take precedence over a cluster, and a cluster over one server.
    """
    parts = SpringParts(environ)
    if parts["URL"].text:
        # The URL under another spelling than the one that was looked up before.
        return parts["URL"].parsed(kinds.REDIS_URL)  # type: ignore[no-any-return]
    parts.check_alike()
    scheme = "rediss" if parts.encrypted else "redis"
    user, password = parts["USERNAME"].encoded, parts["PASSWORD"]
    if not password.text:
        password = Part("REDIS_PW", environ.get("REDIS_PW") or "")
    secret = f":{password.encoded}" if password.text else ""
    credentials = f"{user}{secret}@" if user or secret else ""
    database = parts["DATABASE"].parsed(_DATABASES) or 0
    return (
        _sentinels(parts, f"{scheme}+sentinel://{credentials}", database)
        or _cluster(parts, f"{scheme}+cluster://{credentials}", database)
        or _server(parts, environ, f"{scheme}://{credentials}", database)
    )


def _sentinels(parts: SpringParts, beginning: str, database: int) -> str | None:
    nodes, service = parts.nodes("SENTINEL_NODES"), parts["SENTINEL_MASTER"]
    if not (nodes.text or service.text):
        return None
    own = (
        ("sentinel_username", parts["SENTINEL_USERNAME"].encoded),
        ("sentinel_password", parts["SENTINEL_PASSWORD"].encoded),
    )
    query = "&".join(f"{name}={text}" for name, text in own if text)
    path = f"/{database}" if database else ""
    if not re.fullmatch(r"[0-9A-Za-z._-]{1,255}", service.text):
        raise service.refused("the name of a master that sentinels know")
    return _checked(nodes, f"{beginning}{nodes.text}/{service.text}{path}{'?' if query else ''}{query}")


def _cluster(parts: SpringParts, beginning: str, database: int) -> str | None:
    nodes = parts.nodes("CLUSTER_NODES")
    if not nodes.text:
        return None
    if database:
        raise parts["DATABASE"].refused("0 or unset: a cluster has no other database")
    return _checked(nodes, f"{beginning}{nodes.text}")


def _checked(nodes: Part, address: str) -> str:
    try:
        # A character that ends the list of nodes would also change the meaning of the text behind it.
        if set("/?#@") & set(nodes.text):
            raise ValueError(nodes.text)
        kinds.REDIS_URL.parse(address)
    except ValueError:
        raise nodes.refused("host:port of one or more nodes, separated by commas") from None
    return address


def _server(parts: SpringParts, environ: Mapping[str, str], beginning: str, database: int) -> str | None:
    host, port = parts["HOST"], parts["PORT"]
    if not host.text:
        host = Part("REDIS_IP", environ.get("REDIS_IP", "").strip())
    host.parsed(kinds.HOST)
    port.parsed(kinds.whole(1, 65535))
    if not (host.text or port.text or "@" in beginning or database or beginning.startswith("rediss")):
        return None
    place = f"[{host.text}]" if ":" in host.text else host.text or "localhost"
    return f"{beginning}{place}:{port.text or '6379'}/{database}"


def agreed_redis_address(environ: Mapping[str, str], url: str, given: str | None) -> str:
    """``url``, with the database that the older names give if the address has none.

    ``given``: the name of the variable that the address comes from; None if it was composed or is the default. Raises
    SettingsError for variables that contradict the address, or that would be ignored although they say where Redis is,
    what the gateway's credentials are, or that the connection is to be encrypted.
    """
    if url == "embedded":
        return url
    address = parse_redis_address(url)
    parts = SpringParts(environ)
    encrypted = address.scheme == "rediss" or url.startswith(("rediss:", "unix:"))
    guesses = [Part(name, environ.get(name, "").strip()) for name in _TLS_GUESSES]
    asked_for = parts.encrypted or next((guess for guess in guesses if guess.true), None)
    if asked_for and not encrypted:
        raise asked_for.refused("false or unset, or an address for TLS: REDIS_URL=rediss://…")
    if given is None and parts["URL"].text:
        given = parts["URL"].name  # in another spelling than the table's
    if given is None:
        _refuse_guesses(environ, url)
        return url
    _refuse_other_topology(parts, given)
    user = parts["USERNAME"]
    if user.text and user.text != unquote(_user_of(address)):
        raise user.refused(f"unset, or the user that {given} has before the @")
    return _with_database(address, parts["DATABASE"], given)


def _refuse_guesses(environ: Mapping[str, str], url: str) -> None:
    """Raises SettingsError for variables with nearly the right name: no variable gave a whole address, so they are
    meant for the gateway."""
    for name in _GUESSES:
        part = Part(name, environ.get(name, "").strip())
        if part.text:
            shown = Part(name, "@" if "PASSWORD" in name else part.text)  # hidden
            raise shown.refused("unset: it is not read. Put it into the address, REDIS_URL")
    port = environ.get("REDIS_PORT", "").strip()
    # Kubernetes sets this to tcp://… for a service of the name redis.
    if port.isascii() and port.isdecimal() and f":{int(port)}" not in url.rpartition("@")[2]:
        raise Part("REDIS_PORT", port).refused("unset: it is not read. Put it into the address, REDIS_URL")


def _refuse_other_topology(parts: SpringParts, given: str) -> None:
    """Raises SettingsError for sentinels or a cluster beside Spring's URL, because Spring prefers them to its URL. The
    gateway's own name wins over all of Spring's."""
    if given == "REDIS_URL":
        return
    for part in (parts.nodes("SENTINEL_NODES"), parts.nodes("CLUSTER_NODES")):
        if part.text:
            raise part.refused(f"unset beside {given}, or {given} unset: each names another Redis")


def _user_of(address: RedisAddress) -> str:
    if address.form != "one":
        return address.userinfo.partition(":")[0]
    parts = urlsplit(address.url)
    found = re.search(r"(?:^|&)username=([^&]*)", parts.query)
    return parts.username or (found[1] if found else "")


def _with_database(address: RedisAddress, part: Part, given: str) -> str:
    database = part.parsed(_DATABASES)
    if not part.text or database == address.database:
        return address.url
    if address.form == "cluster":
        raise part.refused("0 or unset: a cluster has no other database")
    beginning, mark, query = address.url.partition("?")
    if address.form == "sentinel":
        _, _, named = beginning.rpartition(f"/{address.service}")
        if not named.strip("/"):
            return f"{beginning.rstrip('/')}/{database}{mark}{query}"
    elif not re.search(r"(?:^|&)db=", query):
        split = urlsplit(address.url)
        if split.scheme == "unix":
            return f"{address.url}{'&' if mark else '?'}db={database}"
        if not split.path.strip("/"):
            return urlunsplit(split._replace(path=f"/{database}"))
    raise part.refused(f"unset, or the database that {given} names")


def redis_timeout_of_spring(environ: Mapping[str, str]) -> str | None:
    """``spring.data.redis.timeout`` in seconds, as text; None if it is not set. Raises SettingsError.

    Spring reads a bare number as milliseconds.
    """
    part = SpringParts(environ)["TIMEOUT"]
    if not part.text:
        return None
    try:
        seconds = seconds_of(part.text)
    except ValueError:
        seconds = 0.0
    if not kinds.MIN_DURATION_SECONDS <= seconds <= kinds.MAX_DURATION_SECONDS:
        raise part.refused("a length of time from 1ms, such as 2s, 500ms, PT2S, or 500 for milliseconds")
    return f"{seconds:.9f}"
