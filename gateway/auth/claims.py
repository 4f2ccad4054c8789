"""The claims of a token that rules of rooms ask for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

Claims = frozenset[tuple[str, str]]
"""Claims of one token, each as name and text. A claim that is a list is there once for each of its elements."""

WantedClaims = Mapping[str, frozenset[str]]
"""The values that rules ask for, by claim."""

NO_CLAIMS: Final[Claims] = frozenset()


def claims_of(token: Mapping[str, object], wanted: WantedClaims) -> Claims:
    """The claims of a token that rules ask for; nothing else of it need be kept. A name that the token lacks is read as
    a path with dots, such as ``realm_access.roles``."""
    found = (
        (name, text)
        for name, values in wanted.items()
        for text in _texts(_claim(token, name))
        if text in values
    )
    return frozenset(found) or NO_CLAIMS


def _claim(token: Mapping[str, object], name: str) -> object:
    if name in token:
        return token[name]
    value: object = token
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _texts(value: object) -> Iterable[str]:
    """A claim as texts, as JSON writes them: ``true``, ``7``. Objects, and lists in lists, have none."""
    for each in value if isinstance(value, list) else (value,):
        if isinstance(each, bool):
            yield "true" if each else "false"
        elif isinstance(each, str | int | float):
            yield str(each)
