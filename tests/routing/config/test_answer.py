"""What a Config Server answers is read in both of its formats, and within bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.errors import ConfigUnavailable
from gateway.routing.config.answer import LONGEST_VALUE, MOST_PROPERTIES, Value, read_answer


def body(source: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"propertySources": [{"name": "a.yml", "source": source}], **more}).encode()


def test_values_come_with_their_lines_or_without() -> None:
    answer = read_answer(
        body({"a": {"value": 5000, "origin": "37:17"}, "b": "x", "c": True, "d": None}, version="f00")
    )
    assert answer.version == "f00"
    assert answer.sources[0].name == "a.yml"
    assert answer.sources[0].properties == {
        "a": Value(5000, 37),
        "b": Value("x", 0),
        "c": Value(True, 0),
        "d": Value("", 0),
    }


def test_an_origin_of_another_form_is_no_line() -> None:
    read = read_answer(body({"a": {"value": 1, "origin": "system property"}, "b": {"value": 1}}))
    assert [value.line for value in read.sources[0].properties.values()] == [0, 0]


def test_a_name_of_a_source_gives_away_no_password_and_stays_on_its_line() -> None:
    source = {"name": "https://user:secret@git.example/repo\n/application.yml", "source": {}}
    name = read_answer(json.dumps({"propertySources": [source]}).encode()).sources[0].name
    assert name == "https://git.example/repo?/application.yml"


@pytest.mark.parametrize(
    "wrong",
    [
        b"<html>",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"propertySources": {}}',
        b'{"propertySources": [1]}',
        b'{"propertySources": [{"name": "a"}]}',
        body({"a": "\ud800"}),
        body({"\ud800": 1}),
        body({"a": [1]}),
        body({"a": {"value": {"b": 1}}}),
        body({"a": "x" * (LONGEST_VALUE + 1)}),
        body(dict.fromkeys(map(str, range(MOST_PROPERTIES + 1)), 1)),
    ],
    ids=lambda wrong: str(wrong[:30]),
)
def test_what_is_no_such_answer_is_refused_whole(wrong: bytes) -> None:
    with pytest.raises(ConfigUnavailable):
        read_answer(wrong)


def test_a_byte_order_mark_is_no_part_of_the_document_or_of_a_name() -> None:
    plain = body({"a.b": {"value": 1}, "c": 2})
    assert read_answer(b"\xef\xbb\xbf" + plain) == read_answer(plain)
    for mark in ("\ufeff", "\xef\xbb\xbf"):
        assert read_answer(body({f"{mark}a.b": {"value": 1}, "c": 2})) == read_answer(plain)
