"""The query of a request, read strictly where a rule needs it. Pure.

The gateway forwards queries as opaque bytes. Only a call whose rules need a parameter has its query read: a ``Query``
predicate, a filter of parameters, ``?room=``, ``?id=``, ``?access_token=``. For that call a malformed query is an
error, because the gateway and the service could read it differently.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from gateway.errors import BadRequest

MAX_PARAMETERS: Final = 1000
"""How many parameters a query may have that a rule reads, as with Tomcat and PHP. Each costs time in every rule."""


class Parameter(NamedTuple):
    """One parameter, decoded. ``value`` is None if it has no ``=``."""

    name: str
    value: str | None


# The rules of one request may ask for several parameters.
@lru_cache(maxsize=16)
def parse_query(raw: str) -> tuple[Parameter, ...]:
    """The parameters of a raw query (without ``?``) in their order, read like a form: ``&`` separates, ``+`` is a
    blank.

    Raises BadRequest if a percent sign is not followed by two hexadecimal digits, if the decoded text is not UTF-8, or
    if there are more than ``MAX_PARAMETERS``.
    """
    if raw.count("&") >= MAX_PARAMETERS:
        raise BadRequest("the query has too many parameters")
    decode = _plain if "%" not in raw and raw.isascii() else _decoded
    found = []
    for part in raw.split("&"):
        name, equals, value = part.partition("=")
        if name or equals:
            found.append(Parameter(decode(name), decode(value) if equals else None))
    return tuple(found)


def values_of(raw: str, name: str) -> list[str]:
    """All values of one parameter, "" for one without ``=``. Raises BadRequest as ``parse_query`` does."""
    return [value or "" for known, value in parse_query(raw) if known == name]


def _plain(text: str) -> str:
    return text.replace("+", " ")


def _decoded(text: str) -> str:
    data = text.replace("+", " ").encode("utf-8", "surrogateescape")
    decoded = unquote_to_bytes(data)
    # Each decoded escape is two bytes shorter. If the numbers differ, a percent sign was not part of an escape.
    if len(data) - len(decoded) != 2 * data.count(b"%"):
        raise BadRequest("the query holds a malformed percent escape")
    try:
        return decoded.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("the query is not UTF-8") from None
