"""Strict base64url and JSON: every value has exactly one accepted spelling."""

from __future__ import annotations

import binascii
import codecs
import json
from collections import Counter
from typing import Any, NoReturn

# Translates to the standard alphabet. Characters that base64url lacks become a byte that is no base64 either.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = (b"", b"", b"==", b"=")

# The last character of a group of 2 or 3 may not carry bits that decoding would drop. Otherwise several texts would
# decode to the same bytes, and one token would have several spellings.
_LAST_CHARACTERS: tuple[frozenset[int] | None, ...] = (
    None,
    frozenset(),
    frozenset(b"AQgw"),
    frozenset(b"AEIMQUYcgkosw048"),
)


def decode_base64url(text: bytes) -> bytes:
    """Decode unpadded base64url. Raises ``ValueError`` if ``text`` is not the one encoding of its bytes."""
    remainder = len(text) % 4
    allowed = _LAST_CHARACTERS[remainder]
    if allowed is not None and text[-1] not in allowed:
        raise ValueError("not base64url")
    return binascii.a2b_base64(text.translate(_TO_STANDARD) + _PADDING[remainder], strict_mode=True)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)

_MAX_DIGITS = 400
"""As many as the largest float has. Python refuses to read numbers only when they are longer."""


class InvalidJson(ValueError):
    """The text is no JSON object. The reason is a clause that does not quote the text."""


class _InvalidValue:
    """Placeholder in a decoded document for a value that is no valid JSON."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why


class _RepeatedMembers(dict[str, Any]):
    """An object in which the members ``repeated`` occur more than once; JSON parsers disagree on which one counts."""

    repeated: frozenset[str] = frozenset()


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    repeating = _RepeatedMembers(members)
    counted = Counter(name for name, _ in pairs)
    repeating.repeated = frozenset(name for name, count in counted.items() if count > 1)
    return repeating


def _integer(digits: str) -> int | _InvalidValue:
    return int(digits) if len(digits) <= _MAX_DIGITS else _InvalidValue("a number in it is too long")


_lenient = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_constant=lambda name: _InvalidValue(f"{name} in it is not JSON"),
    parse_int=_integer,
)


def decode_object(text: bytes) -> dict[str, Any]:
    """The JSON object in ``text`` (UTF-8).

    Raises ``ValueError`` for anything else: another type, ``NaN``, a member that occurs twice at any depth
    (JSON parsers disagree on which one counts), too deep nesting.
    """
    try:
        value = _decoder.decode(text.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def decode_document(text: bytes) -> dict[str, Any]:
    """The JSON object in ``text``, which may begin with a byte order mark. Repeated members and invalid values are
    kept: before using a member, check it with ``repeats`` and its value with ``json_error``.

    Raises ``InvalidJson`` if the text as a whole can't be read or is no object.
    """
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in text[:4]:
        raise InvalidJson("it is in UTF-16 or UTF-32, and JSON is in UTF-8")
    try:
        value = _lenient.decode(text.removeprefix(codecs.BOM_UTF8).decode("utf-8"))
    except RecursionError:
        raise InvalidJson("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise InvalidJson("it is not in UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(_describe(text, error)) from None
    if not isinstance(value, dict):
        kind = "a list" if isinstance(value, list) else "a single value"
        raise InvalidJson(f"it is {kind} and not an object")
    return value


def _describe(text: bytes, error: json.JSONDecodeError) -> str:
    start = text.strip(b" \t\r\n")[:1]
    if not start:
        return "it is empty"
    if start == b"<":
        return "it is not JSON but HTML or XML"
    return f"it is not JSON (line {error.lineno}, column {error.colno})"


def repeats(members: object, name: str) -> bool:
    """Whether this member of the object ``members`` occurs more than once."""
    return isinstance(members, _RepeatedMembers) and name in members.repeated


def json_error(value: object) -> str | None:
    """Why JSON parsers may disagree on ``value``, as a clause that does not quote it. None if they agree."""
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, _InvalidValue):
            return part.why
        if isinstance(part, _RepeatedMembers):
            return "a member in it occurs twice"
        if isinstance(part, dict):
            parts += part.values()
        elif isinstance(part, list):
            parts += part
    return None
