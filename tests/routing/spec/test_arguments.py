"""The two notations and their binding."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.routing.spec.arguments import Arg, Arguments, Definition, Factory, bind, parse_shortcut
from gateway.routing.spec.issues import RuleViolation


def _keep(args: Arguments) -> Arguments:
    return args


PAIR = Factory("Pair", (Arg("name"), Arg("value"), Arg("override", required=False)), _keep, "")
LIST = Factory("List", (Arg("items", gathers=True, also=("item",)), Arg("strict", required=False)), _keep, "")
BARE: Factory[Arguments] = Factory("Bare", (), _keep, "")


def shortcut(kind: Factory[Arguments], text: str) -> Arguments:
    return bind(kind, parse_shortcut(text, 1))


def named(kind: Factory[Arguments], **args: Any) -> Arguments:
    return bind(kind, Definition(kind.name, (), args, 1))


def test_a_shortcuts_values_are_split_trimmed_and_bound_in_order() -> None:
    args = shortcut(PAIR, "Pair= a , , b ")
    assert (args.text("name"), args.text("value"), args.has("override")) == ("a", "b", False)
    assert shortcut(LIST, "List=/a,/b,").texts("items") == ("/a", "/b")
    assert parse_shortcut("Bare", 7) == Definition("Bare", (), {}, 7)
    assert parse_shortcut("Path=/a=b", 1).values == ("/a=b",)


def test_a_truth_value_behind_a_list_belongs_to_the_flag() -> None:
    args = shortcut(LIST, "List=/a,/b,false")
    assert args.texts("items") == ("/a", "/b")
    assert not args.flag("strict", True)


def test_names_regard_neither_case_nor_hyphens() -> None:
    assert named(PAIR, Name="a", VALUE="b").text("value") == "b"
    assert bind(LIST, Definition("List", (), {"ITEM": "a,b"}, 1)).texts("items") == ("a,b",)


def test_numbered_names_are_positions() -> None:
    args = bind(PAIR, Definition("Pair", (), {"_genkey_1": "b", "_genkey_0": "a"}, 1))
    assert (args.text("name"), args.text("value")) == ("a", "b")


@pytest.mark.parametrize(
    ("kind", "args", "why"),
    [
        (PAIR, {"name": "a"}, "value is missing"),
        (PAIR, {}, "name, value are missing"),
        (PAIR, {"name": "a", "value": ""}, "value is missing"),
        (PAIR, {"name": "a", "value": "b", "valeu": "c"}, "the nearest is 'value'"),
        (PAIR, {"name": "a", "value": ("b",)}, "one value, not a list"),
        (PAIR, {"name": "a", "value": "#{1}"}, "not evaluated"),
        (BARE, {"x": "1"}, "it takes none"),
        (LIST, {"items": ()}, "items is missing"),
    ],
)
def test_what_is_missing_surplus_or_misspelt_is_told(
    kind: Factory[Arguments], args: dict[str, Any], why: str
) -> None:
    with pytest.raises(RuleViolation, match=why):
        bind(kind, Definition(kind.name, (), args, 1))


def test_a_surplus_value_is_told_with_what_there_is() -> None:
    with pytest.raises(RuleViolation, match=r"4 values given, but it takes name, value, \[override\]"):
        shortcut(PAIR, "Pair=a,b,c,d")


@pytest.mark.parametrize(
    ("text", "size"), [("10", 10), ("10B", 10), ("4KB", 4096), ("5MB", 5 * 1024**2), ("1 gb", 1024**3)]
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert Arguments("X", {"s": text}).size("s", "1B") == size


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "1TB", "9" * 20])
def test_what_is_no_size_or_number_is_told(text: str) -> None:
    args = Arguments("X", {"s": text})
    with pytest.raises(RuleViolation):
        args.size("s", "1B")
    with pytest.raises(RuleViolation):
        args.integer("s", 1)


def test_a_choice_regards_no_case_and_a_flag_is_a_truth_value() -> None:
    args = Arguments("X", {"c": "one", "f": "True", "g": "yes"})
    assert args.choice("c", ("ONE", "TWO"), "TWO") == "ONE"
    assert args.flag("f", False)
    with pytest.raises(RuleViolation):
        args.flag("g", False)
    with pytest.raises(RuleViolation, match="ONE, TWO"):
        Arguments("X", {"c": "three"}).choice("c", ("ONE", "TWO"), "TWO")


def test_an_empty_text_is_a_value_where_the_long_form_gives_one_and_it_may_be() -> None:
    kind = Factory("Replace", (Arg("what"), Arg("by", empty=True)), _keep, "")
    args = named(kind, what="a", by="")
    assert (args.has("by"), args.text("by")) == (True, "")
    for short in ("Replace=a", "Replace=a,", "Replace=a, "):
        with pytest.raises(RuleViolation, match="by is missing"):
            shortcut(kind, short)
    with pytest.raises(RuleViolation, match="what is missing"):
        named(kind, what="", by="")
    with pytest.raises(RuleViolation, match="value is missing"):
        named(PAIR, name="a", value="")
