"""The stream over HTTP: what a person waiting sees."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from gateway.context import ROOMS
from gateway.observability.loop_lag import LoopLag
from tests.support.gateway import ROUTES, Caller, Gateways, Running


async def admitted(gateway: Running, name: str = "first") -> None:
    assert (await gateway.user(name).lineup()).json["state"] == "ALLOWED_IN"


async def test_a_waiting_user_sees_the_place_and_then_the_admission(gateways: Gateways) -> None:
    gateway = await gateways.start()
    first, second = gateway.user("first"), gateway.user("second")
    await admitted(gateway)
    await second.lineup()
    async with second.stream() as stream:
        assert stream.response.headers["Content-Type"].startswith("text/event-stream")
        assert stream.response.headers["X-Accel-Buffering"] == "no"
        update = await stream.until("STATUS_UPDATE")
        assert update.data["userQueuePosition"] == 1
        await first("DELETE", "/api/v1/queue/allowed-in-token")
        event = await stream.until("ALLOWED_IN")
        assert event.data == {"message": "You may enter.", "room": "default", "expiresInSeconds": 240}
        assert event.id == "end"
        assert event.retry == 240_000
        assert await stream.next() is None


async def test_the_first_event_spreads_retries(gateways: Gateways) -> None:
    gateway = await gateways.start()
    await admitted(gateway)
    user = gateway.user("second")
    await user.lineup()
    async with user.stream() as stream:
        event = await stream.next()
        assert event is not None
        assert event.retry is not None
        assert 2000 <= event.retry <= 6000


async def test_an_admission_reaches_the_streams_of_every_instance(gateways: Gateways) -> None:
    here, there = await gateways.start(), await gateways.start()
    await admitted(here)
    user = here.user("second")
    await user.lineup()
    async with user.stream() as one, there.user("second").stream() as other:
        await one.until("STATUS_UPDATE")
        await other.until("STATUS_UPDATE")
        await there.user("first")("POST", "/api/v1/queue/leave")
        await one.until("ALLOWED_IN")
        await other.until("ALLOWED_IN")


async def test_an_admitted_user_is_answered_at_once(gateways: Gateways) -> None:
    gateway = await gateways.start()
    await admitted(gateway)
    async with gateway.user("first").stream() as stream:
        event = await stream.until("ALLOWED_IN")
        assert 0 < event.data["expiresInSeconds"] <= 240
        assert await stream.next() is None


async def test_a_user_who_is_not_in_line_gets_an_error_and_no_retry(gateways: Gateways) -> None:
    gateway = await gateways.start()
    user = gateway.user("stranger")
    async with user.stream() as stream:
        event = await stream.until("ERROR")
        assert event.data["code"] == "NOT_IN_QUEUE"
        assert event.id == "end"
        assert event.retry == 600_000
        assert await stream.next() is None
    async with user.stream(headers={"Last-Event-ID": "end"}) as stream:
        assert stream.status == 204
    await admitted(gateway)
    await user.lineup()
    async with user.stream(headers={"Last-Event-ID": "end"}) as stream:
        assert stream.status == 200
        await stream.until("STATUS_UPDATE")


async def test_leaving_the_line_ends_every_tab(gateways: Gateways) -> None:
    gateway = await gateways.start()
    await admitted(gateway)
    user = gateway.user("second")
    await user.lineup()
    async with user.stream() as one, user.stream() as other:
        await one.until("STATUS_UPDATE")
        await other.until("STATUS_UPDATE")
        await user("DELETE", "/api/v1/queue/waiting-token")
        for stream in (one, other):
            event = await stream.until("ERROR")
            assert (event.data["code"], event.data["reason"]) == ("REMOVED", "LEFT")


async def test_closing_one_stream_costs_nothing(gateways: Gateways) -> None:
    gateway = await gateways.start(queue_absent_seconds=0.5, queue_hold_seconds=0)
    await admitted(gateway)
    user = gateway.user("second")
    await user.lineup()
    async with user.stream() as stream:
        await stream.until("STATUS_UPDATE")
        async with user.stream() as other:
            await other.until("STATUS_UPDATE")
        before = (await user.status()).json["data"]["ticket"]
        async with user.stream() as again:
            assert (await again.until("STATUS_UPDATE")).data["ticket"] == before


async def test_only_an_absent_user_loses_the_place(gateways: Gateways) -> None:
    gateway = await gateways.start(queue_absent_seconds=1, queue_hold_seconds=0)
    await admitted(gateway)
    absent, present = gateway.user("absent"), gateway.user("present")
    await absent.lineup()
    await present.lineup()
    async with present.stream() as stream:
        assert (await stream.until("STATUS_UPDATE")).data["userQueuePosition"] == 2
        room = gateway.app[ROOMS]["default"]
        async with asyncio.timeout(10):
            while (await room.overview()).waiting == 2:
                await asyncio.sleep(0.05)
        state = await present.status()
        assert state.json["data"]["userQueuePosition"] == 1
    assert (await absent.status()).code == "NOT_IN_QUEUE"


async def test_lining_up_again_shows_in_the_open_stream(gateways: Gateways) -> None:
    gateway = await gateways.start(queue_status_interval_seconds=0.5)
    await admitted(gateway)
    user, other = gateway.user("second"), gateway.user("third")
    await user.lineup()
    async with user.stream() as stream:
        assert (await stream.until("STATUS_UPDATE")).data["ticket"] == 1
        await other.lineup()
        await user.lineup()
        while (update := await stream.until("STATUS_UPDATE")).data["ticket"] == 1:
            pass
        assert update.data["ticket"] == 3
        assert update.data["userQueuePosition"] == 2


async def test_an_admission_by_a_new_ticket_reaches_a_stream_that_knows_the_old_one(
    gateways: Gateways,
) -> None:
    gateway = await gateways.start(queue_status_interval_seconds=60)
    await admitted(gateway)
    user = gateway.user("second")
    await user.lineup()
    async with user.stream() as stream:
        assert (await stream.until("STATUS_UPDATE")).data["ticket"] == 1
        await user.lineup()
        await gateway.user("first")("POST", "/api/v1/queue/leave")
        await stream.until("ALLOWED_IN")


async def test_streams_of_a_user_hear_that_an_operator_removed_the_user(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token="operator-token-of-the-test")
    await admitted(gateway)
    user = gateway.user("second")
    await user.lineup()
    operator = gateway.with_token("operator-token-of-the-test")
    async with user.stream() as stream:
        await stream.until("STATUS_UPDATE")
        assert (await operator("DELETE", "/actuator/rooms/default/users?id=second")).status == 200
        assert (await stream.until("ERROR")).data["reason"] == "OPERATOR"
    assert (await operator("DELETE", "/actuator/rooms/default/users?id=second")).status == 404


async def test_the_token_of_a_stream_may_come_in_the_query_and_nowhere_else(gateways: Gateways) -> None:
    gateway = await gateways.start()
    await admitted(gateway)
    user = gateway.user("second")
    await user.lineup()
    query = f"?access_token={user.token}"
    async with gateway.nobody.stream(path="/api/v1/queue/stream" + query) as stream:
        await stream.until("STATUS_UPDATE")
    assert (await gateway.nobody("GET", "/api/v1/queue/status" + query)).status == 401


async def test_a_late_token_opens_the_stream_of_a_waiting_user_only(gateways: Gateways) -> None:
    gateway = await gateways.start()
    await admitted(gateway)
    await gateway.user("second").lineup()
    long_ago = 1_600_000_000
    just_now = time.time() - 120
    async with gateway.user("second", exp=int(just_now)).stream() as stream:
        assert stream.status == 200
        await stream.until("STATUS_UPDATE")
    async with gateway.user("second", exp=long_ago).stream() as stream:
        assert stream.status == 401
    async with gateway.user("first", exp=int(just_now)).stream() as stream:
        assert stream.status == 401
    assert (await gateway.user("second", exp=int(just_now)).status()).code == "TOKEN_EXPIRED"


async def test_a_full_instance_shows_the_place_once_and_asks_to_come_back(gateways: Gateways) -> None:
    gateway = await gateways.start(sse_max_streams=1)
    await admitted(gateway)
    one, other = gateway.user("second"), gateway.user("third")
    await one.lineup()
    await other.lineup()
    async with one.stream() as stream:
        await stream.until("STATUS_UPDATE")
        async with other.stream() as turned_away:
            event = await turned_away.until("STATUS_UPDATE")
            assert event.data["userQueuePosition"] == 2
            assert event.retry is not None
            assert 5000 <= event.retry <= 15_000
            assert await turned_away.next() is None


async def test_an_unknown_room_has_no_stream(gateways: Gateways) -> None:
    gateway = await gateways.start()
    answer = await gateway.user("someone")("GET", "/api/v1/queue/stream?room=none")
    assert (answer.status, answer.code) == (404, "ROOM_NOT_FOUND")


async def test_heartbeats_come_by_themselves(gateways: Gateways) -> None:
    gateway = await gateways.start(sse_heartbeat_seconds=0.1)
    await admitted(gateway)
    user = gateway.user("second")
    await user.lineup()
    async with user.stream() as stream:
        assert (await stream.until("HEARTBEAT")).data["timestamp"] > 1_600_000_000_000


CORS = """
cors:
  cors-configurations:
    '[/**]': {allowedOrigins: ["https://shop.example"], allowedMethods: ["*"], allowCredentials: true}
"""


async def told_to_come_back(gateway: Running, user: Caller, code: str) -> None:
    """The stream of ``user`` is answered as by a full instance, and the page may read it."""
    async with user.stream(headers={"Origin": "https://shop.example"}) as stream:
        headers = stream.response.headers
        assert (stream.status, headers["Content-Type"]) == (200, "text/event-stream")
        assert headers["Cache-Control"] == "no-store, no-transform"
        assert headers["X-Accel-Buffering"] == "no"
        assert headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert len(headers["X-Trace-Id"]) == 32
        event = await stream.next()
        assert event is not None
        assert (event.name, event.comment) == ("", code)
        assert event.retry is not None
        assert 5000 <= event.retry <= 15_000
        assert await stream.next() is None


async def test_a_stream_during_overload_is_asked_to_come_back(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await gateways.start(ROUTES + CORS, overload_lag_ms=50)
    monkeypatch.setattr(LoopLag, "milliseconds", 1000.0)
    await told_to_come_back(gateway, gateway.user("second"), "OVERLOADED")
    # A lineup is a call like any other, and its answer says when to repeat it.
    assert (await gateway.user("second").lineup()).code == "OVERLOADED"


async def test_a_stream_before_any_key_is_known_is_asked_to_come_back(gateways: Gateways) -> None:
    gateways.keys.status = 500
    gateway = await gateways.start(ROUTES + CORS)
    await told_to_come_back(gateway, gateway.user("second"), "AUTH_UNAVAILABLE")
    assert (await gateway.user("second").status()).code == "AUTH_UNAVAILABLE"


async def test_what_no_waiting_changes_ends_a_stream_as_ever(gateways: Gateways) -> None:
    gateway = await gateways.start()
    for user, path, status in (
        (gateway.nobody, "/api/v1/queue/stream", 401),
        (gateway.with_token("nonsense"), "/api/v1/queue/stream", 401),
        (gateway.user("first"), "/api/v1/queue/stream?room=none", 404),
        (gateway.user("first"), "/api/v1/queue/stream?room=a&room=b", 400),
    ):
        async with user.stream(path=path) as stream:
            assert stream.status == status
    assert (await gateway.user("first")("HEAD", "/api/v1/queue/stream")).status == 405


async def test_a_stream_whose_key_cannot_be_asked_for_is_told_to_come_back(gateways: Gateways) -> None:
    gateway = await gateways.start()
    user = gateway.user("a")
    await user.lineup()
    gateway.issuer.rotate()
    gateways.keys.status = 503
    user = gateway.user("a")
    refused = await user.status()
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "AUTH_UNAVAILABLE", "5")
    answer = await user("GET", "/api/v1/queue/stream")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert re.fullmatch(rb"retry: \d{4,5}\n: AUTH_UNAVAILABLE\n\n", answer.body)
