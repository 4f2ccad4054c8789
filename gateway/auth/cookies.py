"""Reads cookies as browsers write them, and keeps the gateway's own from services. Pure, on raw values."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

RawHeaders = Sequence[tuple[bytes, bytes]]

# With or without quotes around it. No blanks, quotes, commas, backslashes or control characters in it (RFC 6265).
_VALUE: Final = re.compile(r'"([!#-+\--\[\]-~]*)"|([!#-+\--\[\]-~]*)')
_COOKIE: Final = b"cookie"
_PASS: Final = b"queue-pass"


def cookie_values(lines: Sequence[str], name: str) -> list[str]:
    """The values of the cookie ``name`` in the values of ``Cookie``, as browsers write it (RFC 6265): a semicolon ends
    a cookie, even in quotes.

    A value with characters that RFC 6265 forbids is ignored. Older parsers read ``a="x; token=y"`` as one cookie; here
    the part behind the semicolon is ignored, so it does not count as a second token.
    """
    found = []
    for line in lines:
        for pair in line.split(";"):
            key, _, value = pair.partition("=")
            if key.strip(" \t") == name:
                whole = _VALUE.fullmatch(value.strip(" \t"))
                if whole is not None:
                    found.append(whole[1] if whole[1] is not None else whole[2])
    return found


def is_pass(name: bytes) -> bool:
    """Whether a cookie of this name holds a pass."""
    return name == _PASS or name.startswith(_PASS + b"-")


def without_cookies(
    headers: RawHeaders, is_own: Callable[[bytes], bool], has_own_form: Callable[[bytes], bool] | None = None
) -> RawHeaders:
    """The client's headers without the cookies whose names ``is_own`` accepts, and whose values ``has_own_form``
    accepts (None: any). Returns the same object if there are none. A ``Cookie`` that holds no other cookie is left
    out."""
    if not any(
        name.lower() == _COOKIE and _without(value, is_own, has_own_form) != value for name, value in headers
    ):
        return headers
    kept = []
    for name, value in headers:
        if name.lower() != _COOKIE:
            kept.append((name, value))
        elif rest := _without(value, is_own, has_own_form):
            kept.append((name, rest))
    return kept


def _without(
    line: bytes, is_own: Callable[[bytes], bool], has_own_form: Callable[[bytes], bool] | None
) -> bytes:
    pairs = line.split(b";")
    kept = []
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        own = is_own(name.strip(b" \t"))
        if not own or (has_own_form is not None and not has_own_form(value.strip(b' \t"'))):
            kept.append(pair)
    return line if len(kept) == len(pairs) else b";".join(kept).strip(b" \t")
