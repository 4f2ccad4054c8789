"""Requests that two servers could read differently: one reading reaches the service, or nothing does."""

from __future__ import annotations

import json

import pytest

from tests.hostile import heads, requests
from tests.hostile.requests import Case
from tests.hostile.rig import Gateway, Talk


def check(gateway: Gateway, case: Case) -> Talk:
    """Send it, and hold what came back and what went on against the case."""
    if gateway.parser == "python" and case.python is not None:
        case = case.python
    talk = gateway.talk(case.sent, answers=len(case.statuses), end=case.end)
    seen, faults = gateway.behind()
    assert faults == [], "the service got something that is no request"
    assert [str(one) for one in seen if one.complete] == list(case.seen)
    assert tuple(talk.statuses) == case.statuses, talk
    assert talk.rest == b"", talk
    assert case.closes in (talk.closed, None), talk
    for answer in talk.answers:
        if answer.status >= 400:
            told = json.loads(answer.body)
            assert told["success"] is False
            assert told["traceId"]
            assert told["error"]["status"] == answer.status
            expected = {400: "BAD_REQUEST", 401: "TOKEN_REQUIRED", 405: "METHOD_NOT_ALLOWED"}
            assert told["error"]["code"] == expected[answer.status]
            for word in (b"aiohttp", b"Python", b"smuggled", b"chunked\\r", b"evil", b"Traceback"):
                assert word not in answer.body
            assert answer.headers["server"] == "gateway"
    return talk


def tables() -> list[object]:
    named = {
        "coding": requests.TRANSFER_CODINGS,
        "length": requests.LENGTHS,
        "chunks": requests.CHUNKS,
        "line": heads.LINES,
        "host": heads.HOSTS,
        "target": heads.TARGETS,
        "header": heads.HEADERS,
        "too much": heads.SIZES,
        "pipeline": heads.PIPELINES,
    }
    return [
        pytest.param(case, id=f"{table}: {name}")
        for table, cases in named.items()
        for name, case in cases.items()
    ]


@pytest.mark.parametrize("case", tables())
def test_a_request_has_one_reading_or_none(gateway: Gateway, case: Case) -> None:
    check(gateway, case)
