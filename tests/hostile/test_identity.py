"""Services learn who calls from the gateway alone, whatever a client writes, wherever and however often."""

from __future__ import annotations

import re

import pytest

from tests.hostile.rig import Gateway, request

SPELLINGS = [
    "X-User-Id",
    "x-user-id",
    "X-USER-ID",
    "x_user_id",
    "X_User-Id",
    "X.User.Id",
    "X--User--Id",
    "X-User_Id",
    "XUserId",
    "x~user~id",
    "X-User-Id-",
    "-X-User-Id",
    "X-User-Type",
    "x_user_type",
    "X-Gateway-Signature",
    "x_gateway_signature",
    "X-Queue-Pass",
    "x_queue_pass",
    "X.Queue.Pass",
    "XQueuePass",
    "X-Queue-Room",
    "x_queue_room",
    "XQueueRoom",
    "X-HTTP-Method-Override",
    "X-Real-IP",
    "x_real_ip",
    "Forwarded",
    "X-Forwarded-For",
    "x_forwarded_for",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-User",
    "X-Forwarded",
]


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("known", [True, False], ids=["with a token", "without"])
def test_what_a_client_says_about_itself_is_gone(one_gateway: Gateway, name: str, known: bool) -> None:
    line = f"{name}: mallory\r\n".encode()
    who = one_gateway.bearer("somebody") if known else b""
    named = f"Connection: {name}, keep-alive\r\n".encode()
    for headers in ((line,), (line, line.lower()), (line, named), (named,)):
        assert one_gateway.ask("/open/a", who, *headers).status == 200
    seen, faults = one_gateway.behind()
    assert (len(seen), faults) == (4, [])
    for one in seen:
        assert b"mallory" not in one.raw
        assert one.values("X-User-Id") == (["somebody"] if known else [])
        assert one.values("X-User-Type") == (["USER"] if known else [])
        assert one.values("X-Forwarded-For") == ["127.0.0.1"]
        assert one.values("X-Real-IP") == ["127.0.0.1"]
        assert one.values("X-Forwarded-Proto") == ["http"]
        assert one.values("X-Forwarded-Host") == ["h"]
        folded = [re.sub("[^a-z]", "", other.lower()) for other, _ in one.headers]
        assert max(map(folded.count, folded)) == 1, one.raw


def test_what_is_named_in_connection_goes_and_what_is_ours_stays(one_gateway: Gateway) -> None:
    ours = b"X-User-Id, X-User-Type, X-Forwarded-For, Host, Content-Length, Forwarded, X-Real-IP"
    sent = request(
        "POST /open/a HTTP/1.1",
        one_gateway.bearer("somebody"),
        b"Connection: X-Inner, " + ours + b"\r\nConnection: x_other\r\n",
        b"X-Inner: 1\r\nX-Other: 2\r\nX-Mine: 3\r\nContent-Length: 5\r\n",
        body=b"hello",
    )
    assert one_gateway.talk([sent], answers=1).statuses == [200]
    [one], faults = one_gateway.behind()
    assert (one.body, faults) == (b"hello", [])
    for name in ("X-User-Id", "X-User-Type", "X-Forwarded-For", "Host", "Forwarded", "X-Real-IP", "X-Mine"):
        assert len(one.values(name)) == 1, name
    for name in ("X-Inner", "X-Other", "Connection"):
        assert one.values(name) == []


def test_what_concerns_one_connection_stays_there(one_gateway: Gateway) -> None:
    hops = (
        b"Keep-Alive: timeout=5\r\nProxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\n"
        b"TE: trailers\r\nTrailer: A\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nHTTP2-Settings: AAMA\r\n"
        b"proxy_authorization: x\r\n"
    )
    assert one_gateway.ask("/open/a", hops).status == 200
    [one], _ = one_gateway.behind()
    names = {name.lower() for name, _ in one.headers}
    assert names == {
        "host",
        "http2-settings",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-port",
        "x-forwarded-host",
        "x-real-ip",
        "traceparent",
        "via",
    }
