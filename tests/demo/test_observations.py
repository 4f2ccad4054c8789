"""The observations of clients."""

from __future__ import annotations

import pytest

from gateway.demo.observations import Call, ResponseReceived


@pytest.mark.parametrize(
    ("status", "passed"),
    [(200, True), (201, True), (409, True), (401, False), (403, False), (429, False), (503, False)],
)
def test_a_service_that_answered_was_reached_through_the_gate(status: int, passed: bool) -> None:
    assert ResponseReceived(1, 1.0, Call.GATED, 0.9, status).passed is passed
