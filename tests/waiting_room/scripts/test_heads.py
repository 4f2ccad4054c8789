"""Each script's head is its contract; here it is held against the body, and against what Python takes it to be."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from gateway.waiting_room.batch import MAX_BATCH
from gateway.waiting_room.events import _KINDS, Reason
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.rules import DEFAULTS, MAX_LINEUPS, MILLISECOND_NAMES, RULE_NAMES, SCHEMA, WORDS
from gateway.waiting_room.scripts import NAMES
from gateway.waiting_room.state import Left, Reserved, StateKind, Summary

FOLDER = Path(__file__).parents[3] / "lua_scripts"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.lua"))
INCLUDES = sorted(path.stem for path in (FOLDER / "includes").glob("*.lua"))

STATED = re.compile(r"^-- (KEYS|ARGV)\[(\d+)(…?)\] +(\w+)", re.MULTILINE)
USED = re.compile(r"\b(KEYS|ARGV)\[(\d+)\]")
LIST_FROM = re.compile(r"\bFIRST_\w+ = (\d+)$|\bunpack\(ARGV, (\d+)\)", re.MULTILINE)
LOCAL = re.compile(r"^local ([\w, ]+?)\s*=\s*(.+?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
CODES = re.compile(r"^local ([A-Z_]+(?:, [A-Z_]+)+)\s+= (\d+(?:, \d+)+)", re.MULTILINE)


def read(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text(encoding="utf-8")


def head_of(text: str) -> str:
    """The comment a file begins with."""
    return "\n".join(line for line in text[: first_code(text)].splitlines() if line.startswith("--"))


def first_code(text: str) -> int:
    match = re.search(r"^(?!--)\S", text, re.MULTILINE)
    assert match
    return match.start()


def code_of(text: str) -> str:
    """Without comments."""
    return re.sub(r"--[^\n]*", "", text)


@cache
def includes_of(name: str) -> tuple[str, ...]:
    return tuple(re.findall(r"^--- @include (\w+)$", read(name), re.MULTILINE))


def whole_code(name: str) -> str:
    """The script as Redis gets it."""
    return "\n".join(code_of(read(f"includes/{include}")) for include in includes_of(name)) + code_of(
        read(name)
    )


def bindings(code: str) -> dict[tuple[str, int], str]:
    """KEYS and ARGV by the local that each is bound to."""
    bound = {}
    for names, values in LOCAL.findall(code):
        targets = [name.strip() for name in names.split(",")]
        sources = [part for part in re.split(r",(?![^(]*\))", values.strip()) if part.strip()]
        for target, source in zip(targets, sources, strict=False):
            for kind, index in USED.findall(source):
                bound[kind, int(index)] = target
    return bound


FILES = [*SCRIPTS, "includes/room"]
BODIES = {"admission", "passing"}
"""Includes that do themselves what their scripts are for."""


def test_every_script_is_loaded_and_there_is_none_besides() -> None:
    assert tuple(SCRIPTS) == NAMES


@pytest.mark.parametrize("name", FILES)
def test_what_is_stated_is_bound_to_a_local_of_that_name_and_indexed_nowhere_else(name: str) -> None:
    text = read(name)
    stated = {
        (kind, int(index)): what for kind, index, dots, what in STATED.findall(head_of(text)) if not dots
    }
    code = code_of(text)
    assert bindings(code) == stated
    assert sorted((kind, int(index)) for kind, index in USED.findall(code)) == sorted(stated)


@pytest.mark.parametrize("name", FILES)
def test_a_list_begins_where_the_head_says(name: str) -> None:
    text = read(name)
    stated = [int(index) for kind, index, dots, _ in STATED.findall(head_of(text)) if dots]
    code = code_of(text)
    begun = [int(one or other) for one, other in LIST_FROM.findall(code)]
    assert begun == stated
    indexed = set(re.findall(r"ARGV\[([^\]\d][^\]]*)\]", code)) - {"at", "at + 1", "at + 2"}
    assert not indexed
    if not stated and name != "includes/room":
        assert "ARGV[at" not in code


@pytest.mark.parametrize("name", [name for name in SCRIPTS if "room" in includes_of(name)])
def test_a_scripts_own_keys_and_arguments_follow_those_of_the_room(name: str) -> None:
    def indices(text: str, kind: str) -> list[int]:
        return [int(index) for what, index, _, _ in STATED.findall(head_of(text)) if what == kind]

    assert "-- KEYS     those of a room, see includes/room.lua" in read(name)
    for kind in ("KEYS", "ARGV"):
        both = indices(read("includes/room"), kind) + indices(read(name), kind)
        assert both == list(range(1, len(both) + 1))


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_head_says_what_is_returned_and_published(name: str) -> None:
    head = head_of(read(name))
    assert head.startswith(f"-- {name}: ")
    assert re.search(r"^-- Returns  \S", head, re.MULTILINE)
    assert re.search(r"^-- Publishes \S", head, re.MULTILINE)


@pytest.mark.parametrize("name", SCRIPTS)
def test_codes_named_in_the_head_are_in_the_body(name: str) -> None:
    head = head_of(read(name))
    returns = head.split("-- Returns", 1)[1].split("-- Publishes", 1)[0]
    named = (
        re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", returns.split("codes:", 1)[1]) if "codes:" in returns else []
    )
    code = whole_code(name)
    for word in named:
        assert re.search(rf"\b{word}\b", code), word
    for words, _ in CODES.findall(code_of(read(name))):
        assert set(words.split(", ")) == set(named)


@pytest.mark.parametrize("name", SCRIPTS)
def test_events_named_in_the_head_are_those_that_can_be_published(name: str) -> None:
    head, code = head_of(read(name)), code_of(read(name))
    code += "".join(code_of(read(f"includes/{body}")) for body in BODIES & {*includes_of(name)})
    stated = set(
        re.findall(
            r"\b(ADMITTED|FRONT|LEFT|ABSENT|UNCLAIMED|SOLD_OUT|OPERATOR|MOVED)\b",
            head.split("-- Publishes", 1)[1].split(". ")[0],
        )
    )
    told = set(re.findall(r"tell\('(\w+)'", code))
    if "tell(reason" in code:
        told |= set(re.findall(r"\b(LEFT|OPERATOR) = '", code))
    if re.search(r"\b(?:promote|settle)\(", code):
        told.add("ADMITTED")
    if re.search(r"\blapse_(?:if_over|overdue)\(", code):
        told.add("UNCLAIMED")
    if "end_places(" in code:
        told |= {"SOLD_OUT", "OPERATOR"}
    assert told == stated
    assert ("Publishes nothing" in head) is (not stated)


@pytest.mark.parametrize("name", SCRIPTS)
def test_includes_come_after_those_they_need_and_none_is_idle(name: str) -> None:
    seen: list[str] = []
    for include in includes_of(name):
        needs = re.search(r"Needs ([\w, ]+)\.", head_of(read(f"includes/{include}")))
        for needed in re.findall(r"\w+", needs[1]) if needs else ():
            assert needed in (*seen, "and"), f"{include} needs {needed}"
        seen.append(include)
    own = code_of(read(name))
    for at, include in enumerate(seen):
        rest = own + "".join(code_of(read(f"includes/{later}")) for later in seen[at + 1 :])
        made = re.findall(r"^local (?:function )?(\w+)", code_of(read(f"includes/{include}")), re.MULTILINE)
        assert any(re.search(rf"\b{what}\b", rest) for what in made), f"{include} is not used"


def test_every_include_is_used() -> None:
    assert {include for name in SCRIPTS for include in includes_of(name)} == set(INCLUDES)


def test_the_keys_of_a_room_come_in_pythons_order() -> None:
    stated = [what for kind, _, _, what in STATED.findall(head_of(read("includes/room"))) if kind == "KEYS"]
    keys = RoomKeys("", "vip")
    assert tuple(getattr(keys, name) for name in stated) == keys.common


def codes_in(name: str) -> dict[str, int]:
    lists = CODES.findall(code_of(read(name)))
    words, numbers = (", ".join(parts).split(", ") for parts in zip(*lists, strict=True))
    return dict(zip(words, map(int, numbers), strict=True))


def test_pythons_kinds_have_the_scripts_codes() -> None:
    assert codes_in("includes/place") == {kind.name: at for at, kind in enumerate(StateKind)}


def test_pythons_names_of_what_was_left_have_the_scripts_codes() -> None:
    meant = {Left.NOTHING: "NOTHING", Left.SLOT: "LEFT_SLOT", Left.PLACE: "LEFT_LINE"}
    assert codes_in("leave") == {meant[left]: left.value for left in Left}


def test_pythons_names_of_reservations_have_the_scripts_codes() -> None:
    assert codes_in("reserve") == {code.name: code.value for code in Reserved}


def test_the_summary_has_pythons_order() -> None:
    text = read("includes/summary")
    stated = [
        re.sub(r" (?:in ms|0/1)$", "", " ".join(part.split())).replace(" ", "_")
        for start in (r"-- \{waiting", r"else \{admitted", r"else \{following")
        for part in re.findall(start.replace("{", "{(") + r".*?)\}", text, re.DOTALL)[0]
        .replace("\n--", "")
        .split(",")
    ]
    assert [name for name in stated if name not in ("counts", "features")] == list(Summary._fields)

    code = code_of(text)
    returned = [
        re.findall(start + r"\{\n(.*?)\n *\}", code, re.DOTALL)[0]
        for start in ("return ", "counts = ", "features = ")
    ]
    values = [part.strip() for part in ",".join(returned).split(",") if part.strip()]
    expressions = {
        "allowed_in": "held",
        "paused": "paused and 1 or 0",
        "more": "more and 1 or 0",
        "ages": "ages()",
        "following": "followed() or 0",
        "parked": "parked_count",
        "next_token": "next_token() or 0",
        "mode": "rule.mode",
        "opening": "times or 0",
        "closed_until": "rule.closed_until or 0",
        "implicit": "rule.implicit and 1 or 0",
        "stock": "rule.stock or -1",
        "notice_version": "rule.notice or 0",
        "lanes": "lane_numbers() or 0",
    }
    (counted,) = re.findall(r"names of the totals in tally: (.*?)\.", read("includes/room"), re.DOTALL)
    totals = set(re.findall(r"\w+", counted))
    assert totals <= set(Summary._fields)
    assert values == [
        f"done.{name} or 0" if name in totals else expressions.get(name, name) for name in stated
    ]


def test_python_knows_every_event() -> None:
    (stated,) = re.findall(r"event is ([\w, ]+) or (\w+);", read("includes/room"))
    events = {*stated[0].split(", "), stated[1]}
    assert events == set(_KINDS) == {"ADMITTED", "FRONT", *get_args(Reason)}


def test_python_knows_the_schema_and_the_settings() -> None:
    room, rules = read("includes/room"), read("includes/rules")
    assert f"local SCHEMA = {SCHEMA}\n" in room
    described = re.findall(r"^--   (\w+)  +", room, re.MULTILINE)
    assert tuple(described) == RULE_NAMES
    patterns, words = (
        dict(re.findall(r"(\w+)(?:'\])? = '([^']*)'", rules[rules.index(f"local {table} =") :].split("}")[0]))
        for table in ("ALLOWED", "ALLOWED_WORDS")
    )
    assert patterns.keys() | words.keys() == set(RULE_NAMES)
    assert {name: tuple(words[name].split()) for name in WORDS} == WORDS
    for name, text in re.findall(r"^--   (\w+)  +[^\0]*?([\w,]+) unless given", room, re.MULTILINE):
        default = getattr(DEFAULTS, name)
        assert text == (f"{round(default * 1000):,}" if name in MILLISECOND_NAMES else str(default)), name
    assert f"local TOKEN_PARTS, MOST_LINEUPS = 3600000, {MAX_LINEUPS}\n" in room


def test_python_sends_no_more_at_once_than_a_call_may_do() -> None:
    assert f"local MOST = {MAX_BATCH}\n" in read("includes/room")
