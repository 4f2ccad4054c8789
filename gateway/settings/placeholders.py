"""Fills ``${NAME:default}`` in the operator's texts from the environment.

As in Spring: a default may contain colons and further placeholders; ``${my.name}`` and ``${my-name}`` find ``MY_NAME``;
``\\${NAME}`` stays without its backslash, and so does ``$\\{group}``, which is how a replacement names a group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

_MAX_DEPTH = 8

Find = Callable[[str], str | None]
"""Returns the value of a name, or None if it has none."""


def fill(text: str, environ: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Returns the text with its placeholders filled, and the names that have neither value nor default.

    Placeholders of those names stay in the text unchanged.
    """
    return fill_from(text, lambda name: in_environ(name, environ))


def fill_from(text: str, find: Find) -> tuple[str, tuple[str, ...]]:
    """``fill`` with values that ``find`` returns."""
    if "${" not in text:
        return text, ()
    unset: list[str] = []
    return _fill(text, find, unset, 0), tuple(unset)


def in_environ(name: str, environ: Mapping[str, str]) -> str | None:
    """The value of the variable that a name means: the name itself, or the name in capitals with ``_`` for dots and
    hyphens as ``_`` or dropped."""
    upper = name.upper().replace(".", "_")
    for candidate in (name, upper.replace("-", "_"), upper.replace("-", "")):
        if candidate in environ:
            return environ[candidate]
    return None


def _fill(text: str, find: Find, unset: list[str], depth: int) -> str:
    out: list[str] = []
    at = 0
    while (start := text.find("${", at)) >= 0:
        escaped = start > at and text[start - 1] == "\\"
        end = _closing(text, start + 2)
        out.append(text[at : start - escaped])
        if end < 0:
            at = start
            break
        inside = text[start + 2 : end]
        out.append(f"${{{inside}}}" if escaped else _value(inside, find, unset, depth))
        at = end + 1
    return "".join(out) + text[at:]


def _closing(text: str, at: int) -> int:
    depth = 1
    for index in range(at, len(text)):
        depth += (text[index] == "{") - (text[index] == "}")
        if not depth:
            return index
    return -1


def _value(inside: str, find: Find, unset: list[str], depth: int) -> str:
    name, colon, default = inside.partition(":")
    value = find(name)
    if value is not None:
        return value
    if not colon:
        unset.append(name)
        return f"${{{inside}}}"
    return _fill(default, find, unset, depth + 1) if depth < _MAX_DEPTH else default
