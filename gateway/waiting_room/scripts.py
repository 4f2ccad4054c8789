"""Lua scripts: read from the package, with their includes inserted, ready to be sent to Redis."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

NAMES = (
    "arrive",
    "beacon",
    "beat",
    "configure",
    "delist",
    "desk_session",
    "directory",
    "doors",
    "drain",
    "draw",
    "enlist",
    "find",
    "forget",
    "front",
    "gate",
    "gather",
    "hold",
    "leave",
    "limits",
    "lineup",
    "lock",
    "move",
    "note",
    "notice",
    "offer",
    "open",
    "presence",
    "rank",
    "rate_limit",
    "redeem",
    "reopen",
    "report",
    "reserve",
    "retire",
    "sessions",
    "signing_keys",
    "status",
    "stock",
    "sweep",
    "unreserve",
    "visitor_secret",
)

_ROOM = "--- @include room\n"
_INCLUDE = re.compile(r"^--- @include (\w+)$", re.MULTILINE)
_FUNCTION = re.compile(r"^local function (\w+)\(.*?^end\n", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"(?<!-)--(?!- @(?:only if|end|all|rarely)\b).*")
_SECTION = re.compile(r"^--- @only if ([^\n]+)\n(.*?)^--- @end\n", re.MULTILINE | re.DOTALL)
_RARELY = re.compile(r"^(?:--- @rarely [\w, ]+\n)+", re.MULTILINE)
_ALL = re.compile(r"^--- @all\n", re.MULTILINE)
_CONSTANTS = re.compile(
    r"^local ([A-Z_]+(?:, [A-Z_]+)*) = ((?:\d+|'\d+')(?:, (?:\d+|'\d+'))*)\n", re.MULTILINE
)
_KEYS = re.compile(r"^local (\w+(?:,\s+\w+)*) =\s+(KEYS\[\d+\](?:, KEYS\[\d+\])*)\n", re.MULTILINE)
_INNER = "return (function() "
_DEFINED = re.compile(r"^(?:local )?function (\w+)\(", re.MULTILINE)
_DEFINITION = re.compile(r"^(local )?function (\w+)\(", re.MULTILINE)
_LATER = re.compile(r"^(local )?function (\w+)\(\) --- @later\nend\n", re.MULTILINE)
_SKIPS = re.compile(r"^local (\w+(?:, \w+)* = skip(?:, skip)*\n)", re.MULTILINE)
_STRING_OR_WORD = re.compile(r"'(?:\\.|[^'\\\n])*'|(?<![.\w])[A-Za-z_]\w*")
_WORD = re.compile(r"[A-Za-z_]\w*")


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
    return _INCLUDE.sub(paste, head + room) + _INNER + _INCLUDE.sub(paste, rest) + "\nend)()\n"


def without_unused(text: str) -> str:
    """The text of a script without the functions that it got from its includes and does not use.

    Each call of a script defines all of its functions anew, and an include serves several scripts. Comments go, too, so
    that a function whose name is only written in one is not kept. A function begins and ends at the margin.
    """
    text = _COMMENT.sub("", text)
    bodies = {match[1]: match[0] for match in _FUNCTION.finditer(text)}
    used: set[str] = set()
    new = set(_WORD.findall(_RARELY.sub("", _FUNCTION.sub("", text))))
    if not _ALL.search(text):
        # Conditional sections will use it.
        new.add("skip")
    while new:
        used |= new
        new = {word for name in new & bodies.keys() for word in _WORD.findall(bodies[name])} - used
    return _FUNCTION.sub(lambda match: match[0] if match[1] in used else "", text)


def with_conditions(text: str) -> str:
    """The text of a script whose conditional sections define their functions only if their conditions hold.

    A section begins with ``--- @only if CONDITION`` and ends with ``--- @end``, both at the margin. While the condition
    does not hold, each function of the section is ``skip``, which returns nothing. So a room does not pay, with each
    call, for definitions of features that it does not use. In a script with the line ``--- @all``, in which settings
    change, all sections are as good as unconditional.
    """
    if _ALL.search(text):
        return _ALL.sub("", _SECTION.sub(lambda match: match[2], text))

    def conditional(match: re.Match[str]) -> str:
        names = [found[1] for found in _FUNCTION.finditer(match[2])]
        if not names:
            return ""
        body = _FUNCTION.sub(lambda found: found[0].removeprefix("local "), match[2])
        skips = ", ".join(["skip"] * len(names))
        return f"local {', '.join(names)} = {skips}\nif {match[1]} then\n{body}end\n"

    return _SECTION.sub(conditional, text)


def with_rare(text: str) -> str:
    """The text of a script that defines some of its functions only when it first calls one of them.

    It names them in lines ``--- @rarely settle, park``, at a place where all that these functions use is defined. Until
    then they are nil in the table of functions, see ``with_table``, whose metatable defines them.
    """
    marked = _RARELY.search(text)
    if not marked:
        return text
    rare = set(_WORD.findall(marked[0].replace("--- @rarely", "")))
    moved: list[str] = []

    def move(match: re.Match[str]) -> str:
        if match[1] not in rare:
            return match[0]
        body = match[0].removeprefix("local ")
        moved.append(f"if not {match[1]} then\n{body}end\n")
        return f"local function {match[1]}() --- @later\nend\n"

    text = _FUNCTION.sub(move, text[: marked.start()]) + text[marked.start() :]
    definer = (
        "setmetatable(f, { __index = function(_, place)\n"
        f"setmetatable(f, nil)\n{''.join(moved)}return f[place]\nend }})\n"
    )
    return _RARELY.sub(lambda _: definer, text)


def with_constants(text: str) -> str:
    """The text of a script with its numbers in place of their names.

    Such names are in capitals and get their values at the margin: ``local MINUTE = 60000``. Lua 5.1 has no constants: a
    function that uses such a local costs as much to define as one that uses a variable.
    """
    values: dict[str, str] = {}

    def note(match: re.Match[str]) -> str:
        values.update(zip(match[1].split(", "), match[2].split(", "), strict=True))
        return ""

    text = _CONSTANTS.sub(note, text)
    return _STRING_OR_WORD.sub(lambda match: values.get(match[0], match[0]), text)


def with_keys(text: str, room: str) -> str:
    """The text of a script with ``KEYS[4]`` in place of the name ``settings``, and so on, as ``room`` names the keys.

    Most calls use few of a room's keys. A local that any function uses costs each call some 700 instructions, and an
    element of the global ``KEYS`` some 100 for each use.
    """
    keys: dict[str, str] = {}
    for match in _KEYS.finditer(room):
        keys.update(zip(re.split(r",\s+", match[1]), match[2].split(", "), strict=True))
        text = text.replace(match[0], "")
    return _STRING_OR_WORD.sub(lambda match: keys.get(match[0], match[0]), text)


def with_table(text: str) -> str:
    """The text of a script with the functions that it defines after ``room`` in one table: ``f[1]``, ``f[2]``, and on.

    A local that any function uses costs each call some 700 instructions, and more for each further function. A function
    in a table costs 40, and 40 for each use.
    """
    head, begin, rest = text.partition(_INNER)
    names = list(dict.fromkeys(_DEFINED.findall(rest)))
    if not names:
        return text
    places = {name: f"f[{number}]" for number, name in enumerate(names, 1)}
    # Within a section, a function that comes later replaces the one that does nothing.
    rest = _LATER.sub(lambda match: "" if match[1] else f"{match[2]} = nil\n", rest)
    rest = _DEFINITION.sub(lambda match: f"{match[2]} = function(", rest)
    rest = _SKIPS.sub(lambda match: match[1], rest)
    rest = _STRING_OR_WORD.sub(lambda match: places.get(match[0], match[0]), rest)
    return f"{head}local f = {{ {', '.join(['nil'] * len(names))} }}\n{begin}{rest}"


@cache
def _source(path: str) -> str:
    return files("gateway").joinpath("lua_scripts", path).read_text(encoding="utf-8")


def joined_text(name: str, includes: Mapping[str, str] | None = None) -> str:
    """The script ``lua_scripts/<name>.lua`` with its includes, and without the functions that it does not use."""

    def paste(match: re.Match[str]) -> str:
        include = match[1]
        given = (includes or {}).get(include)
        return given if given is not None else _source(f"includes/{include}.lua")

    return without_unused(joined(_source(f"{name}.lua"), paste))


def load(name: str, includes: Mapping[str, str] | None = None) -> Script:
    """The script ``lua_scripts/<name>.lua``.

    ``includes`` replaces includes by name; tests replace the clock this way.
    """
    text = with_constants(with_conditions(with_rare(joined_text(name, includes))))
    if _ROOM in _source(f"{name}.lua"):
        text = with_table(text)
        text = with_keys(text, (includes or {}).get("room") or _source("includes/room.lua"))
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def load_all(includes: Mapping[str, str] | None = None) -> Mapping[str, Script]:
    """Every script by its name. Putting them together takes tens of milliseconds, so the usual ones are kept."""
    return {name: load(name, includes) for name in NAMES} if includes else _usual()


@cache
def _usual() -> Mapping[str, Script]:
    return {name: load(name) for name in NAMES}
