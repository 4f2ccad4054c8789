"""Lua scripts: read from the package, with their includes inserted, ready to be sent to Redis."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

NAMES = (
    "beacon",
    "beat",
    "configure",
    "doors",
    "drain",
    "draw",
    "find",
    "gate",
    "gather",
    "hold",
    "leave",
    "limits",
    "lineup",
    "lock",
    "move",
    "note",
    "offer",
    "open",
    "presence",
    "rank",
    "rate_limit",
    "redeem",
    "reopen",
    "reserve",
    "signing_keys",
    "status",
    "sweep",
    "unreserve",
    "visitor_secret",
)

_ROOM = "--- @include room\n"
_INCLUDE = re.compile(r"^--- @include (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One script: its name, its whole text, and the SHA-1 by which Redis identifies it."""

    name: str
    text: str
    sha: str


def joined(source: str, paste: Callable[[re.Match[str]], str]) -> str:
    """The text of a script with its includes inserted; ``paste`` returns the text of one include.

    What follows ``room`` runs in a function of its own. Each call of a script defines some 60 functions. For each local
    that a function uses, Lua 5.1 walks the list of all locals of this level that functions use; those of an outer level
    need no walk. At one level the walks take a fifth of a short call (see ``benchmarks/scripts.py``). Lua allows a
    function 60 locals of outer levels.
    """
    head, room, rest = source.partition(_ROOM)
    if not room:
        return _INCLUDE.sub(paste, source)
    return _INCLUDE.sub(paste, head + room) + "return (function() " + _INCLUDE.sub(paste, rest) + "\nend)()\n"


@cache
def _source(path: str) -> str:
    return files("gateway").joinpath("lua_scripts", path).read_text(encoding="utf-8")


def load(name: str, includes: Mapping[str, str] | None = None) -> Script:
    """The script ``lua_scripts/<name>.lua``.

    ``includes`` replaces includes by name; tests replace the clock this way.
    """

    def paste(match: re.Match[str]) -> str:
        include = match[1]
        given = (includes or {}).get(include)
        return given if given is not None else _source(f"includes/{include}.lua")

    text = joined(_source(f"{name}.lua"), paste)
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def load_all(includes: Mapping[str, str] | None = None) -> Mapping[str, Script]:
    """Every script by its name."""
    return {name: load(name, includes) for name in NAMES}
