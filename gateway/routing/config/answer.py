"""What a Config Server answers: property sources with flat names, read within bounds. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.errors import ConfigUnavailable, ConfigUnusable

MOST_BYTES: Final = 4 * 1024 * 1024
MOST_PROPERTIES: Final = 50_000
LONGEST_VALUE: Final = 64 * 1024
_MOST_DIGITS: Final = 100
# As a Config Server passes it on: it reads the bytes of a .properties file as ISO 8859-1.
_BOM: Final = ("\ufeff", "\u00ef\u00bb\u00bf")
_USER = re.compile(r"(?<=://)[^/@\s]*@")
_ORIGIN = re.compile(r"(\d{1,9}):\d+")

# How a Config Server names a property that it could not decrypt, and its value then.
_NOT_DECRYPTED: Final = ("invalid.", "<n/a>")
# How a value begins that is left to clients to decrypt.
_ENCRYPTED: Final = "{cipher}"

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Value:
    """One property's value as the server typed it; ``line`` in its file, 0 if the server does not say.

    ``fault`` is what is wrong with a value that can't be used, and is raised where the value is needed: a shared
    repository has much that is not for a gateway, and of what kind that is does not matter.
    """

    value: Scalar
    line: int = 0
    fault: ConfigUnavailable | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One property source. ``name`` is for people only."""

    name: str
    properties: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Answer:
    """The sources, those that count first in front. ``version`` is the commit and ``label`` the branch, tag or commit
    asked for, where the server says it."""

    sources: tuple[Source, ...]
    version: str | None = None
    label: str | None = None


class NoConfiguration(ConfigUnavailable):
    """The server answers, but has not a single property source."""


def read_answer(body: bytes) -> Answer:
    """Read the server's JSON, with origins (its second format) or without. Raises ConfigUnusable; NoConfiguration
    where there are no sources.

    A byte order mark before the document, or before a name in it, as files of the repository may begin with, is no
    part of either.
    """
    try:
        content = json.loads(body, parse_int=_whole)
    # RecursionError is what deep nesting becomes.
    except (ValueError, RecursionError):
        raise ConfigUnusable("the answer is not JSON") from None
    sources = content.get("propertySources") if isinstance(content, dict) else None
    if not isinstance(sources, list):
        raise ConfigUnusable("the answer is not that of a Config Server")
    version, label = content.get("version"), content.get("label")
    read = tuple(map(_source, sources))
    if not read:
        raise NoConfiguration("it has no configuration for this name, these profiles and this label")
    if sum(len(source.properties) for source in read) > MOST_PROPERTIES:
        raise ConfigUnusable(f"the answer has more than {MOST_PROPERTIES} properties")
    return Answer(
        read,
        _whole_characters(version[:100]) if isinstance(version, str) else None,
        _whole_characters(label[:100]) if isinstance(label, str) else None,
    )


def _source(node: object) -> Source:
    properties = node.get("source") if isinstance(node, dict) else None
    if not isinstance(node, dict) or not isinstance(properties, dict):
        raise ConfigUnusable("a property source in the answer is malformed")
    name = _USER.sub("", str(node.get("name", "")))
    shown = "".join(each if each.isprintable() else "?" for each in name)[:300]
    return Source(shown or "unnamed", dict(_read(key, value) for key, value in properties.items()))


def _plain(key: str) -> str:
    return _whole_characters(key.removeprefix(_BOM[0]).removeprefix(_BOM[1]))


def _whole(digits: str) -> int | str:
    """A whole number; one that is too long for Python to read stays a text."""
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _whole_characters(text: str) -> str:
    """JSON can spell halves of characters, which can't be written into a log or a header later on."""
    return text.encode(errors="replace").decode()


def _read(key: str, node: object) -> tuple[str, Value]:
    """A property's name and value. One that could not be decrypted has its own name again: it is there, and unknown."""
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
    if not isinstance(node, Scalar) or (isinstance(node, str) and len(node) > LONGEST_VALUE):
        raise ConfigUnusable(f"the value of {key[:100]!r} is no text, number or truth value, or too long")
    return Value(node, line)
