"""The services' own evidence."""

from __future__ import annotations

import pytest

from gateway.demo.inference import Occupancy, overlap_counts


@pytest.mark.parametrize(
    ("spans", "most"),
    [
        ([], 0),
        ([(1, 2)], 1),
        ([(1, 3), (2, 4)], 2),
        ([(1, 2), (2, 3)], 1),
        ([(1, 1), (1, 1)], 0),
        ([(1, 9), (2, 3), (4, 5), (4, 6)], 3),
    ],
)
def test_spans_overlap_only_where_they_share_more_than_an_edge(
    spans: list[tuple[float, float]], most: int
) -> None:
    assert max((inside for _, inside in overlap_counts(spans)), default=0) == most


def test_a_user_is_in_from_the_first_to_the_last_gated_request() -> None:
    occupancy = Occupancy(duration=6.0)
    for user, at in (("a", 1.0), ("b", 2.0), ("c", 3.0), ("a", 4.0), ("b", 5.0), ("c", 9.5)):
        occupancy.record_gated(user, "CUSTOMER", at)
    assert occupancy.peak() == 2  # c's two requests are further apart than a session lasts
    occupancy.record_gated("c", "CUSTOMER", 10.0)
    assert occupancy.peak() == 2


def test_three_at_once_are_counted() -> None:
    occupancy = Occupancy(duration=6.0)
    for at in (1.0, 3.0):
        for user in "abc":
            occupancy.record_gated(user, "CUSTOMER", at)
    assert occupancy.peak() == 3


def test_guests_at_the_keyboard_are_not_timed() -> None:
    occupancy = Occupancy(duration=6.0)
    for at in (1.0, 3.0):
        occupancy.record_gated("you", "GUEST", at)
    assert occupancy.peak() == 0
