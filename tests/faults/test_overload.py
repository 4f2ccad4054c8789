"""A loop that is kept busy on purpose: newcomers are sent away cheaply, everybody else is served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.context import LOOP_LAG, ROOMS
from gateway.observability import loop_lag as lag
from gateway.waiting_room.batch import CROWD
from gateway.waiting_room.lanes import DEFAULT_LANE
from gateway.waiting_room.lineup import Lineup
from gateway.waiting_room.state import State
from tests.support.gateway import Answer, Caller, Gateways, Running, Stream

LIMIT_MS = 50
"""A busy machine is rarely so late by itself; where that matters, calls are repeated."""
STREAM = "/api/v1/queue/stream"


@pytest.fixture
async def gateway(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    # Measured in each turn of the loop. In between measurements a turn could end just in time for the next one.
    monkeypatch.setattr(lag, "INTERVAL_SECONDS", 0.005)
    async with Gateways(tmp_path, redis_url) as gateways:
        yield await gateways.start(overload_lag_ms=LIMIT_MS, queue_status_interval_seconds=0.5)


@pytest.fixture
async def patient_gateway(tmp_path: Path, redis_url: str) -> AsyncIterator[Running]:
    """Takes no lag of its loop for an overload."""
    async with Gateways(tmp_path, redis_url) as gateways:
        yield await gateways.start(overload_lag_ms=10_000, queue_status_interval_seconds=0.5)


@asynccontextmanager
async def overload(gateway: Running) -> AsyncIterator[None]:
    """Holds the loop for longer than it may lag, turn after turn."""

    async def hold() -> None:
        while True:
            time.sleep(2 * LIMIT_MS / 1000)
            await asyncio.sleep(0)

    task = asyncio.create_task(hold())
    try:
        async with asyncio.timeout(10):
            while gateway.app[LOOP_LAG].milliseconds <= LIMIT_MS:
                await asyncio.sleep(0)
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def taken(user: Caller) -> Answer:
    """Lines up, again if the machine was so busy with other things that the gateway took that for an overload."""
    async with asyncio.timeout(10):
        while (answer := await user.lineup()).status == 503:
            assert answer.code == "OVERLOADED"
            await asyncio.sleep(0.01)
    return answer


@asynccontextmanager
async def told(user: Caller) -> AsyncIterator[Stream]:
    """A stream that has shown its user's place; opened again as in ``taken``."""
    for _ in range(100):
        async with user.stream() as stream:
            while (event := await stream.next(10.0)) is not None:
                if event.name == "STATUS_UPDATE":
                    yield stream
                    return
        await asyncio.sleep(0.05)
    raise AssertionError("the gateway never stopped to take this machine for overloaded")


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/queue/lineup"), ("GET", STREAM)])
async def test_arrivals_are_refused_before_any_work_on_their_tokens(
    gateway: Running, method: str, path: str
) -> None:
    good = gateway.user("newcomer")
    unknown = gateway.with_token(gateway.issuer.token("stranger", headers={"kid": "never-heard-of"}))
    await taken(gateway.user("first"))
    fetched = gateway.keys.requests
    async with overload(gateway):
        for caller in (good, gateway.nobody, gateway.with_token("nonsense"), unknown):
            answer = await caller(method, path)
            if path == STREAM:
                # An EventSource would never come back after a 503.
                assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
                assert answer.body.startswith(b"retry: ")
                assert answer.body.endswith(b"\n: OVERLOADED\n\n")
                continue
            assert (answer.status, answer.code) == (503, "OVERLOADED")
            assert 2 <= int(answer.headers["Retry-After"]) <= 8
    assert gateway.keys.requests == fetched
    assert (await good.status()).status == 404


async def test_admitted_and_waiting_users_are_served_meanwhile(gateway: Running) -> None:
    buyer, waiting = gateway.user("buyer"), gateway.user("waiting")
    assert (await taken(buyer)).json["state"] == "ALLOWED_IN"
    assert (await taken(waiting)).json["state"] == "WAITING"
    async with told(waiting) as stream, overload(gateway):
        answers = [
            await buyer("POST", "/api/v1/reservations"),
            await buyer("GET", "/api/v1/products/1"),
            await waiting("POST", "/api/v1/reservations"),
            await waiting.status(),
            await gateway.nobody("GET", "/actuator/health/readiness"),
        ]
        assert [answer.status for answer in answers] == [200, 200, 429, 200, 200]
        # A stream that is open stays open, and its user is told at once.
        await stream.until("STATUS_UPDATE")
        assert (await buyer("POST", "/api/v1/queue/leave")).status == 204
        assert (await stream.until("ALLOWED_IN")).id == "end"


async def test_arrivals_are_admitted_again_as_soon_as_the_loop_keeps_up(gateway: Running) -> None:
    newcomer = gateway.user("newcomer")
    async with overload(gateway):
        assert (await newcomer.lineup()).code == "OVERLOADED"
    answer = await taken(newcomer)
    assert answer.json["state"] == "ALLOWED_IN"


async def test_while_redis_does_not_keep_up_only_lineups_are_refused(
    patient_gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = patient_gateway
    room = gateway.app[ROOMS]["default"]
    send, called, held = room._lineups._send, asyncio.Event(), asyncio.Event()

    async def slowly(lineups: list[Lineup]) -> Sequence[State]:
        called.set()
        await held.wait()
        return await send(lineups)

    buyer, waiting, newcomer = (gateway.user(name) for name in ("buyer", "waiting", "newcomer"))
    assert (await buyer.lineup()).json["state"] == "ALLOWED_IN"
    assert (await waiting.lineup()).json["state"] == "WAITING"
    monkeypatch.setattr(room._lineups, "_send", slowly)
    monkeypatch.setattr(room._lineups, "_patience", 60.0)
    first = room._lineups.submit(Lineup("crowd", DEFAULT_LANE))
    await called.wait()
    crowd = [room._lineups.submit(Lineup(f"crowd-{number}", DEFAULT_LANE)) for number in range(CROWD)]

    try:
        for caller in (newcomer, gateway.nobody):
            answer = await caller("POST", "/api/v1/queue/lineup")
            assert (answer.status, answer.code) == (503, "OVERLOADED")
        assert (await newcomer("POST", "/api/v1/queue/lineup?room=none")).code == "ROOM_NOT_FOUND"
        assert (await gateway.nobody("POST", "/api/v1/queue/lineup?room=none")).status == 401
        assert (await buyer("POST", "/api/v1/reservations")).status == 200
        async with waiting.stream() as stream:
            await stream.until("STATUS_UPDATE")
    finally:
        held.set()
        # In a test that fails too, or each of them would be reported as never looked at.
        results = await asyncio.gather(first, *crowd, return_exceptions=True)
    assert all(isinstance(result, State) for result in results)
    assert (await newcomer.lineup()).json["state"] == "WAITING"
