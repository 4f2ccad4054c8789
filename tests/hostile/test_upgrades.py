"""Handshakes of WebSockets in which the client offers other protocols too: both parsers, the gateway and the service
take them for the same."""

from __future__ import annotations

import pytest

from gateway.proxy.websocket import accept_of
from tests.hostile.rig import Gateway, request

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + accept_of(KEY).encode() + b"\r\n\r\nhi"
)
OFFERS = {
    "alone": b"Upgrade: websocket\r\n",
    "first": b"Upgrade: websocket, foo\r\n",
    "last": b"Upgrade: h2c, WebSocket\r\n",
    "first line": b"Upgrade: websocket\r\nUpgrade: h2c\r\n",
    "second line": b"Upgrade: h2c\r\nUpgrade: websocket\r\n",
    "twice": b"Upgrade: websocket\r\nUpgrade: websocket\r\n",
}
NO_OFFERS = {
    "another version": b"Upgrade: websocket/14\r\n",
    "in quotes": b'Upgrade: "h2c, websocket"\r\n',
    "with a parameter": b"Upgrade: websocket;x\r\n",
}


def handshake(offer: bytes) -> bytes:
    more = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY.encode() + b"\r\n"
    return request("GET /open/ws HTTP/1.1", b"Connection: Upgrade\r\n", offer, more)


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_a_websocket_among_the_offers_is_one_and_the_service_is_offered_nothing_else(
    gateway: Gateway, offer: bytes
) -> None:
    gateway.upstream.answers["/open/ws"] = (SWITCHED, False)
    with gateway.client() as client:
        client.send(handshake(offer))
        rest, closed = client.rest()
    assert rest.startswith(b"HTTP/1.1 101 ")
    assert rest.endswith(b"\r\n\r\nhi")
    assert closed
    seen, faults = gateway.behind()
    assert [one.values("Upgrade") for one in seen] == [["websocket"]]
    assert [one.values("Connection") for one in seen] == [["Upgrade"]]
    assert faults == []


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_a_service_that_declines_leaves_a_connection_of_requests(gateway: Gateway, offer: bytes) -> None:
    talk = gateway.talk([handshake(offer) + request("GET /open/next HTTP/1.1")], answers=2)
    assert [answer.status for answer in talk.answers] == [200, 200]
    seen, faults = gateway.behind()
    assert [one.target for one in seen] == ["/open/ws", "/open/next"]
    assert faults == []


@pytest.mark.parametrize("offer", NO_OFFERS.values(), ids=NO_OFFERS)
def test_what_is_no_such_offer_is_a_plain_request(gateway: Gateway, offer: bytes) -> None:
    talk = gateway.talk([handshake(offer) + request("GET /open/next HTTP/1.1")], answers=2)
    assert [answer.status for answer in talk.answers] == [200, 200]
    seen, faults = gateway.behind()
    assert [(one.target, one.values("Upgrade")) for one in seen] == [("/open/ws", []), ("/open/next", [])]
    assert faults == []
