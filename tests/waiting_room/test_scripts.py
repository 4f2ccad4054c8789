"""How the scripts are put together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.waiting_room.scripts import (
    NAMES,
    joined_text,
    with_conditions,
    with_constants,
    with_keys,
    with_rare,
    with_table,
    without_unused,
)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_defines_no_function_that_it_does_not_use(name: str) -> None:
    text = re.sub(r"--- @rarely .*", "", joined_text(name))
    # skip stands in place of others.
    defined = set(re.findall(r"\blocal function (\w+)", text)) - {"skip"}
    unused = [one for one in defined if len(re.findall(rf"\b{one}\b", text)) == 1]

    assert unused == []


def test_a_function_that_only_an_unused_one_uses_goes_with_it() -> None:
    text = (
        "local function inner(value)\n  return value\nend\n\n"
        "local function outer(value)\n  return inner(value)\nend\n\n"
        "-- Not outer(1).\n"
        "local function used()\n  return 1\nend\n\n"
        "return used()\n"
    )

    assert without_unused(text).split() == [
        "local",
        "function",
        "used()",
        "return",
        "1",
        "end",
        "return",
        "used()",
    ]


def test_a_script_names_no_function_that_it_does_not_define() -> None:
    """Else a function would have been taken out although it is used."""
    provided = {
        name
        for script in NAMES
        for name in re.findall(r"^local function (\w+)", joined_text(script), re.MULTILINE)
    }

    for script in NAMES:
        text = joined_text(script)
        called = set(re.findall(r"(?<![.:\w])(\w+)\(", text)) & provided
        known = {
            name
            for names in re.findall(r"\blocal (?:function )?([\w, ]+)", text)
            for name in names.split(", ")
        }

        assert called <= {name.strip() for name in known}, script


SECTION = (
    "local function skip()\nend\n"
    "--- @only if rule.rate\n"
    "local counted = 0\n"
    "local function count(by)\n  counted = counted + by\nend\n"
    "local function total()\n  return counted\nend\n"
    "--- @end\n"
    "return total()\n"
)


def test_a_section_defines_its_functions_only_if_its_condition_holds() -> None:
    assert with_conditions(SECTION) == (
        "local function skip()\nend\n"
        "local count, total = skip, skip\n"
        "if rule.rate then\n"
        "local counted = 0\n"
        "function count(by)\n  counted = counted + by\nend\n"
        "function total()\n  return counted\nend\n"
        "end\n"
        "return total()\n"
    )


def test_a_script_in_which_settings_change_defines_all_functions() -> None:
    text = with_conditions("--- @all\n" + SECTION)

    assert "@" not in text
    assert "if rule.rate" not in text
    assert "local function total()\n" in text


def test_a_section_without_functions_goes() -> None:
    assert with_conditions("--- @only if lanes\nlocal unused = {}\n--- @end\nreturn 1\n") == "return 1\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_script_that_changes_settings_says_so(name: str) -> None:
    """Else a function of a feature that comes into force in the middle of the script would do nothing."""
    folder = Path(__file__).parents[2] / "lua_scripts"
    source = (folder / f"{name}.lua").read_text(encoding="utf-8")
    included = re.findall(r"^--- @include (\w+)$", source, re.MULTILINE)
    changes = re.search(
        r"\b(?:read_rules|write_rules|read_stock|park|write_doors)\(|rule\.(?!notice)\w+ = ", source
    )

    assert "--- @all\n" in source or not (changes or {"rules", "doors"} & set(included))


def test_numbers_stand_in_place_of_their_names() -> None:
    text = (
        "local MOST, LEAST = 256, '1'\nlocal most = MOST\nreturn { 'MOST', MOST, LEAST, it.MOST, MOST_OF }\n"
    )

    assert with_constants(text) == "local most = 256\nreturn { 'MOST', 256, '1', it.MOST, MOST_OF }\n"


def test_functions_after_the_room_are_in_a_table() -> None:
    head = "local function limit(value)\n  return value\nend\n"
    rest = (
        "\nlocal used, total = skip, skip\n"
        "if rule.rate then\n"
        "function used(by)\n  return limit(by)\nend\n"
        "function total()\n  return used(1)\nend\n"
        "end\n"
        "local function sum(it)\n  return { 'sum', it.total, total() }\nend\n"
        "return sum(sum)\nend)()\n"
    )

    assert with_table(head + "return (function() " + rest) == (
        "local function limit(value)\n  return value\nend\n"
        "local f = { nil, nil, nil }\n"
        "return (function() \nf[1], f[2] = skip, skip\n"
        "if rule.rate then\n"
        "f[1] = function(by)\n  return limit(by)\nend\n"
        "f[2] = function()\n  return f[1](1)\nend\n"
        "end\n"
        "f[3] = function(it)\n  return { 'sum', it.total, f[2]() }\nend\n"
        "return f[3](f[3])\nend)()\n"
    )


RARE = (
    "return (function() \nlocal function often()\n  return seldom()\nend\n"
    "--- @only if lanes\nlocal function seldom()\n  return never()\nend\n"
    "local function other()\nend\n--- @end\n"
    "local function never()\n  return 1\nend\n"
    "--- @rarely seldom, never\n"
    "other()\nreturn often()\nend)()\n"
)


def test_functions_that_are_used_rarely_are_defined_when_they_are_used() -> None:
    assert with_table(with_conditions(with_rare(RARE))) == (
        "local f = { nil, nil, nil, nil }\n"
        "return (function() \nf[1] = function()\n  return f[2]()\nend\n"
        "f[2], f[3] = skip, skip\nif lanes then\nf[2] = nil\nf[3] = function()\nend\nend\n"
        "setmetatable(f, { __index = function(_, place)\nsetmetatable(f, nil)\n"
        "if not f[2] then\nf[2] = function()\n  return f[4]()\nend\nend\n"
        "if not f[4] then\nf[4] = function()\n  return 1\nend\nend\n"
        "return f[place]\nend })\n"
        "f[3]()\nreturn f[1]()\nend)()\n"
    )


@pytest.mark.parametrize("name", NAMES)
def test_functions_that_are_used_rarely_are_defined_before_they_are_named(name: str) -> None:
    """And not in a section that has variables of its own, which only its functions see."""
    text = joined_text(name)
    before, marked, _ = text.partition("--- @rarely ")
    rare = set(re.findall(r"\w+", "".join(re.findall(r"^--- @rarely (.*\n)", text, re.MULTILINE))))
    for section in re.findall(r"^--- @only if [^\n]+\n(.*?)^--- @end\n", text, re.MULTILINE | re.DOTALL):
        names = set(re.findall(r"^local function (\w+)", section, re.MULTILINE))
        assert not (re.search(r"^local (?!function)", section, re.MULTILINE) and names & rare)
    assert not marked or "--- @all" not in text
    assert rare <= set(re.findall(r"^local function (\w+)", before, re.MULTILINE))


def test_keys_stand_in_place_of_their_names() -> None:
    room = "-- A comment.\nlocal line, inside,\n  settings =\n  KEYS[1], KEYS[2], KEYS[4]\nlocal ended = KEYS[17]\n"
    script = "local watch = KEYS[19]\nreturn { 'line', line, it.inside, settings, ended, watch }\n"

    assert with_keys(room + script, room) == (
        "-- A comment.\nlocal watch = KEYS[19]\nreturn { 'line', KEYS[1], it.inside, KEYS[4], KEYS[17], watch }\n"
    )


@pytest.mark.parametrize("name", NAMES)
def test_sections_are_not_nested_and_each_has_its_end(name: str) -> None:
    folder = Path(__file__).parents[2] / "lua_scripts"

    def paste(source: str) -> str:
        return re.sub(
            r"^--- @include (\w+)$",
            lambda match: (folder / "includes" / f"{match[1]}.lua").read_text(encoding="utf-8"),
            source,
            flags=re.MULTILINE,
        )

    text = paste((folder / f"{name}.lua").read_text(encoding="utf-8"))
    marks = re.findall(r"^--- @(only if|end)\b", text, re.MULTILINE)

    assert marks == ["only if", "end"] * (len(marks) // 2)
