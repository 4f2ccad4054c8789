"""Answers and events as a client reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.demo.seen import Answered, Call, Standing, heard, standing_of
from gateway.demo.sse import Event

STATUS = {"room": "default", "ticket": 8, "userQueuePosition": 3, "totalQueueSize": 9, "usersBehind": 6}


@pytest.mark.parametrize(
    ("body", "standing"),
    [
        ({"success": True, "state": "WAITING", "data": STATUS}, Standing("WAITING", 8, 3, 9, 6)),
        ({"state": "ALLOWED_IN", "expiresInSeconds": 5}, Standing("ALLOWED_IN", expires_in=5)),
        ({"error": {"code": "NOT_IN_QUEUE", "status": 403}}, Standing(code="NOT_IN_QUEUE")),
        (
            {"error": {"code": "QUEUE_WAITING"}, "state": "WAITING", "data": STATUS},
            Standing("WAITING", 8, 3, 9, 6, code="QUEUE_WAITING"),
        ),
        ([1, 2], Standing()),
        (None, Standing()),
    ],
)
def test_an_answers_envelope_says_where_one_stands(body: Any, standing: Standing) -> None:
    assert standing_of(body) == standing


@pytest.mark.parametrize(
    ("name", "data", "standing"),
    [
        ("STATUS_UPDATE", STATUS, Standing("WAITING", 8, 3, 9, 6)),
        ("ALLOWED_IN", {"message": "…", "expiresInSeconds": 6}, Standing("ALLOWED_IN", expires_in=6)),
        ("ERROR", {"code": "REMOVED", "reason": "LEFT"}, Standing(code="REMOVED", reason="LEFT")),
        ("HEARTBEAT", {"timestamp": 1}, Standing()),
        ("STATUS_UPDATE", [1], Standing("WAITING")),
    ],
)
def test_an_event_says_where_one_stands(name: str, data: Any, standing: Standing) -> None:
    fact = heard(1, 2.0, 3, Event(name, json.dumps(data), "end"))
    assert (fact.standing, fact.id, fact.stream) == (standing, "end", 3)


def test_data_that_is_no_json_says_nothing() -> None:
    assert heard(1, 2.0, 3, Event("HEARTBEAT", "?", "")).standing == Standing()


@pytest.mark.parametrize(
    ("status", "passed"),
    [(200, True), (201, True), (409, True), (401, False), (403, False), (429, False), (503, False)],
)
def test_a_service_that_answered_was_reached_through_the_gate(status: int, passed: bool) -> None:
    assert Answered(1, 1.0, Call.GATED, 0.9, status).passed is passed
