"""``rate_limit``: buckets of tokens, one after the other for each request."""

from __future__ import annotations

import pytest
from redis.exceptions import OutOfMemoryError

from tests.waiting_room.rig import SCRIPTS, Rig

TEXT = SCRIPTS["rate_limit"].text
Bucket = tuple[str, int, int, int]


def call(rig: Rig, *requests: list[Bucket]) -> list[list[int]]:
    """Each request's buckets: key, tokens a second, capacity, tokens wanted. Returns the answer to each."""
    keys = [bucket[0] for buckets in requests for bucket in buckets]
    arguments: list[int] = []
    for buckets in requests:
        arguments.append(len(buckets))
        for bucket in buckets:
            arguments += bucket[1:]
    answers: list[list[int]] = rig.client.eval(TEXT, len(keys), *keys, *arguments)
    return answers


def one(rig: Rig, rate: int, capacity: int, wanted: int = 1, key: str = "b") -> list[int]:
    return call(rig, [(key, rate, capacity, wanted)])[0]


def test_a_bucket_starts_full_and_refuses_when_it_is_empty(rig: Rig) -> None:
    assert [one(rig, 1, 3) for _ in range(4)] == [[1, 0, 2], [1, 0, 1], [1, 0, 0], [0, 1000, 0]]


def test_it_is_refilled_evenly_and_holds_no_more_than_its_capacity(rig: Rig) -> None:
    for _ in range(3):
        one(rig, 2, 3)
    rig.advance(499)
    assert one(rig, 2, 3) == [0, 1, 0]
    rig.advance(1)
    assert one(rig, 2, 3) == [1, 0, 0]
    rig.advance(60_000)
    assert [one(rig, 2, 3)[2] for _ in range(3)] == [2, 1, 0]


def test_many_refusals_do_not_take_from_what_comes(rig: Rig) -> None:
    one(rig, 1, 1)
    for _ in range(9):
        rig.advance(100)
        assert one(rig, 1, 1)[0] == 0
    rig.advance(100)
    assert one(rig, 1, 1)[0] == 1


def test_a_call_may_take_several_tokens(rig: Rig) -> None:
    assert one(rig, 1, 60, 60) == [1, 0, 0]
    rig.advance(59_999)
    assert one(rig, 1, 60, 60) == [0, 1, 59]
    rig.advance(1)
    assert one(rig, 1, 60, 60) == [1, 0, 0]


@pytest.mark.parametrize(("capacity", "wanted"), [(0, 1), (5, 6)])
def test_what_a_bucket_never_holds_is_never_allowed(rig: Rig, capacity: int, wanted: int) -> None:
    assert one(rig, 1, capacity, wanted) == [0, -1, capacity]


def test_a_bucket_that_is_full_again_is_forgotten(rig: Rig) -> None:
    one(rig, 2, 3)
    one(rig, 2, 3)
    assert 0 < rig.client.pttl("b") <= 1000
    one(rig, 1000, 5, 1, "quick")
    assert 0 <= rig.client.pttl("quick") <= 1


def test_a_request_asks_its_buckets_in_turn_until_one_refuses(rig: Rig) -> None:
    buckets = [("one", 1, 5, 1), ("two", 1, 1, 1), ("three", 1, 5, 1)]
    assert call(rig, buckets, buckets) == [[1, 0, 4, 0, 4], [0, 1000, 3, 0]]
    assert one(rig, 1, 5, 1, "three") == [1, 0, 3], "what was not asked has lost nothing"


def test_requests_of_one_call_are_served_in_order(rig: Rig) -> None:
    request: list[Bucket] = [("b", 1, 2, 1)]
    assert [answer[0] for answer in call(rig, request, request, [("c", 1, 1, 1)], request)] == [1, 1, 1, 0]


def test_a_clock_that_is_set_back_gives_and_takes_nothing(rig: Rig) -> None:
    one(rig, 1, 2)
    rig.set_clock(rig.now - 60_000)
    assert one(rig, 1, 2) == [1, 0, 0]
    assert one(rig, 1, 2) == [0, 1000, 0]


@pytest.mark.parametrize("stored", ["", "x", "1", "-5.0 1", "1.5 now", "1e9 1"])
def test_a_value_of_another_program_counts_as_a_full_bucket(rig: Rig, stored: str) -> None:
    rig.client.set("b", stored)
    assert one(rig, 1, 3) == [1, 0, 2]


def test_a_limit_that_is_lowered_holds_at_once(rig: Rig) -> None:
    one(rig, 1, 100)
    assert one(rig, 1, 2) == [1, 0, 1]


def test_at_maxmemory_it_fails_or_goes_on_but_never_refuses_for_it(rig: Rig) -> None:
    one(rig, 1, 5)
    rig.set_memory_full(True)
    try:
        answer = one(rig, 1, 5)
        assert answer[0] == 1
    except OutOfMemoryError:
        pass
    finally:
        rig.set_memory_full(False)
