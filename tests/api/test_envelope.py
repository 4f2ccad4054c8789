"""The envelope: what an answer holds and what it never holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway import errors
from gateway.api.envelope import NotInQueueAtGate, error_response, state_response, success
from gateway.api.status import state_json
from gateway.context import RequestContext
from gateway.observability.tracing import TraceContext
from gateway.routing.path import Target
from gateway.waiting_room.state import State, StateKind
from tests.api.rig import status_object


def exchange() -> RequestContext:
    made = RequestContext(TraceContext("t" * 32, "s" * 16, None, False), locale="en", client="127.0.0.1")
    made.target = Target("/a", "/a", "secret=1", True)
    return made


def body(error: errors.GatewayError) -> tuple[int, Any, dict[str, str]]:
    response = error_response(exchange(), error)
    assert isinstance(response.body, bytes)
    return response.status, json.loads(response.body), dict(response.headers)


@pytest.mark.parametrize(
    ("error", "status", "code", "headers"),
    [
        (errors.TokenRequired(), 401, "TOKEN_REQUIRED", {"WWW-Authenticate": "Bearer"}),
        (
            errors.TokenInvalid("why"),
            401,
            "TOKEN_INVALID",
            {"WWW-Authenticate": 'Bearer error="invalid_token"'},
        ),
        (errors.NotInQueue(), 404, "NOT_IN_QUEUE", {}),
        (NotInQueueAtGate(), 403, "NOT_IN_QUEUE", {}),
        (errors.Overloaded(2.2), 503, "OVERLOADED", {"Retry-After": "3"}),
        (errors.QueueUnavailable("redis"), 503, "QUEUE_UNAVAILABLE", {"Retry-After": "2"}),
        (errors.AuthUnavailable(), 503, "AUTH_UNAVAILABLE", {"Retry-After": "5"}),
        (errors.MethodNotAllowed(("GET", "HEAD")), 405, "METHOD_NOT_ALLOWED", {"Allow": "GET, HEAD"}),
        (errors.UpstreamUnreachable("10.0.0.1"), 502, "UPSTREAM_UNREACHABLE", {}),
        (errors.UpstreamTimeout("connect"), 504, "UPSTREAM_TIMEOUT", {}),
        (errors.NoInstance("secret-service"), 503, "NO_INSTANCE", {}),
        (errors.SettingsError("X", "y", "z"), 500, "INTERNAL_ERROR", {}),
        (errors.GatewayError(), 500, "INTERNAL_ERROR", {}),
    ],
)
def test_each_error_has_its_status_code_and_headers(
    error: errors.GatewayError, status: int, code: str, headers: dict[str, str]
) -> None:
    found, content, sent = body(error)
    assert (found, content["error"]["code"], content["error"]["status"]) == (status, code, status)
    assert content["success"] is False
    assert content["error"]["path"] == "/a"
    assert headers.items() <= sent.items()
    for secret in ("10.0.0.1", "secret", "redis", "why"):
        assert secret not in json.dumps(content)


def test_a_bad_request_names_its_fields() -> None:
    fault = errors.FieldError("room", "x", "given twice")
    _, content, _ = body(errors.BadRequest("several rooms", (fault,)))
    assert content["error"]["fields"] == [{"field": "room", "value": "x", "reason": "given twice"}]
    _, content, _ = body(errors.BadRequest("several rooms"))
    assert content["error"]["fields"] == [{"field": "request", "reason": "several rooms"}]


def test_a_refusal_at_the_gate_shows_the_place() -> None:
    state = State("default", StateKind.WAITING, 7, 2, 5, 0.0, 12.1)
    status, content, headers = body(errors.QueueWaiting(state, 10.0))
    assert (status, content["state"], headers["Retry-After"]) == (429, "WAITING", "10")
    assert content["data"] == {
        "room": "default",
        "ticket": 7,
        "userQueuePosition": 2,
        "totalQueueSize": 5,
        "usersBehind": 3,
        "estimatedWaitSeconds": 12,
        "estimatedWaitRange": [7, 30],
    }


def test_absent_members_are_left_out() -> None:
    response = success(exchange(), "status.waiting", data=None, room="vip")
    assert isinstance(response.body, bytes)
    content = json.loads(response.body)
    assert sorted(content) == ["message", "room", "success", "timestamp", "traceId"]


def test_allowed_in_has_no_data() -> None:
    state = State("default", StateKind.ALLOWED_IN, 0, 0, 3, 1.2, None)
    assert json.loads("{" + state_json('"default"', state, "en") + "}") == {
        "state": "ALLOWED_IN",
        "room": "default",
        "expiresInSeconds": 2,
    }


@pytest.mark.parametrize("estimate", [None, 12.1])
@pytest.mark.parametrize("room", ["default", 'vip "quoted" \u2028 \\'])
def test_the_hand_written_status_equals_the_encoded_one(room: str, estimate: float | None) -> None:
    state = State(room, StateKind.WAITING, 7, 2, 5, 0.0, estimate)
    given = exchange()
    by_hand, made = (
        answer.body
        for answer in (
            state_response(given, "status.waiting", state),
            success(given, "status.waiting", state="WAITING", data=status_object(room, state)),
        )
    )
    assert isinstance(by_hand, bytes)
    assert isinstance(made, bytes)
    ours, theirs = json.loads(by_hand), json.loads(made)
    assert list(ours) == list(theirs)
    assert ours.pop("timestamp") >= theirs.pop("timestamp")[:19]
    assert ours == theirs


@pytest.mark.parametrize("estimate", [None, 12.1])
def test_a_refusal_at_the_gate_says_where_the_caller_stands(estimate: float | None) -> None:
    state = State('vip "quoted"', StateKind.WAITING, 7, 2, 5, 0.0, estimate)
    status, content, headers = body(errors.QueueWaiting(state, retry_after=9.2))
    assert status == 429
    assert headers["Retry-After"] == "10"
    assert list(content) == ["success", "message", "error", "state", "data", "timestamp", "traceId"]
    assert content["error"] == {
        "code": "QUEUE_WAITING",
        "message": content["message"],
        "status": 429,
        "path": "/a",
    }
    assert (content["state"], content["data"]) == ("WAITING", status_object(state.room, state))
