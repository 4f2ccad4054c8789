"""YAML with lines, within bounds."""

from __future__ import annotations

import time

import pytest

from gateway.routing.spec.document import (
    MAX_BYTES,
    BadDocument,
    Fields,
    Items,
    Text,
    as_items,
    filled,
    plain,
    read_document,
)
from gateway.routing.spec.issues import RuleViolation

BOMB = "\n".join(
    [f"a0: &a0 [{', '.join(['x'] * 10)}]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
)


def read(text: str) -> Fields:
    found = read_document(text.encode(), {})
    assert found is not None
    return found


def test_everything_knows_its_line() -> None:
    root = read("a:\n  b: 1\n  c:\n  - x\n  - y\n")
    inner = root.entries["a"]
    assert isinstance(inner, Fields)
    assert inner.lines == {"b": 2, "c": 3}
    items = inner.entries["c"]
    assert isinstance(items, Items)
    assert [item.line for item in items.items] == [4, 5]


def test_values_keep_the_type_yaml_gives_them_and_the_text_they_had() -> None:
    text = "i: 1\nf: 1.5\nb: yes\nn: ~\ns: '1'\nl: [1, x]\nd: {e.f: 0x10}\n"
    root = read(text)
    assert plain(root) == {
        "i": 1,
        "f": 1.5,
        "b": True,
        "n": None,
        "s": "1",
        "l": [1, "x"],
        "d": {"e": {"f": "0x10"}},
    }
    assert root.entries["b"] == Text("yes", 3, "bool")


def test_dotted_and_indexed_keys_are_written_out() -> None:
    root = read("a.b:\n  c: 1\na:\n  d: 2\nl[0]: x\nl[1]: y\n'[/**]': z\n/p.q: r\n")
    assert plain(root) == {
        "a": {"b": {"c": 1}, "d": 2},
        "l": {"[0]": "x", "[1]": "y"},
        "[/**]": "z",
        "/p.q": "r",
    }
    items = as_items(root.entries["l"])
    assert items is not None
    assert [plain(item) for item in items.items] == ["x", "y"]


def test_a_later_document_goes_over_an_earlier_one() -> None:
    assert plain(read("a: {x: 1, y: 2}\nl: [1]\n---\na: {x: 3}\nl: [2]\n---\n")) == {
        "a": {"x": 3, "y": 2},
        "l": [2],
    }


def test_merge_keys_and_anchors_are_written_out() -> None:
    assert plain(read("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3\nc:\n  <<: [*a, {z: 4}]\n")) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 3, "y": 2},
        "c": {"x": 1, "y": 2, "z": 4},
    }


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "---\n---\n", "~"])
def test_an_empty_file_is_none(text: str) -> None:
    assert read_document(text.encode(), {}) is None


@pytest.mark.parametrize(
    ("data", "line", "why"),
    [
        (b"x: 1\na: ]", 2, "expected"),
        (b"a: 1\n\tb: 2", 2, "tab"),
        (b"x: 1\nx: 2", 2, "twice"),
        (b"a:\n  x: 1\n  y: 2\n  x: 3", 4, "twice"),
        (b"\n\n- a", 3, "must be a mapping"),
        (b"text", 1, "must be a mapping"),
        (b"a: 1\n\xff", 2, "UTF-8"),
        (b"a: \x00", 1, "control characters"),
        (b"a: *nope", 1, "undefined alias"),
        (b"? [a]\n: b", 1, "key must be a text"),
        (b"a: &a [*a]", 1, "itself"),
        (b"a: &a {b: *a}", 1, "itself"),
        (b"[" * 100_000, 1, "too deeply"),
        (b"- " * 100_000, 1, "too deeply"),
        (b"{a: " * 100_000, 1, "too deeply"),
        (BOMB.encode(), 1, "aliases written out"),
        (b"#" * (MAX_BYTES + 1), 1, "larger than"),
    ],
)
def test_what_can_not_be_used_is_refused_with_its_line_and_soon(data: bytes, line: int, why: str) -> None:
    before = time.perf_counter()
    with pytest.raises(BadDocument, match=why) as refusal:
        read_document(data, {})
    assert refusal.value.line == line or "aliases" in why
    assert time.perf_counter() - before < 10


def test_a_tag_makes_no_object() -> None:
    assert plain(read("a: !!python/object/apply:os.getcwd []")) == {"a": []}


def test_placeholders_are_filled_and_those_that_can_not_be_are_known() -> None:
    root = read_document(b"a: ${X}\nb: ${Y}", {"X": "1"})
    assert root is not None
    first, second = root.entries["a"], root.entries["b"]
    assert isinstance(first, Text)
    assert isinstance(second, Text)
    assert filled(first) == "1"
    with pytest.raises(RuleViolation, match="Y"):
        filled(second)


@pytest.mark.parametrize("text", ["routes: []", '{"routes": []}', "---\r\nroutes: []\r\n"])
def test_a_byte_order_mark_before_a_file_is_no_part_of_it(text: str) -> None:
    read = read_document(b"\xef\xbb\xbf" + text.encode(), {})
    assert read is not None
    assert list(read.entries) == ["routes"]
