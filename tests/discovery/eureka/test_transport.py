"""Several servers: the first that answers, what counts as an answer, and what is told of the rest."""

from __future__ import annotations

import gzip
import logging

import aiohttp
import pytest
from aiohttp import web

from gateway.discovery.eureka import transport as module
from gateway.discovery.eureka.messages import parse_listing
from gateway.discovery.eureka.transport import RETURN_SECONDS, EurekaAway, EurekaServer, EurekaServers, pause
from gateway.observability.metrics import Metrics
from tests.support.clock import Clock
from tests.support.eureka import FakeEureka, entry, listing
from tests.support.listening import listening
from tests.support.tokens import reserved_port

OK = frozenset({200})


async def whole(servers: EurekaServers) -> str:
    """Fetches; the URL of who answered."""
    said = await servers.ask("fetch", "GET", "apps", OK, read=parse_listing)
    assert said.content is not None
    return said.server.url


SERVERS = [
    ("http://localhost:8761/eureka/", "http://localhost:8761/eureka/", "localhost", 8761, None),
    ("http://localhost:8761/eureka", "http://localhost:8761/eureka/", "localhost", 8761, None),
    ("https://eureka", "https://eureka/", "eureka", 443, None),
    ("http://[::1]:1/e//", "http://[::1]:1/e/", "::1", 1, None),
    ("http://me:secret@h/eureka/?x#y", "http://h/eureka/", "h", 80, "Basic bWU6c2VjcmV0"),
    ("http://m%40e:p%3A%2Fw@h/", "http://h/", "h", 80, "Basic bUBlOnA6L3c="),
    ("http://me@h/", "http://h/", "h", 80, "Basic bWU6"),
]


@pytest.mark.parametrize(("url", "shown", "host", "port", "authorization"), SERVERS)
def test_an_address_is_taken_apart(
    url: str, shown: str, host: str, port: int, authorization: str | None
) -> None:
    assert EurekaServer.parse(url) == (shown, host, port, authorization)


async def test_the_first_server_is_asked_for_json_and_no_other(
    both: EurekaServers, first: FakeEureka, second: FakeEureka
) -> None:
    assert await whole(both) == first.url
    assert first.requests == ["GET /apps"]
    assert first.heads[0]["Accept"] == "application/json"
    assert second.requests == []


async def test_credentials_go_out_with_each_call(
    client: aiohttp.ClientSession, first: FakeEureka, metrics: Metrics
) -> None:
    servers = EurekaServers(client, (first.url.replace("://", "://me:s%20ecret@"),), metrics)
    await whole(servers)
    assert first.heads[0]["Authorization"] == "Basic bWU6cyBlY3JldA=="


BAD = [(500, b""), (401, b""), (403, b""), (404, b""), (302, b""), (204, b""), (200, b"<html>"), (200, b"")]


@pytest.mark.parametrize("answer", BAD)
async def test_what_is_no_answer_makes_it_the_turn_of_the_next(
    both: EurekaServers, first: FakeEureka, second: FakeEureka, answer: tuple[int, bytes]
) -> None:
    first.answers["GET /apps"] = answer
    assert await whole(both) == second.url
    # And there it stays, though the first one is good again.
    first.answers.clear()
    assert await whole(both) == second.url
    assert first.requests == ["GET /apps"]


async def test_after_a_while_the_first_server_is_tried_again(
    both: EurekaServers, first: FakeEureka, second: FakeEureka, clock: Clock
) -> None:
    first.answers["GET"] = (500, b"")
    await whole(both)
    first.answers.clear()
    clock.now += RETURN_SECONDS + 1
    assert await whole(both) == first.url


async def test_a_server_that_hangs_or_says_too_much_makes_it_the_turn_of_the_next(
    both: EurekaServers, first: FakeEureka, second: FakeEureka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CALL_SECONDS", 0.2)
    first.open.clear()
    assert await whole(both) == second.url
    first.open.set()
    monkeypatch.setattr(module, "CALL_SECONDS", 30.0)
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 10_000)
    second.entries = [entry(str(number)) for number in range(100)]
    assert await whole(both) == first.url


async def test_a_long_answer_is_read_too(both: EurekaServers, first: FakeEureka) -> None:
    first.entries = [entry(str(number)) for number in range(500)]
    said = await both.ask("fetch", "GET", "apps", OK, read=parse_listing)
    assert said.content is not None
    assert len(said.content.instances) == 500


async def test_what_is_packed_small_counts_by_what_it_is_unpacked(
    client: aiohttp.ClientSession, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def packed(_request: web.BaseRequest) -> web.Response:
        body = gzip.compress(listing() + b" " * 1_000_000)
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async with listening(web.ServerRunner(web.Server(packed), shutdown_timeout=0.1)) as base:
        servers = EurekaServers(client, (base,), metrics)
        await whole(servers)
        monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 500_000)
        with pytest.raises(EurekaAway):
            await whole(servers)


async def test_when_all_are_away_it_is_said_once_and_once_when_it_is_over(
    both: EurekaServers,
    first: FakeEureka,
    second: FakeEureka,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    for fake in (first, second):
        fake.answers["GET"] = (503, b"")
    for _ in range(3):
        with pytest.raises(EurekaAway):
            await whole(both)
        with pytest.raises(EurekaAway):
            await both.ask("delta", "GET", "apps/delta", OK, read=parse_listing)
        # That another kind of call works doesn't make it news again.
        await both.ask("heartbeat", "PUT", "apps/X/y", OK)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"{first.url}: status 503; {second.url}: status 503" in caplog.text
    for fake in (first, second):
        fake.answers.clear()
    await whole(both)
    await both.ask("delta", "GET", "apps/delta", OK, read=parse_listing)
    await whole(both)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    value = metrics.registry.get_sample_value
    assert value("gateway_eureka_calls_total", {"operation": "fetch", "outcome": "failed"}) == 3
    assert value("gateway_eureka_calls_total", {"operation": "fetch", "outcome": "ok"}) == 2


async def test_nothing_secret_is_told(
    client: aiohttp.ClientSession, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with reserved_port() as refusing:
        port = refusing.getsockname()[1]
        servers = EurekaServers(client, (f"http://me:hunter2@127.0.0.1:{port}/eureka/?key=hunter2",), metrics)
        for _ in range(2):
            with pytest.raises(EurekaAway) as caught:
                await whole(servers)
            assert "hunter2" not in repr(caught.value)
    assert f"http://127.0.0.1:{port}/eureka/" in caplog.text
    assert "hunter2" not in caplog.text


def test_pauses_grow_with_failures_up_to_the_interval() -> None:
    assert 8 <= pause(10.0, 0) <= 10
    assert 0.4 <= pause(10.0, 1) <= 0.5
    assert 1.6 <= pause(10.0, 3) <= 2
    assert 8 <= pause(10.0, 6) <= 10
    assert pause(10.0, 10_000) <= 10
    assert pause(0.2, 1) <= 0.2
