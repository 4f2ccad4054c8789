"""Notices over real HTTP: in every answer about a room, in the language of each user, live on every stream."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from gateway.api.notices import text_for
from gateway.waiting_room.notices import Notice
from tests.support.gateway import Gateways, Running

OPERATOR = "operator-token-of-the-tests"
ROOM = "/actuator/rooms/default"

fast_path = pytest.mark.parametrize("fast_path", [True, False])


async def tell(gateway: Running, **body: Any) -> Any:
    answer = await gateway.with_token(OPERATOR)("POST", f"{ROOM}/notice", json=body)
    assert answer.status == 200, answer.json
    return answer.json["data"].get("notice")


async def start(gateways: Gateways, **settings: Any) -> Running:
    return await gateways.start(management_token=OPERATOR, allowed_in_max_capacity=0, **settings)


@pytest.mark.parametrize(
    ("languages", "text"),
    [
        ("ko", "곧"),
        ("ko-KR,ko;q=0.9,en;q=0.8", "곧"),
        ("en", "soon"),
        ("", "soon"),
        ("fr, ja;q=0.2, ko;q=0.1", "まもなく"),
        ("fr, ko;q=0", "soon"),
        ("zh-TW", "很快"),
        ("zh-Hant-HK", "很快"),
        ("zh-CN", "soon"),
        ("zh", "soon"),
        ("*", "soon"),
        ("de;q=x, ;;;", "soon"),
    ],
)
def test_each_user_gets_the_best_text(languages: str, text: str) -> None:
    notice = Notice({"": "soon", "ko": "곧", "ja": "まもなく", "zh-Hant": "很快"})
    assert text_for(notice, languages) == text


def test_without_a_text_for_everyone_others_get_none() -> None:
    assert text_for(Notice({"ko": "곧"}), "en") == ""


@fast_path
async def test_it_is_in_every_status_and_goes_to_every_stream_at_once(
    gateways: Gateways, fast_path: bool
) -> None:
    gateway = await start(gateways, fast_path=fast_path)
    ann = gateway.user("ann")
    await ann.lineup()
    async with ann.stream(headers={"Accept-Language": "ko"}) as korean, ann.stream() as other:
        for stream in (korean, other):
            assert "notice" not in (await stream.until("STATUS_UPDATE")).data
        began = time.monotonic()
        assert await tell(gateway, text='the "doors"\u2028open later') == {"*": 'the "doors"\u2028open later'}
        for stream in (korean, other):
            assert (await stream.until("NOTICE")).data == {"notice": 'the "doors"\u2028open later'}
        assert time.monotonic() - began < 1
        assert await tell(gateway, text="문이 늦게 열립니다.", lang="ko") == {
            "*": 'the "doors"\u2028open later',
            "ko": "문이 늦게 열립니다.",
        }
        assert (await korean.until("NOTICE")).data == {"notice": "문이 늦게 열립니다."}
        assert (await other.until("NOTICE")).data == {"notice": 'the "doors"\u2028open later'}
        for headers, text in (
            ({"Accept-Language": "ko-KR"}, "문이 늦게 열립니다."),
            ({"Accept-Language": "en"}, 'the "doors"\u2028open later'),
        ):
            for method, path in (
                ("GET", "/api/v1/queue/status"),
                ("POST", "/api/v1/queue/lineup"),
                ("POST", "/api/v1/reservations"),
            ):
                answer = await ann(method, path, headers=headers)
                assert answer.json["data"]["notice"] == text
        async with ann.stream(headers={"Accept-Language": "ko"}) as late:
            assert (await late.until("STATUS_UPDATE")).data["notice"] == "문이 늦게 열립니다."
        shown = (await gateway.with_token(OPERATOR)("GET", ROOM)).json["data"]
        assert shown["notice"]["ko"] == "문이 늦게 열립니다."
        assert await tell(gateway, clear=True, lang="ko") == {"*": 'the "doors"\u2028open later'}
        assert (await korean.until("NOTICE")).data == {"notice": 'the "doors"\u2028open later'}
        assert await tell(gateway, clear=True) is None
        assert (await korean.until("NOTICE")).data == {}
        await other.until("NOTICE")
        assert (await other.until("NOTICE")).data == {}
    assert "notice" not in (await ann.status()).json["data"]


async def test_another_instance_sends_it_as_well(gateways: Gateways) -> None:
    one, other = await start(gateways), await start(gateways)
    ann = other.user("ann")
    await ann.lineup()
    async with ann.stream() as stream:
        await stream.until("STATUS_UPDATE")
        began = time.monotonic()
        await tell(one, text="soon")
        assert (await stream.until("NOTICE")).data == {"notice": "soon"}
        assert time.monotonic() - began < 1


async def test_a_closed_room_and_registered_users_have_it(gateways: Gateways) -> None:
    gateway = await start(gateways)
    await tell(gateway, text="back at noon")
    await gateway.with_token(OPERATOR)("POST", f"{ROOM}/close")
    refused = await gateway.user("ann").lineup()
    assert (refused.code, refused.json["data"]) == (
        "ROOM_CLOSED",
        {"room": "default", "notice": "back at noon"},
    )
    await gateway.with_token(OPERATOR)("POST", f"{ROOM}/reopen")
    moment = "2126-12-01T20:00:00+09:00"
    routes = f"routes: []\nrooms:\n  default: {{opens_at: '{moment}', prequeue: {{from: 999999h}}}}\n"
    early = await gateways.start(routes, management_token=OPERATOR)
    await asyncio.sleep(0)
    ann = early.user("ann")
    assert (await ann.lineup()).json["state"] == "REGISTERED"
    assert (await ann.status()).json["data"]["notice"] == "back at noon"


@fast_path
async def test_the_public_room_needs_no_token(gateways: Gateways, fast_path: bool) -> None:
    gateway = await start(gateways, fast_path=fast_path)

    async def shown() -> Any:
        answer = await gateway.nobody("GET", "/api/v1/queue/rooms/default", headers={"Accept-Language": "ko"})
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.json["data"]

    room = await shown()
    assert abs(room.pop("serverTime") / 1000 - time.time()) < 60
    assert room == {"name": "default", "mode": "on", "closed": False, "soldOut": False}
    await tell(gateway, text="곧", lang="ko")
    operator = gateway.with_token(OPERATOR)
    await operator("POST", ROOM, json={"opens_at": "2126-12-01T20:00:00+09:00", "mode": "observe"})
    async with asyncio.timeout(10):
        while (room := await shown())["mode"] != "observe":
            await asyncio.sleep(0.05)
    assert room["notice"] == "곧"
    assert room["opensAt"] == 4_951_796_400_000
    missing = await gateway.nobody("GET", "/api/v1/queue/rooms/nowhere")
    assert (missing.status, missing.code) == (404, "ROOM_NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, ["body"]),
        ({"text": ""}, ["text"]),
        ({"text": "  "}, ["text"]),
        ({"text": "a\nb"}, ["text"]),
        ({"text": "x" * 501}, ["text"]),
        ({"text": "a", "lang": "xx"}, ["lang"]),
        ({"text": "a", "lang": ["ko"]}, ["lang"]),
        ({"text": "a", "clear": True}, ["body"]),
        ({"clear": False}, ["clear"]),
        ({"text": 5, "reason": "a\u0000", "other": 1}, ["text", "reason", "other"]),
    ],
)
async def test_what_is_no_notice_is_refused(
    gateways: Gateways, body: dict[str, Any], faults: list[str]
) -> None:
    gateway = await start(gateways)
    answer = await gateway.with_token(OPERATOR)("POST", f"{ROOM}/notice", json=body)
    assert answer.status == 400
    assert [fault["field"] for fault in answer.json["error"]["fields"]] == faults


async def test_only_operators_tell_users_something(gateways: Gateways) -> None:
    gateway = await start(gateways)
    for caller in (gateway.nobody, gateway.user("ann")):
        assert (await caller("POST", f"{ROOM}/notice", json={"text": "a"})).status == 401
