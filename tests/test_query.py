"""Queries are read strictly, and only where a rule asks."""

from __future__ import annotations

from contextlib import suppress

import pytest

from gateway.errors import BadRequest
from gateway.query import MAX_PARAMETERS, parse_query, values_of
from tests.support.effort import least_seconds

READ = [
    ("", []),
    ("&&", []),
    ("a", [("a", None)]),
    ("a=", [("a", "")]),
    ("=b", [("", "b")]),
    ("a=b", [("a", "b")]),
    ("a=b=c", [("a", "b=c")]),
    ("a=1&a=2", [("a", "1"), ("a", "2")]),
    ("a+b=c+d", [("a b", "c d")]),
    ("a%2Bb=%20", [("a+b", " ")]),
    ("%61=%EC%98%88", [("a", "예")]),
    ("a=%25&b=%2525", [("a", "%"), ("b", "%25")]),
    ("a=%0D%0A%00", [("a", "\r\n\0")]),
    ("a;b=c;d", [("a;b", "c;d")]),
    ("a[]={1}|^\\`\"<>'", [("a[]", "{1}|^\\`\"<>'")]),
    ("a=é", [("a", "é")]),
    # as the server's parser gives raw bytes that are no UTF-8 of themselves, but are together
    ("a=\udcc3\udca9", [("a", "é")]),
]
MALFORMED = [
    "%",
    "a=%",
    "a=%2",
    "a=%zz",
    "a=%%41",
    "a=%u0041",
    "a=%4 1",
    "b=1&%=2",
    "a=%E9",
    "a=%C0%AF",
    "a=%ED%A0%80",
    "a=\udce9",
    "a=\udcff%41",
]


@pytest.mark.parametrize(("raw", "parameters"), READ)
def test_a_sound_query_is_read_like_a_form(raw: str, parameters: list[tuple[str, str | None]]) -> None:
    assert list(parse_query(raw)) == parameters


def test_more_parameters_than_any_service_takes_are_refused() -> None:
    raw = "&".join(["a"] * MAX_PARAMETERS)
    assert len(parse_query(raw)) == MAX_PARAMETERS
    with pytest.raises(BadRequest):
        parse_query(raw + "&a")


@pytest.mark.parametrize("raw", MALFORMED)
def test_a_malformed_query_is_refused_without_echoing_it(raw: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        parse_query(raw)
    assert refusal.value.reason.startswith("the query ")
    with pytest.raises(BadRequest):
        values_of(raw, "other")


def test_all_values_of_a_parameter_are_found() -> None:
    assert values_of("room=a&x=1&ro%6Fm=b&room", "room") == ["a", "b", ""]
    assert values_of("Room=a", "room") == []


def test_the_longest_query_is_read_in_linear_time() -> None:
    def read() -> None:
        for text in ("%41" * 2700, "a&" * 4000, "%" * 8000, "=" * 8000):
            parse_query.cache_clear()
            with suppress(BadRequest):
                parse_query(text)

    assert least_seconds(read, 0.2) < 0.2
