"""What one row of the table of settings is: where its text comes from, how it is read and how it is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

from gateway import settings_kinds as kinds
from gateway.errors import SettingsError
from gateway.settings_kinds import Kind

T = TypeVar("T")
Compose = Callable[[Mapping[str, str]], str | None]

HIDDEN: Final = "(hidden)"
_UNSET: Final = object()


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    ``older`` are names that count when ``name`` itself is unset, the first that is set winning;
    ``compose`` makes the text out of several older variables when none of these is set either (and raises
    ``SettingsError`` for a wrong one). ``off`` is the value an empty variable means; without it an empty
    variable counts as unset. A ``secret`` is never shown; of an address, user and password aren't.
    """

    name: str
    kind: Kind[Any]
    default: Any
    doc: str
    group: str
    older: tuple[str, ...]
    compose: Compose | None
    off: Any
    secret: bool
    default_words: str | None

    @property
    def default_text(self) -> str:
        """The default as one would write it into the environment, or in words where it is no fixed value."""
        return _text(self.default) if self.default_words is None else self.default_words

    @property
    def allowed(self) -> str:
        """What is allowed, in words that complete "allowed is …"."""
        return self.kind.allowed + ("" if self.off is _UNSET else ", or empty for off")

    def read(self, environ: Mapping[str, str]) -> Any:
        """The value ``environ`` gives. Raises ``SettingsError``, naming the very variable that is wrong."""
        for name in (self.name, *self.older):
            text = environ.get(name)
            if text is None:
                continue
            text = text if self.secret else text.strip()
            if text:
                return self._parse(name, text)
            if self.off is not _UNSET:
                return self.off
        composed = self.compose(environ) if self.compose else None
        return self.default if composed is None else self._parse(self.name, composed)

    def _parse(self, name: str, text: str) -> Any:
        return parsed(self.kind, name, text, allowed=self.allowed, secret=self.secret)

    def shown(self, value: Any) -> str:
        """``value`` as it may appear in a log: no secrets, and no users or passwords of addresses."""
        if value is None:
            return "None"
        if self.secret:
            return HIDDEN
        if self.kind is kinds.HTTP_URLS:
            return repr(tuple(_without_password(url) for url in value))
        if self.kind is kinds.HTTP_URL or self.kind is kinds.REDIS_URL:
            return repr(_without_password(value))
        return repr(value)


def parsed(kind: Kind[T], name: str, text: str, *, allowed: str | None = None, secret: bool = False) -> T:
    """The value of ``text``, the variable ``name``. Raises ``SettingsError``, which shows no secret."""
    try:
        return kind.parse(text)
    except ValueError:
        # An address may hold a password, and a broken one may hold it anywhere.
        hide = secret or kind is kinds.REDIS_URL or "@" in text
        raise SettingsError(name, HIDDEN if hide else _shortened(text), allowed or kind.allowed) from None


def setting(
    kind: Kind[T],
    default: Any,
    doc: str,
    *,
    group: str | None = None,
    older: tuple[str, ...] = (),
    compose: Compose | None = None,
    off: Any = _UNSET,
    secret: bool = False,
    default_words: str | None = None,
) -> Any:
    """Declare a setting as a dataclass field.

    ``group`` opens a new group of settings; those declared after it belong to it too.
    """
    facts = {
        "kind": kind,
        "default": default,
        "doc": doc,
        "group": group,
        "older": older,
        "compose": compose,
        "off": off,
        "secret": secret,
        "default_words": default_words,
    }
    return field(default=default, metadata=facts)


def rows(declared: tuple[Field[Any], ...]) -> tuple[Setting, ...]:
    """The table made from dataclass fields that ``setting`` declared, in their order."""
    table: list[Setting] = []
    for one in declared:
        facts = dict(one.metadata)
        facts["group"] = facts["group"] or table[-1].group
        table.append(Setting(name=one.name.upper(), **facts))
    return tuple(table)


def redis_address_of_parts(environ: Mapping[str, str]) -> str | None:
    """A Redis address out of the older system's parts, or ``None`` when none of them is set.

    Raises ``SettingsError`` for a part that is wrong. Sentinels come before a cluster, and that before one server.
    """
    password = environ.get("SPRING_DATA_REDIS_PASSWORD") or environ.get("REDIS_PW") or ""
    credentials = f":{quote(password, safe='')}@" if password else ""
    return (
        _sentinels_of_parts(environ, credentials)
        or _cluster_of_parts(environ, credentials)
        or _server_of_parts(environ, credentials)
    )


def _sentinels_of_parts(environ: Mapping[str, str], credentials: str) -> str | None:
    name, nodes = _first(environ, "SPRING_DATA_REDIS_SENTINEL_NODES")
    service_name, service = _first(environ, "SPRING_DATA_REDIS_SENTINEL_MASTER")
    if not (nodes or service):
        return None
    own = environ.get("SPRING_DATA_REDIS_SENTINEL_PASSWORD") or ""
    query = f"?sentinel_password={quote(own, safe='')}" if own else ""
    address = f"redis+sentinel://{credentials}{nodes.replace(' ', '')}/{service}{query}"
    if not re.fullmatch(r"[0-9A-Za-z._-]{1,255}", service):
        raise SettingsError(service_name, _shortened(service), "the name of a master that sentinels know")
    return _checked(name, nodes, address)


def _cluster_of_parts(environ: Mapping[str, str], credentials: str) -> str | None:
    name, nodes = _first(environ, "SPRING_DATA_REDIS_CLUSTER_NODES")
    return _checked(name, nodes, f"redis+cluster://{credentials}{nodes.replace(' ', '')}") if nodes else None


def _checked(name: str, nodes: str, address: str) -> str:
    try:
        # What would end the list of nodes would also make something else of what comes behind it.
        if set("/?#@") & set(nodes):
            raise ValueError(nodes)
        kinds.REDIS_URL.parse(address)
    except ValueError:
        shown = HIDDEN if "@" in nodes else _shortened(nodes)
        raise SettingsError(name, shown, "host:port of one or more nodes, separated by commas") from None
    return address


def _server_of_parts(environ: Mapping[str, str], credentials: str) -> str | None:
    host_name, host = _first(environ, "SPRING_DATA_REDIS_HOST", "REDIS_IP")
    port_name, port = _first(environ, "SPRING_DATA_REDIS_PORT")
    if not (host or port or credentials):
        return None
    parts: tuple[tuple[str, str, Kind[Any]], ...] = (
        (host_name, host, kinds.HOST),
        (port_name, port, kinds.whole(1, 65535)),
    )
    for name, text, kind in parts:
        try:
            if text:
                kind.parse(text)
        except ValueError:
            raise SettingsError(name, HIDDEN if "@" in text else _shortened(text), kind.allowed) from None
    place = f"[{host}]" if ":" in host else host or "localhost"
    return f"redis://{credentials}{place}:{port or '6379'}/0"


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    """The first of ``names`` that is set and not blank, with its text; else the last name and ``""``."""
    for name in names:
        if text := environ.get(name, "").strip():
            return name, text
    return names[-1], ""


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case tuple():
            return ",".join("=".join(item) if isinstance(item, tuple) else item for item in value)
        case _:
            return str(value)


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"


def _without_password(url: str) -> str:
    """``url`` without user, password and query (Redis clients take a password there too)."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    userinfo, at, place = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{'***' if userinfo else ''}{at}{place}{parts.path}"
