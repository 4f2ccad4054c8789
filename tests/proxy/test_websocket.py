"""What counts as a WebSocket handshake, and as its answer."""

from __future__ import annotations

import pytest
from aiohttp import HttpVersion, HttpVersion10, HttpVersion11
from multidict import CIMultiDict

from gateway.proxy.websocket import accept_of, accepts, handshake_key

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
SOUND = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def headers(changes: dict[str, str | None], *more: tuple[str, str]) -> CIMultiDict[str]:
    kept = {name: value for name, value in (SOUND | changes).items() if value is not None}
    return CIMultiDict([*kept.items(), *more])


def test_the_accept_is_that_of_the_standards_example() -> None:
    assert accept_of(KEY) == ACCEPT


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "UPGRADE", "Upgrade": "WebSocket"},
        {"Content-Length": "0"},
        {"Sec-WebSocket-Protocol": "chat, superchat", "Sec-WebSocket-Extensions": "permessage-deflate"},
    ],
)
def test_a_sound_handshake_has_a_key(changes: dict[str, str | None]) -> None:
    assert handshake_key("GET", HttpVersion11, headers(changes)) == KEY


@pytest.mark.parametrize(
    ("first", "more"),
    [
        ("websocket, h2c", ()),
        ("h2c,WebSocket", ()),
        ("websocket,", ()),
        ("TLS/1.0, websocket", ()),
        ("websocket", ("h2c",)),
        ("h2c", ("websocket",)),
        ("websocket", ("websocket",)),
    ],
)
def test_a_client_may_offer_other_protocols_as_well(first: str, more: tuple[str, ...]) -> None:
    lines = [("Upgrade", value) for value in more]
    assert handshake_key("GET", HttpVersion11, headers({"Upgrade": first}, *lines)) == KEY


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"Connection": None}, ()),
        ({"Connection": "close"}, ()),
        ({"Connection": "Upgrades"}, ()),
        ({"Upgrade": None}, ()),
        ({"Upgrade": "h2c"}, ()),
        ({"Upgrade": "h2c, websocket/13"}, ()),
        ({"Upgrade": 'h2c, "a, websocket"'}, ()),
        ({"Upgrade": "websocket, h2c;q=1"}, ()),
        ({"Upgrade": "websocket h2c"}, ()),
        ({"Upgrade": ""}, ()),
        ({"Upgrade": "websocket" + ", h2c" * 100}, ()),
        ({"Connection": "upgrade" + ", a" * 100}, ()),
        ({"Upgrade": "web\u017focket"}, ()),
        ({"Upgrade": "webso\u212aet"}, ()),
        ({"Sec-WebSocket-Version": None}, ()),
        ({"Sec-WebSocket-Version": "8"}, ()),
        ({"Sec-WebSocket-Version": "13, 8"}, ()),
        ({}, (("Sec-WebSocket-Version", "13"),)),
        ({"Sec-WebSocket-Key": None}, ()),
        ({"Sec-WebSocket-Key": ""}, ()),
        ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ"}, ()),
        ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZR=="}, ()),
        ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZSE="}, ()),
        ({}, (("Sec-WebSocket-Key", KEY),)),
        ({"Content-Length": "5"}, ()),
        ({"Content-Length": ""}, ()),
        ({"Content-Length": "0"}, (("Content-Length", "0"),)),
        ({"Content-Length": "0", "Transfer-Encoding": "chunked"}, ()),
        ({"Transfer-Encoding": "chunked"}, ()),
    ],
)
def test_whatever_is_not_exactly_one_is_none(
    changes: dict[str, str | None], more: tuple[tuple[str, str], ...]
) -> None:
    assert handshake_key("GET", HttpVersion11, headers(changes, *more)) is None


@pytest.mark.parametrize(
    ("method", "version"), [("POST", HttpVersion11), ("HEAD", HttpVersion11), ("GET", HttpVersion10)]
)
def test_another_method_or_version_makes_none(method: str, version: HttpVersion) -> None:
    assert handshake_key(method, version, headers({})) is None


@pytest.mark.parametrize(
    ("changes", "sound"),
    [
        ({}, True),
        ({"Upgrade": "WebSocket", "Connection": "upgrade"}, True),
        ({"Sec-WebSocket-Accept": None}, False),
        ({"Sec-WebSocket-Accept": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}, False),
        ({"Sec-WebSocket-Accept": ACCEPT.lower()}, False),
        ({"Upgrade": "h2c"}, False),
        ({"Upgrade": "websocket, h2c"}, False),
        ({"Connection": "close"}, False),
    ],
)
def test_only_the_answer_to_this_very_handshake_is_one(changes: dict[str, str | None], sound: bool) -> None:
    answer = headers({"Sec-WebSocket-Key": None, "Sec-WebSocket-Accept": ACCEPT, **changes})
    assert accepts(answer, KEY) is sound


def test_two_upgrades_in_an_answer_are_none() -> None:
    answer = headers({"Sec-WebSocket-Key": None, "Sec-WebSocket-Accept": ACCEPT}, ("Upgrade", "websocket"))
    assert not accepts(answer, KEY)


def test_two_accepts_are_none() -> None:
    assert not accepts(headers({}, *[("Sec-WebSocket-Accept", ACCEPT)] * 2), KEY)
