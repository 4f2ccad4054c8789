"""Which names count as misspelt others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings.spelling import distance, is_near, looks_like, nearest

WORDS = st.text(alphabet="abc", max_size=7)


@pytest.mark.parametrize(
    ("one", "other", "edits"),
    [
        ("", "", 0),
        ("vip", "vip", 0),
        ("vpi", "vip", 1),
        ("vp", "vip", 1),
        ("vips", "vip", 1),
        ("", "abc", 3),
        ("kitten", "sitting", 3),
        ("ca", "abc", 3),
        ("capacty", "capacity", 1),
    ],
)
def test_edits_are_counted(one: str, other: str, edits: int) -> None:
    assert distance(one, other) == edits


@given(WORDS, WORDS, st.integers(0, 4))
def test_what_is_ruled_out_quickly_is_not_near_either_way(one: str, other: str, edits: int) -> None:
    assert distance(one, other) == distance(other, one)
    assert is_near(one, other, edits) == (distance(one, other) <= edits)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("vpi", "vip"),
        ("VIP", "vip"),
        ("defualt", "default"),
        ("member", "members"),
        ("ALLOWED_IN_MAX_CAPACTY", "ALLOWED_IN_MAX_CAPACITY"),
        ("ALLOWEDIN_MAX_CAPACITY", "ALLOWED_IN_MAX_CAPACITY"),
        ("MAX_ALLOWED_IN_CAPACITY", "ALLOWED_IN_MAX_CAPACITY"),
        ("allowed.in.max-capacity", "ALLOWED_IN_MAX_CAPACITY"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("REDIS_URI", "REDIS_URL"),
        ("JWT_JWK_URI", "JWT_JWKS_URI"),
    ],
)
def test_slips_of_the_keyboard_are_recognised(name: str, other: str) -> None:
    assert looks_like(name, other)
    assert nearest(name, ["something-else", other]) == other


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("vip", "vip"),
        ("hall-1", "hall-2"),
        ("hall1", "hall12"),
        ("room-a", "room-b"),
        ("a", "b"),
        ("east", "west"),
        ("REDIS_DB", "REDIS_PW"),
        ("SERVER_ROOT", "SERVER_PORT"),
        ("SERVER_NAME", "SERVER_HOST"),
        ("PORT", "SERVER_PORT"),
        ("SPRING_CLOUD_CONFIG_NAME", "SPRING_CLOUD_CONFIG_LABEL"),
    ],
)
def test_names_that_are_meant_are_not_taken_for_slips(name: str, other: str) -> None:
    assert not looks_like(name, other)
    assert nearest(name, [other]) is None
