"""How the scripts are put together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.waiting_room.scripts import NAMES, load, with_conditions, with_constants, without_unused


@pytest.mark.parametrize("name", NAMES)
def test_a_script_defines_no_function_that_it_does_not_use(name: str) -> None:
    text = load(name).text
    defined = re.findall(r"\blocal function (\w+)", text)
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
        for name in re.findall(r"^local function (\w+)", load(script).text, re.MULTILINE)
    }

    for script in NAMES:
        text = load(script).text
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
