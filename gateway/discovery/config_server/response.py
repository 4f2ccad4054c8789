"""Reads a Config Server's response (property sources with flat names) and fills its ``${name}`` placeholders. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors import ConfigUnavailable, ConfigUnusable
from gateway.settings.placeholders import fill_from, in_environ
from gateway.settings.spring.names import uniform

MAX_NAME_DEPTH: Final = 40
"""The most segments a name may have. The gateway reads no property with more."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a name. ``key`` is an index for ``[0]``, else the text as written (``[/**]`` with its brackets).
    ``until`` is the name up to the end of this segment, as written."""

    key: str | int
    until: str

    @property
    def plain(self) -> str | int:
        """The key in the form that is compared where Spring compares names loosely."""
        return uniform(self.key) if isinstance(self.key, str) else self.key


def split(name: str) -> tuple[Segment, ...]:
    """The segments of a name; none if the name is malformed or too deep."""
    segments: list[Segment] = []
    for key, end in _steps(name):
        if key == "" or len(segments) == MAX_NAME_DEPTH:
            return ()
        segments.append(Segment(key, name[:end]))
    return tuple(segments)


def _steps(name: str) -> Iterator[tuple[str | int, int]]:
    """Each segment's key with the position behind it; an empty key where the name is malformed."""
    at = 0
    while at < len(name):
        if name[at] == "[":
            end = _closing(name, at)
            inside = name[at + 1 : end - 1]
            yield (int(inside) if _is_index(inside) else name[at:end] if inside else ""), end or len(name)
            if not end:
                return
        else:
            at += name[at] == "." and at > 0
            end = next((i for i in range(at, len(name)) if name[i] in ".["), len(name))
            yield name[at:end], end
        at = end


def _closing(name: str, at: int) -> int:
    """The position behind the bracket that closes the one at ``at``; 0 if there is none."""
    depth = 0
    for index in range(at, len(name)):
        depth += (name[index] == "[") - (name[index] == "]")
        if not depth:
            return index + 1
    return 0


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 6


MAX_BYTES: Final = 4 * 1024 * 1024
MAX_PROPERTIES: Final = 50_000
MAX_BRACKETS: Final = 4 * MAX_PROPERTIES
"""Names and values may hold brackets too. While Python reads a list, no other thread runs, and an answer may hold a
million of them."""
MAX_VALUE_LENGTH: Final = 64 * 1024
_MAX_DIGITS: Final = 100
# The second form is what a Config Server sends of a .properties file, whose bytes it reads as ISO 8859-1.
_BOM: Final = ("\ufeff", "\u00ef\u00bb\u00bf")
_USER = re.compile(r"(?<=://)[^/@\s]*@")
_ORIGIN = re.compile(r"(\d{1,9}):\d+")

# The prefix that a Config Server gives the name of a property that it could not decrypt, and the value it sends then.
_NOT_DECRYPTED: Final = ("invalid.", "<n/a>")
# The prefix of a value that clients have to decrypt.
_ENCRYPTED: Final = "{cipher}"

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Value:
    """One property's value, of the type that the server sent. ``line`` in its file, 0 if the server does not say.

    ``fault`` says why the value can't be used. It is raised only where the value is needed, because a shared
    repository holds many properties that are not for the gateway, and errors in those do not matter.
    """

    value: Scalar
    line: int = 0
    fault: ConfigUnavailable | None = None


@dataclass(frozen=True, slots=True)
class PropertySource:
    """One property source. ``name`` is only shown to the operator."""

    name: str
    properties: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class ConfigResponse:
    """The sources in order of precedence, the winning one first. ``version`` is the commit and ``label`` the requested
    branch, tag or commit, if the server names them."""

    sources: tuple[PropertySource, ...]
    version: str | None = None
    label: str | None = None


class NoConfiguration(ConfigUnavailable):
    """The server answers, but has not a single property source."""


def parse_response(body: bytes) -> ConfigResponse:
    """Read the server's JSON, with origins (its second format) or without. Raises ConfigUnusable; NoConfiguration
    if there are no sources.

    A byte order mark at the beginning of the document or of a name is removed. Files of the repository may begin with
    one.
    """
    if body.count(b"[") > MAX_BRACKETS:
        raise ConfigUnusable("the answer has too many lists")
    try:
        # The hook lets other threads run at each object.
        content = json.loads(body, parse_int=_whole, object_hook=_same)
    # Deep nesting raises RecursionError.
    except (ValueError, RecursionError):
        raise ConfigUnusable("the answer is not JSON") from None
    sources = content.get("propertySources") if isinstance(content, dict) else None
    if not isinstance(sources, list):
        raise ConfigUnusable("the answer is not that of a Config Server")
    version, label = content.get("version"), content.get("label")
    read = tuple(map(_source, sources))
    if not read:
        raise NoConfiguration("it has no configuration for this name, these profiles and this label")
    if sum(len(source.properties) for source in read) > MAX_PROPERTIES:
        raise ConfigUnusable(f"the answer has more than {MAX_PROPERTIES} properties")
    return ConfigResponse(
        read,
        _whole_characters(version[:100]) if isinstance(version, str) else None,
        _whole_characters(label[:100]) if isinstance(label, str) else None,
    )


def _source(node: object) -> PropertySource:
    properties = node.get("source") if isinstance(node, dict) else None
    if not isinstance(node, dict) or not isinstance(properties, dict):
        raise ConfigUnusable("a property source in the answer is malformed")
    name = _USER.sub("", str(node.get("name", "")))
    shown = "".join(each if each.isprintable() else "?" for each in name)[:300]
    return PropertySource(shown or "unnamed", dict(_read(key, value) for key, value in properties.items()))


def _same(members: dict[str, object]) -> dict[str, object]:
    return members


def _plain(key: str) -> str:
    return _whole_characters(key.removeprefix(_BOM[0]).removeprefix(_BOM[1]))


def _whole(digits: str) -> int | str:
    """A whole number. One that is too long for Python to read stays a text."""
    return int(digits) if len(digits) <= _MAX_DIGITS else digits


def _whole_characters(text: str) -> str:
    """The text with lone surrogates replaced. JSON can spell them, but they can't be written to a log or a header."""
    return text.encode(errors="replace").decode()


def _read(key: str, node: object) -> tuple[str, Value]:
    """A property's name and value. If the server could not decrypt it, it gets its real name and a ``fault``."""
    name = _plain(key)
    prefix, no_value = _NOT_DECRYPTED
    try:
        value = _value(key, node)
        if value.value == no_value and name.startswith(prefix):
            name = name.removeprefix(prefix)
            raise ConfigUnusable(f"the server could not decrypt {name[:100]!r}")
        if isinstance(value.value, str) and value.value.startswith(_ENCRYPTED):
            raise ConfigUnusable(f"the value of {name[:100]!r} is encrypted: the server is to decrypt it")
    except ConfigUnavailable as error:
        return name, Value("", fault=error)
    return name, value


def _value(key: str, node: object) -> Value:
    line = 0
    if isinstance(node, dict):
        origin = _ORIGIN.fullmatch(str(node.get("origin")))
        line = int(origin[1]) if origin else 0
        node = node.get("value")
    if any(isinstance(text, str) and _whole_characters(text) != text for text in (key, node)):
        node = ()  # no text
    if node is None:
        return Value("", line)
    if not isinstance(node, Scalar) or (isinstance(node, str) and len(node) > MAX_VALUE_LENGTH):
        raise ConfigUnusable(f"the value of {key[:100]!r} is no text, number or truth value, or too long")
    return Value(node, line)


MAX_PLACEHOLDER_DEPTH: Final = 16
"""How deep placeholders may nest: a property's value may name another property, and so on."""
MAX_CHARACTERS: Final = 8 * 1024 * 1024
"""Limit for all filled values together. Placeholders can expand a response far beyond its own length."""
MAX_NAMED: Final = 16
"""How many unfilled placeholders of one text are reported."""


class Lookup:
    """Fills placeholders. ``used`` collects the names of the properties that placeholders refer to.

    Filling raises ConfigUnavailable if a placeholder refers to a property that can't be used.
    """

    def __init__(self, sources: Sequence[PropertySource], environ: Mapping[str, str]) -> None:
        self.used: set[str] = set()
        self._environ = environ
        self._texts: dict[str, str] = {}
        self._issues: dict[str, ConfigUnavailable] = {}
        """The errors of properties that can't be used, by plain name."""
        for source in sources:
            for name, found in source.properties.items():
                key = uniform(name)
                if key not in self._texts and found.fault:
                    self._issues[key] = found.fault
                self._texts.setdefault(key, text_of(found.value))
        # Each property is filled once. Otherwise values that refer to one another could multiply the work.
        self._filled: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._asking: list[str] = []
        self._left = MAX_CHARACTERS

    def fill(self, text: str) -> tuple[str, tuple[str, ...]]:
        """``text`` with its placeholders filled, and the names that have no value, including nested ones."""
        if "${" not in text:
            return text, ()
        deeper: list[str] = []
        room = MAX_VALUE_LENGTH

        def find(name: str) -> str | None:
            nonlocal room
            if room < 0:
                return ""  # the text is too long already, so the rest need not be filled
            value, without = self._find(name)
            room -= len(value or "")
            deeper.extend(without[: MAX_NAMED - len(deeper)])
            return value

        filled, unset = fill_from(text, find)
        if room < 0 or len(filled) > MAX_VALUE_LENGTH:
            return "", ("… (its value is too long)",)
        self._left -= len(filled)
        if self._left < 0:
            return "", ("… (all values together are too long)",)
        return filled, (*unset, *deeper)[:MAX_NAMED]

    def _find(self, name: str) -> tuple[str | None, tuple[str, ...]]:
        """The value of ``name``, and the nested names that have no value."""
        value = in_environ(name, self._environ)
        key = uniform(name)
        if value is not None or key not in self._texts:
            return value, ()
        self.used.add(key)
        if key in self._issues:
            raise self._issues[key]
        return self._property(key, name)

    def _property(self, key: str, name: str) -> tuple[str, tuple[str, ...]]:
        if key in self._filled:
            return self._filled[key]
        if key in self._asking or len(self._asking) >= MAX_PLACEHOLDER_DEPTH:
            return "", (f"{name} (it stands for itself)",)
        self._asking.append(key)
        try:
            found = self._filled[key] = self.fill(self._texts[key])
        finally:
            self._asking.pop()
        return found


def text_of(value: Scalar) -> str:
    """A value as text. Truth values are written as in YAML."""
    return str(value).lower() if isinstance(value, bool) else str(value)
