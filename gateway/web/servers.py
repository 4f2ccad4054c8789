"""Services' OpenAPI documents, led to the gateway: wherever ``servers`` stand in one, they name no machine any more.

Pure functions over JSON texts. What a document calls ``servers`` in a schema or an example is its own business.

A document is never made into objects as a whole: Python reads JSON in one go, which stops everything else for a tenth
of a second a megabyte and takes many times the memory. It is gone through token by token, in steps of a bounded
length, and what is not ``servers`` is taken over as it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from json.decoder import scanstring  # type: ignore[attr-defined]  # missing in its stubs
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from gateway.web.envelope import encode

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_LONGEST_URL: Final = 2000
_VARIABLE: Final = re.compile(r"\{([^{}]*)\}")

TOKENS_A_STEP: Final = 200
"""About a quarter of a millisecond of work."""
_SERVERS_A_STEP: Final = 10
_MOST_TOKENS: Final = 500_000
"""Several times what a document of the greatest length has that describes something."""
_MOST_DEPTH: Final = 400
_LONGEST_SERVERS: Final = 64 * 1024
"""Longer lists of servers are none: they would be read in one go."""

# What an object in a document is, and what its members are then. ``*`` stands for every name.
_Roles = dict[str, str]
_ROLES: Final[dict[str, _Roles]] = {
    "root": {"paths": "items", "webhooks": "items", "components": "components", "servers": "servers"},
    "items": {"*": "item"},
    "item": {
        **dict.fromkeys(_METHODS, "operation"),
        "additionalOperations": "operations",
        "servers": "servers",
    },
    "operations": {"*": "operation"},
    "operation": {"callbacks": "callbacks", "responses": "responses", "servers": "servers"},
    "callbacks": {"*": "items"},
    "responses": {"*": "response"},
    "response": {"links": "links"},
    "links": {"*": "link"},
    "link": {"server": "server"},
    "components": {
        "pathItems": "items",
        "callbacks": "callbacks",
        "responses": "responses",
        "links": "links",
    },
}
_OTHER: Final[_Roles] = {}

_BLANKS: Final = re.compile(r"[ \t\n\r]*+")
_scalar = re.compile(
    r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?|true|false|null|NaN|-?Infinity"
).match


def _skip(text: str, at: int) -> int:
    """Where the blanks that begin at ``at`` end."""
    blanks = _BLANKS.match(text, at)
    return at if blanks is None else blanks.end()


class NotJson(ValueError):
    """A body that is no JSON, or too much of it: nested too deeply, or of too many values."""


def leading(body: bytes, path: str) -> Generator[None, None, bytes]:
    """The document with every server replaced by its path alone, which is then a path of the server of the document.

    ``path`` is where the service itself has it. A document that is JSON but no OpenAPI is returned as it is. Raises
    NotJson. It works in steps: between two of them something else may be done.
    """
    try:
        document = _Document(body.decode(json.detect_encoding(body), "surrogatepass"))
        yield from document.scan()
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise NotJson(str(error)) from error
    if not document.is_described:
        return body
    return (yield from document.led(path))


class _Document:
    """A text gone through: the members of its root, and where servers stand."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._members: list[tuple[str, int, int, int]] = []
        """Of the root: name, where it begins, where its value begins and ends."""
        self._found: list[tuple[str, int, int]] = []
        """Servers below the root: role and place."""

    @property
    def is_described(self) -> bool:
        """It is an OpenAPI document."""
        return any(name in ("openapi", "swagger") for name, _, _, _ in self._members)

    def led(self, path: str) -> Generator[None, None, bytes]:
        """The document for clients, made in steps."""
        text = self._text
        if any(name == "swagger" for name, _, _, _ in self._members):
            # Version 2 has no servers; paths begin at basePath, and where is what is left out: here.
            members = [
                text[begin:end] for name, begin, _, end in self._members if name not in ("host", "schemes")
            ]
        else:
            own: Any = None
            members = []
            found = iter(self._found)
            place = next(found, None)
            done = 0
            for name, first_of_all, value, end in self._members:
                begin = first_of_all
                if name == "servers":
                    own = self._servers(value, end)
                    continue
                pieces: list[str] = []
                while place is not None and place[1] < end:
                    role, first, last = place
                    done += 1
                    if done % _SERVERS_A_STEP == 0:
                        yield
                    pieces += (text[begin:first], self._led_servers(role, first, last, path))
                    begin = last
                    place = next(found, None)
                pieces.append(text[begin:end])
                members.append("".join(pieces))
            members.append(f'"servers":{encode(paths_of(own, path)).decode()}')
        return ("{" + ",".join(members) + "}").encode("utf-8", "backslashreplace")

    def _servers(self, begin: int, end: int) -> Any:
        return json.loads(self._text[begin:end]) if end - begin <= _LONGEST_SERVERS else None

    def _led_servers(self, role: str, begin: int, end: int, path: str) -> str:
        servers = self._servers(begin, end)
        led = paths_of([servers], path)[0] if role == "server" else paths_of(servers, path)
        return encode(led).decode()

    def scan(self) -> Generator[None, None, None]:  # noqa: PLR0912, PLR0915 - one loop over all kinds of tokens
        """Goes through the text, in steps. Raises JSONDecodeError or NotJson."""
        text = self._text
        # Of each open object or array: how it ends, the roles of its members, its own role, and where it begins.
        open_ones: list[tuple[str, _Roles, str, int]] = []
        root_key = "", 0
        role = "root"
        at = _skip(text, 0)
        tokens = 0
        while True:
            tokens += 1
            if tokens % TOKENS_A_STEP == 0:
                if tokens > _MOST_TOKENS:
                    raise NotJson("too many values")
                yield
            begin = at
            char = text[at : at + 1]
            if char in ("{", "["):
                if len(open_ones) >= _MOST_DEPTH:
                    raise NotJson("nested too deeply")
                at = _skip(text, at + 1)
                if char == "{":
                    members = _ROLES.get(role, _OTHER)
                    open_ones.append(("}", members, role, begin))
                    if text[at : at + 1] != "}":
                        key, key_at, at = self._key(at)
                        if len(open_ones) == 1:
                            root_key = key, key_at
                        role = members.get(key) or members.get("*", "")
                        continue
                else:
                    open_ones.append(("]", _OTHER, role, begin))
                    if text[at : at + 1] != "]":
                        role = ""
                        continue
                at += 1
                open_ones.pop()
            elif char == '"':
                _, at = scanstring(text, at + 1, True)
            elif (match := _scalar(text, at)) is not None:
                at = match.end()
            else:
                raise json.JSONDecodeError("Expecting value", text, at)
            # A value has ended, and perhaps what it is in.
            while True:
                depth = len(open_ones)
                if depth == 1 and open_ones[0][0] == "}":
                    self._members.append((*root_key, begin, at))
                elif role in ("servers", "server"):
                    self._found.append((role, begin, at))
                at = _skip(text, at)
                if not depth:
                    if at != len(text):
                        raise json.JSONDecodeError("Expecting nothing more", text, at)
                    return
                closing, members, own_role, own_begin = open_ones[-1]
                char = text[at : at + 1]
                if char == ",":
                    at = _skip(text, at + 1)
                    role = ""
                    if closing == "}":
                        key, key_at, at = self._key(at)
                        if depth == 1:
                            root_key = key, key_at
                        role = members.get(key) or members.get("*", "")
                    break
                if char != closing:
                    raise json.JSONDecodeError("Expecting a comma or the end", text, at)
                at += 1
                open_ones.pop()
                role, begin = own_role, own_begin

    def _key(self, at: int) -> tuple[str, int, int]:
        """A member's name, where it begins, and where its value does."""
        text = self._text
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting a name", text, at)
        key, end = scanstring(text, at + 1, True)
        end = _skip(text, end)
        if text[end : end + 1] != ":":
            raise json.JSONDecodeError("Expecting a colon", text, end)
        return key, at, _skip(text, end + 1)


def paths_of(servers: Any, path: str) -> list[dict[str, str]]:
    """``servers`` as paths, each once; the gateway's own root if there are none."""
    listed = servers if isinstance(servers, list) else []
    found = [_path_of(server, path) for server in listed if isinstance(server, dict)]
    return [{"url": url} for url in dict.fromkeys(found)] or [{"url": "/"}]


def _path_of(server: dict[str, Any], path: str) -> str:
    variables = server.get("variables")
    given = variables if isinstance(variables, dict) else {}

    def default(match: re.Match[str]) -> str:
        variable = given.get(match[1])
        return str(variable.get("default", ""))[:_LONGEST_URL] if isinstance(variable, dict) else ""

    url = str(server.get("url", "/"))
    # Before and after: a short one with long variables can become thousands of times as long.
    if len(url) > _LONGEST_URL or len(url := _VARIABLE.sub(default, url)) > _LONGEST_URL:
        return "/"
    try:
        found = urlsplit(urljoin(path, url)).path
    except ValueError:
        found = "/"
    # A browser takes // and /\ for the beginning of a host.
    return "/" + found.lstrip("/\\")
