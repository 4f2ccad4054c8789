"""Event streams, and responses and events as a client reads them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.client import Event, EventParser, parse_event, parse_queue_status
from gateway.demo.observations import QueueStatus


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"data: a\n\n", [Event("message", "a", "")]),
        (b"data:a\n\n", [Event("message", "a", "")]),
        (b"data:  a\n\n", [Event("message", " a", "")]),
        (b"event: ALLOWED_IN\ndata: {}\n\n", [Event("ALLOWED_IN", "{}", "")]),
        (b"data: a\ndata: b\n\n", [Event("message", "a\nb", "")]),
        (b"data\n\n", [Event("message", "", "")]),
        (b"event: x\n\ndata: a\n\n", [Event("message", "a", "")]),
        (b"id: end\ndata: a\n\ndata: b\n\n", [Event("message", "a", "end"), Event("message", "b", "end")]),
        (b"id: 1\ndata: a\nid\n\n", [Event("message", "a", "")]),
        (b"id: a\0b\ndata: a\n\n", [Event("message", "a", "")]),
        (b": hello\ndata: a\n\n", [Event("message", "a", "")]),
        (b"nonsense: x\ndata: a\n\n", [Event("message", "a", "")]),
        (b"data: a\r\n\r\ndata: b\r\r", [Event("message", "a", ""), Event("message", "b", "")]),
        ("\ufeffdata: 입장\n\n".encode(), [Event("message", "입장", "")]),
        (b"data: never finished\n", []),
    ],
)
def test_streams_are_read_as_the_standard_says_however_they_are_cut(raw: bytes, events: list[Event]) -> None:
    assert EventParser().feed(raw) == events

    parser = EventParser()
    byte_by_byte = [event for index in range(len(raw)) for event in parser.feed(raw[index : index + 1])]
    assert byte_by_byte == events


@given(
    st.lists(st.sampled_from(["data: a", "event: e", "id: 1", ": c", "", "입장"])),
    st.sampled_from(["\n", "\r", "\r\n"]),
    st.lists(st.integers(0, 200)),
)
def test_cutting_a_stream_anywhere_changes_nothing(lines: list[str], end: str, cuts: list[int]) -> None:
    raw = "".join(line + end for line in lines).encode()
    whole, parts = EventParser(), EventParser()
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    events = [e for a, b in pairwise(edges) for e in parts.feed(raw[a:b])]
    assert events == whole.feed(raw)


@pytest.mark.parametrize(
    ("value", "retry"), [("3000", 3000), ("3s", None), ("-1", None), ("", None), ("²", None)]
)
def test_retry_counts_only_in_digits(value: str, retry: int | None) -> None:
    parser = EventParser()
    parser.feed(f"retry: {value}\n".encode())
    assert parser.retry == retry


def test_the_last_id_is_kept_for_a_reconnection() -> None:
    parser = EventParser()
    parser.feed(b"id: end\ndata: a\n\n: bye\n")
    assert parser.last_event_id == "end"


STATUS = {"room": "default", "ticket": 8, "userQueuePosition": 3, "totalQueueSize": 9, "usersBehind": 6}


@pytest.mark.parametrize(
    ("body", "queue_status"),
    [
        ({"success": True, "state": "WAITING", "data": STATUS}, QueueStatus("WAITING", 8, 3, 9, 6)),
        ({"state": "ALLOWED_IN", "expiresInSeconds": 5}, QueueStatus("ALLOWED_IN", expires_in=5)),
        ({"error": {"code": "NOT_IN_QUEUE", "status": 403}}, QueueStatus(code="NOT_IN_QUEUE")),
        (
            {"error": {"code": "QUEUE_WAITING"}, "state": "WAITING", "data": STATUS},
            QueueStatus("WAITING", 8, 3, 9, 6, code="QUEUE_WAITING"),
        ),
        ([1, 2], QueueStatus()),
        (None, QueueStatus()),
    ],
)
def test_an_answers_envelope_says_where_one_stands(body: Any, queue_status: QueueStatus) -> None:
    assert parse_queue_status(body) == queue_status


@pytest.mark.parametrize(
    ("name", "data", "queue_status"),
    [
        ("STATUS_UPDATE", STATUS, QueueStatus("WAITING", 8, 3, 9, 6)),
        ("ALLOWED_IN", {"message": "…", "expiresInSeconds": 6}, QueueStatus("ALLOWED_IN", expires_in=6)),
        ("ERROR", {"code": "REMOVED", "reason": "LEFT"}, QueueStatus(code="REMOVED", reason="LEFT")),
        ("HEARTBEAT", {"timestamp": 1}, QueueStatus()),
        ("STATUS_UPDATE", [1], QueueStatus("WAITING")),
    ],
)
def test_an_event_says_where_one_stands(name: str, data: Any, queue_status: QueueStatus) -> None:
    observation = parse_event(1, 2.0, 3, Event(name, json.dumps(data), "end"))
    assert (observation.queue_status, observation.id, observation.stream) == (queue_status, "end", 3)


def test_data_that_is_no_json_says_nothing() -> None:
    assert parse_event(1, 2.0, 3, Event("HEARTBEAT", "?", "")).queue_status == QueueStatus()
