"""Strict base64url and JSON: one spelling for each value, or none."""

from __future__ import annotations

import binascii
import json
from typing import Any, NoReturn

# To the standard alphabet; what base64url does not have becomes a byte that no base64 has.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = (b"", b"", b"==", b"=")

# The last character of 2 or 3 may not carry bits that decoding would drop: otherwise several
# texts would stand for the same bytes, and one token would have many names.
_LAST_OF: tuple[frozenset[int] | None, ...] = (
    None,
    frozenset(),
    frozenset(b"AQgw"),
    frozenset(b"AEIMQUYcgkosw048"),
)


def decode_base64url(text: bytes) -> bytes:
    """The bytes whose one base64url encoding (unpadded) is ``text``; ``ValueError`` for anything else."""
    remainder = len(text) % 4
    allowed = _LAST_OF[remainder]
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


def decode_object(text: bytes) -> dict[str, Any]:
    """The JSON object in ``text`` (UTF-8).

    ``ValueError`` for anything else: another type, ``NaN``, a member that occurs twice at any depth
    (readers disagree on which one counts), nesting without end.
    """
    try:
        value = _decoder.decode(text.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
