"""Flat property names are taken apart and compared as Spring does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.discovery.config_server.response import MAX_NAME_DEPTH, split
from gateway.settings.spring.names import uniform


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("a", ["a"]),
        ("a.b-c.d_e", ["a", "b-c", "d_e"]),
        ("routes[0].id", ["routes", 0, "id"]),
        ("a[10][2]", ["a", 10, 2]),
        ("cors-configurations[/**].allowedOrigins[0]", ["cors-configurations", "[/**]", "allowedOrigins", 0]),
        ("c[/{id:[0-9]+}/**].x", ["c", "[/{id:[0-9]+}/**]", "x"]),
        ("metadata[a.b]", ["metadata", "[a.b]"]),
        ("a[0x1]", ["a", "[0x1]"]),
        ("a[1234567]", ["a", "[1234567]"]),
        ("", []),
        ("a..b", []),
        ("a.", []),
        ("a[", []),
        ("a[0", []),
        ("a[].b", []),
    ],
)
def test_a_name_becomes_its_steps(name: str, keys: list[str | int]) -> None:
    assert [segment.key for segment in split(name)] == keys


def test_each_step_knows_the_name_up_to_it() -> None:
    assert [segment.until for segment in split("a.b[0].c")] == ["a", "a.b", "a.b[0]", "a.b[0].c"]


def test_a_name_without_end_is_none() -> None:
    assert len(split(".".join("a" * MAX_NAME_DEPTH))) == MAX_NAME_DEPTH
    assert split(".".join("a" * (MAX_NAME_DEPTH + 1))) == ()


@pytest.mark.parametrize("spelling", ["jwk-set-uri", "jwkSetUri", "JWK_SET_URI", "jwksetUri"])
def test_spellings_that_spring_takes_for_one_are_one(spelling: str) -> None:
    assert uniform(spelling) == "jwkseturi"


@given(st.text(alphabet="ab.[]0/-", max_size=30))
def test_nothing_is_too_odd_to_be_taken_apart_or_left(name: str) -> None:
    segments = split(name)
    assert not segments or segments[-1].until == name
