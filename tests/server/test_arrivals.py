"""Newcomers wait in a lane of their own; the others never notice."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from gateway.app import ARRIVALS as QUEUE
from gateway.context import OBSERVERS
from gateway.middleware.resolve import RESOLVER
from gateway.observability.loop_lag import LoopLag
from gateway.server.arrivals import ARRIVALS, TARGET_ITERATION_SECONDS, Arrivals, QueuedConnection, RefusalOf
from gateway.server.whole_response import JsonResponse
from tests.support.gateway import ROUTES, Gateways, Running, deaf_client
from tests.support.raw_http import Client

LINEUP = "POST /api/v1/queue/lineup"
PAGE = "https://shop.example"
CORS = (
    f"cors: {{cors-configurations: {{'[/**]': {{allowedOrigins: '{PAGE}', allowedMethods: [GET, POST]}}}}}}\n"
)
HEAD = b"POST /api/v1/queue/lineup HTTP/1.1\r\nHost: x\r\n\r\n"


class Newcomer:
    """A connection that only writes down what becomes of it."""

    def __init__(self, lane: Arrivals, told: list[tuple[str, int]], number: int) -> None:
        self._lane = lane
        self._queued = b""
        self.told = told
        self.number = number
        self.head = HEAD + b"%d" % number

    def comes(self) -> None:
        if self._lane.enqueue(self, self.head):
            self._queued = self.head
        else:
            self.process_head(self.head)

    def leave_queue(self, head: bytes) -> bool:
        waits, self._queued = self._queued is head, b""
        return waits

    def process_head(self, data: bytes) -> None:
        assert data is self.head
        self.told.append(("taken", self.number))

    def refuse(self, data: bytes, answer_of: RefusalOf) -> None:
        assert data is self.head
        self.told.append(("refused", self.number))


class Crowd:
    """Newcomers, and a clock that stands still."""

    def __init__(self, patience: float = 0.2) -> None:
        self.now = 100.0
        self.told: list[tuple[str, int]] = []
        self.lane = Arrivals(patience, lambda request: None, lambda: self.now)
        self.all: list[Newcomer] = []

    def come(self, count: int) -> None:
        for _ in range(count):
            self.all.append(Newcomer(self.lane, self.told, len(self.all)))
            self.all[-1].comes()

    async def turns(self, count: int = 1, *, of: float = 0.0) -> None:
        """Turns of the loop that take so many seconds."""
        for _ in range(count):
            self.now += of
            await asyncio.sleep(0)

    def became(self, what: str) -> list[int]:
        return [number for told, number in self.told if told == what]


async def test_a_few_are_taken_at_once_and_the_others_turn_by_turn_in_their_order() -> None:
    crowd = Crowd()
    crowd.come(20)
    assert crowd.became("taken") == list(range(20))
    crowd.come(180)
    taken = [len(crowd.told)]
    while len(crowd.lane):
        await crowd.turns()
        taken.append(len(crowd.told))
    assert crowd.became("taken") == list(range(200))
    steps = [after - before for before, after in itertools.pairwise(taken)]
    assert all(0 < step <= 64 for step in steps)
    assert len(steps) >= 4
    # And afterwards there is room again.
    await crowd.turns(2)
    crowd.come(20)
    assert crowd.became("taken") == list(range(220))


async def test_long_turns_take_fewer_of_them_and_short_ones_more() -> None:
    crowd = Crowd(patience=0)
    crowd.come(3000)
    await crowd.turns(20, of=2 * TARGET_ITERATION_SECONDS)
    before = len(crowd.told)
    await crowd.turns(of=2 * TARGET_ITERATION_SECONDS)
    fewest = len(crowd.told) - before
    assert 0 < fewest < 16
    await crowd.turns(30, of=TARGET_ITERATION_SECONDS / 2)
    before = len(crowd.told)
    await crowd.turns(of=TARGET_ITERATION_SECONDS / 2)
    assert len(crowd.told) - before > 32


async def test_arrivals_are_refused_while_the_first_has_waited_longer_than_max_wait() -> None:
    crowd = Crowd(patience=0.2)
    crowd.come(100)
    crowd.now += 0.21
    crowd.come(50)
    while len(crowd.lane):
        await crowd.turns()
    # Those who waited are let in all the same: nobody waits for nothing.
    assert crowd.became("taken") == list(range(100))
    assert crowd.became("refused") == list(range(100, 150))
    crowd.come(1)
    assert crowd.became("taken")[-1] == 150


async def test_without_max_wait_every_arrival_is_admitted() -> None:
    crowd = Crowd(patience=0)
    crowd.come(100)
    crowd.now += 1000
    crowd.come(50)
    while len(crowd.lane):
        await crowd.turns()
    assert crowd.became("taken") == list(range(150))


async def test_connections_that_left_the_queue_take_no_turn() -> None:
    crowd = Crowd()
    crowd.come(100)
    for newcomer in crowd.all[32:90]:
        assert newcomer.leave_queue(newcomer.head)
        assert not newcomer.leave_queue(newcomer.head)
    await crowd.turns()
    assert crowd.became("taken") == [*range(32), *range(90, 100)]
    assert len(crowd.lane) == 0


async def test_a_fault_with_one_costs_the_others_no_turn() -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    crowd = Crowd()
    crowd.come(40)
    crowd.all[35].head = b"not what it came with"
    while len(crowd.lane):
        await crowd.turns()
    assert crowd.became("taken") == [*range(35), *range(36, 40)]
    assert [type(fault) for fault in faults] == [AssertionError]


# Over real connections: every newcomer has to wait, and is let in or refused.


@pytest.fixture
async def gateway(gateways: Gateways) -> Running:
    return await gateways.start(ROUTES + CORS, overload_lag_ms=200)


@pytest.fixture(params=["taken", "refused"])
def becomes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    becomes: str = request.param

    def enqueue(lane: Arrivals, connection: QueuedConnection, head: bytes) -> bool:
        if becomes == "taken":
            lane._waiting.append((connection, head, lane._clock()))
        else:
            lane._refused.append((connection, head))
        if not lane._scheduled:
            lane._scheduled = True
            asyncio.get_running_loop().call_soon(lane._run_iteration)
        return True

    monkeypatch.setattr(Arrivals, "enqueue", enqueue)
    # However busy this machine is.
    monkeypatch.setattr(LoopLag, "milliseconds", 0.0)
    return becomes


class Line:
    """A bare connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
        }
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, json.loads(body) if body else None

    async def ask(self, *pieces: bytes) -> tuple[int, dict[str, str], Any]:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)
        return await self.answer()


Connect = Callable[[], Awaitable[Line]]


@pytest.fixture
async def connect(gateway: Running) -> AsyncIterator[Connect]:
    url, lines = URL(gateway.base), []

    async def connected() -> Line:
        lines.append(Line(*await asyncio.open_connection(url.host, url.port)))
        return lines[-1]

    yield connected
    for line in lines:
        line.writer.close()
        with suppress(ConnectionError):
            await line.writer.wait_closed()


def head_of_status(gateway: Running) -> bytes:
    return head(gateway, "ann", call="GET /api/v1/queue/status")


def head(gateway: Running, user: str, *lines: str, call: str = LINEUP, version: str = "1.1") -> bytes:
    token = gateway.issuer.token(user)
    return "\r\n".join(
        [f"{call} HTTP/{version}", "Host: x", f"Authorization: Bearer {token}", *lines, "", ""]
    ).encode()


async def test_the_arrivals_queue_admits_or_refuses_and_the_connection_goes_on(
    gateway: Running, connect: Connect, becomes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[Any, ...]] = []
    monkeypatch.setattr(gateway.app[OBSERVERS].metrics, "request", lambda *facts: counted.append(facts))
    client = await connect()
    code = 200 if becomes == "taken" else 503
    for user in ("ann", "ann"):
        status, headers, body = await client.ask(head(gateway, user))
        assert (status, body["success"]) == (code, becomes == "taken")
        assert headers["x-trace-id"] == body["traceId"]
        assert headers["server"] == "gateway"
        assert "connection" not in headers
    status, _, body = await client.ask(head(gateway, "ann", call="GET /api/v1/queue/status"))
    assert status == (200 if becomes == "taken" else 404)
    calls = [(label, status) for label, _, status, _ in counted]
    assert calls == [*[("queue.lineup", code)] * 2, ("queue.status", status)]


@pytest.mark.parametrize("becomes", ["refused"], indirect=True)
async def test_a_refusal_is_the_usual_one_and_the_page_can_read_it(
    gateway: Running, connect: Connect, becomes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ("Origin: https://shop.example", "Accept-Language: ko")
    by_lane = await (await connect()).ask(head(gateway, "ann", *page))
    monkeypatch.setattr(LoopLag, "milliseconds", 1000.0)
    # Written otherwise, so that it does not go through the lane.
    by_step = await (await connect()).ask(head(gateway, "ann", *page, call="POST /api/v1/queue/%6Cineup"))
    assert by_lane[0] == by_step[0] == 503
    assert list(by_lane[1]) == list(by_step[1])
    for answer in (by_lane, by_step):
        assert 2 <= int(answer[1].pop("retry-after")) <= 8
        for name in ("date", "x-trace-id", "content-length"):
            del answer[1][name]
        for name in ("timestamp", "traceId"):
            del answer[2][name]
        del answer[2]["error"]["path"]
    assert by_lane == by_step
    assert by_lane[1]["access-control-allow-origin"] == "https://shop.example"


@pytest.mark.parametrize("becomes", ["refused"], indirect=True)
async def test_refusals_do_not_pile_up_for_a_client_that_does_not_read(
    gateway: Running, becomes: str
) -> None:
    async with deaf_client(gateway) as (client, guard):
        sent = 0
        while not guard.writing_paused:
            sent += await send_one(client)
        assert guard.transport is not None
        waiting = guard.transport.get_write_buffer_size()
        for _ in range(100):
            sent += await send_one(client)
        # One more answer may have been written, in the usual way, which then waits.
        assert guard.transport.get_write_buffer_size() < waiting + 2000
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(sent):
            assert (await client.answer()).status in (401, 503)


async def send_one(client: Client) -> int:
    """Sends a lineup without a token, and lets the gateway answer it."""
    client.send(HEAD)
    for _ in range(6):
        await asyncio.sleep(0)
    return 1


@pytest.mark.parametrize("becomes", ["refused"], indirect=True)
@pytest.mark.parametrize(("version", "lines"), [("1.1", ("Connection: close",)), ("1.0", ())])
async def test_a_refusal_ends_the_connection_where_the_client_wants_that(
    gateway: Running, connect: Connect, becomes: str, version: str, lines: tuple[str, ...]
) -> None:
    client = await connect()
    status, headers, _ = await client.ask(head(gateway, "ann", *lines, version=version))
    assert (status, headers.get("connection", "close")) == (503, "close")
    assert await client.reader.read() == b""


async def test_a_stream_waits_too_and_its_token_is_in_no_refusal(
    gateway: Running, connect: Connect, becomes: str
) -> None:
    await (await connect()).ask(head(gateway, "in", call="POST /api/v1/queue/%6Cineup"))
    await (await connect()).ask(head(gateway, "ann", call="POST /api/v1/queue/%6Cineup"))
    token = gateway.issuer.token("ann")
    client = await connect()
    client.writer.write(f"GET /api/v1/queue/stream?access_token={token} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    if becomes == "taken":
        assert b"STATUS_UPDATE" in await client.reader.readuntil(b"data: ")
    else:
        # An EventSource would never come back after a 503.
        async with asyncio.timeout(10):
            answer = (await client.reader.readuntil(b"\r\n\r\n")).lower()
        assert answer.startswith(b"http/1.1 200 ")
        assert b"\r\ncontent-type: text/event-stream\r\n" in answer
        length = int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = (await client.reader.readexactly(length)).decode()
        assert re.fullmatch(r"retry: \d{4,5}\n: OVERLOADED\n\n", body)
        assert token not in body
        # The connection serves on.
        assert (await client.ask(head_of_status(gateway)))[0] == 200


async def test_what_only_looks_like_an_arrival_is_answered_as_ever(
    gateway: Running, connect: Connect, becomes: str
) -> None:
    client = await connect()
    assert (await client.ask(head(gateway, "ann", call="POST /api/v1/queue/lineups")))[0] == 404
    # Ambiguous: more hosts than one.
    assert (await client.ask(head(gateway, "ann", "Host: y")))[0] == 400


async def test_more_requests_on_the_connection_keep_their_order(
    gateway: Running, connect: Connect, becomes: str
) -> None:
    client = await connect()
    client.writer.write(head(gateway, "ann"))
    await asyncio.sleep(0)
    client.writer.write(head(gateway, "ann", call="GET /api/v1/queue/status") + head(gateway, "bob"))
    statuses = [(await client.answer())[0] for _ in range(3)]
    assert statuses[0] in {200, 503}
    assert statuses[1] == (200 if statuses[0] == 200 else 404)
    assert statuses[2] in {200, 503}


async def test_a_client_that_goes_while_it_waits_leaves_nothing(
    gateway: Running, connect: Connect, becomes: str
) -> None:
    for _ in range(20):
        client = await connect()
        client.writer.write(head(gateway, "gone"))
        client.writer.transport.abort()
    assert (await gateway.user("ann")("GET", "/api/v1/products/1")).status == 200
    assert len(gateway.app[QUEUE]) == 0


async def test_a_refusal_that_can_not_be_made_goes_the_usual_way(
    gateway: Running,
    connect: Connect,
    becomes: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(gateway.app[RESOLVER], "resolve", broken)
    client = await connect()
    for _ in range(2):
        status, _, body = await client.ask(head(gateway, "ann"))
        assert (status, body["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert caplog.text.count("RuntimeError: a fault of ours") == 2


async def test_an_admitted_user_does_not_wait_behind_the_crowd(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await gateways.start()
    buyer = gateway.user("buyer")
    assert (await buyer.lineup()).json["state"] == "ALLOWED_IN"
    # One newcomer a turn, so that turns can be told apart from milliseconds.
    for name in ("_MIN_BATCH", "_MAX_BATCH"):
        monkeypatch.setattr(f"gateway.server.arrivals.{name}", 1)
    gateway.app[QUEUE]._batch_size = 1
    url, crowd = URL(gateway.base), 300
    lines = [Line(*await asyncio.open_connection(url.host, url.port)) for _ in range(crowd + 1)]
    for number, line in enumerate(lines[1:]):
        line.writer.write(head(gateway, f"crowd-{number}"))
    lines[0].writer.write(head(gateway, "buyer", "Content-Length: 0", call="POST /api/v1/reservations"))
    answers = [asyncio.create_task(line.answer()) for line in lines]
    status, _, _ = await answers[0]
    assert status == 200
    assert sum(answer.done() for answer in answers[1:]) < crowd / 2
    assert {answer[0] for answer in await asyncio.gather(*answers[1:])} == {200}
    for line in lines:
        line.writer.close()
        await line.writer.wait_closed()


def test_an_answer_of_this_kind_is_whole() -> None:
    assert issubclass(JsonResponse, web.Response)
    assert all(b" /api/v1/queue/" in beginning for beginning in ARRIVALS)
