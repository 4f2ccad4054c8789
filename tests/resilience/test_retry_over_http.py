"""The filter Retry in a whole gateway, in front of services that misbehave, on the fast path and without it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from gateway.app import METRICS
from gateway.observability import span_queue
from gateway.resilience.retry import BUDGET_FLOOR, BUDGET_SHARE
from tests.resilience.rig import Scripted, answer, ask, counted, routes, scripted
from tests.support.collector import a_collector
from tests.support.gateway import Gateways, Running
from tests.support.raw_http import connected, request
from tests.support.waiting import eventually

OK = answer(200, b"ok")
BAD = answer(503, b"bad")
PLAIN = pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "aiohttp"])


def _retry(**args: Any) -> dict[str, Any]:
    return {"name": "Retry", "args": args}


async def _warm(gateway: Running, service: Scripted) -> None:
    """One call, so that the next one finds a kept connection."""
    assert (await ask(gateway)).status == 200
    service.calls.clear()


@PLAIN
@pytest.mark.parametrize("trouble", [BAD, answer(500), "reset", "close"])
async def test_a_call_that_failed_is_repeated(gateways: Gateways, fast_path: bool, trouble: Any) -> None:
    async with scripted(OK) as service:
        gateway = await gateways.start(routes([service], ["Retry=3"]), fast_path=fast_path)
        await _warm(gateway, service)
        service.answers = [trouble, trouble, OK]
        got = await ask(gateway)
    assert (got.status, got.body) == (200, b"ok")
    assert [call.target for call in service.calls] == ["/a/x"] * 3
    reasons = counted(gateway, "gateway_upstream_retries_total")
    kept_died = isinstance(trouble, str)
    expected = trouble.split()[1].decode() if isinstance(trouble, bytes) else "UPSTREAM_UNREACHABLE"
    # The first of two lost connections was a kept one, which is no matter for the policy.
    assert reasons == {(expected, "a"): 1 if kept_died else 2}


@PLAIN
async def test_the_last_answer_is_the_clients(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(OK) as service:
        gateway = await gateways.start(routes([service], ["Retry=2"]), fast_path=fast_path)
        await _warm(gateway, service)
        service.answers = [answer(500, b"one"), answer(502, b"two"), answer(503, b"three", "X-Last: yes")]
        got = await ask(gateway)
        assert (got.status, got.body, got.all("X-Last")) == (503, b"three", ["yes"])
        assert len(service.calls) == 3
        service.answers = [OK]
        assert (await ask(gateway)).body == b"ok"


@PLAIN
async def test_a_call_that_failed_goes_to_another_instance_each_time(
    gateways: Gateways, fast_path: bool
) -> None:
    async with scripted(BAD) as one, scripted(BAD) as two, scripted(BAD) as three:
        services = [one, two, three]
        gateway = await gateways.start(routes(services, ["Retry=2"]), fast_path=fast_path)
        for _ in range(4):
            for each in services:
                each.calls.clear()
            assert (await ask(gateway)).status == 503
            assert [len(each.calls) for each in services] == [1, 1, 1]


@PLAIN
async def test_when_all_instances_had_the_call_it_goes_to_any_but_the_last(
    gateways: Gateways, fast_path: bool
) -> None:
    async with scripted(BAD) as one, scripted(BAD) as two:
        gateway = await gateways.start(routes([one, two], ["Retry=3"]), fast_path=fast_path)
        for _ in range(3):
            one.calls.clear()
            two.calls.clear()
            assert (await ask(gateway)).status == 503
            assert (len(one.calls), len(two.calls)) == (2, 2)


@PLAIN
async def test_an_instance_that_refuses_connections_does_not_hide_the_one_that_failed(
    gateways: Gateways, fast_path: bool
) -> None:
    async with scripted(BAD, OK) as service:
        filters = ["Retry=3"]
        gateway = await gateways.start(routes(["http://127.0.0.1:1", service], filters), fast_path=fast_path)
        got = await ask(gateway)
    assert (got.status, len(service.calls)) == (200, 2)


@PLAIN
async def test_a_service_that_does_not_answer_in_time_is_a_reason(
    gateways: Gateways, fast_path: bool
) -> None:
    async with scripted(OK) as service:
        text = routes([service], ["Retry=1"], metadata={"response-timeout": 200})
        gateway = await gateways.start(text, fast_path=fast_path)
        await _warm(gateway, service)
        service.answers = ["hang", OK]
        assert (await ask(gateway)).status == 200
        service.answers = ["hang"]
        assert (await ask(gateway)).status == 504
        service.released.set()
    assert counted(gateway, "gateway_upstream_retries_total") == {("UPSTREAM_TIMEOUT", "a"): 2}


@PLAIN
async def test_a_service_without_an_instance_is_a_reason(gateways: Gateways, fast_path: bool) -> None:
    filters = [_retry(retries=2, exceptions="NotFoundException")]
    gateway = await gateways.start(routes([], filters), fast_path=fast_path)
    assert (await ask(gateway)).status == 503
    assert counted(gateway, "gateway_upstream_retries_total") == {("NO_INSTANCE", "a"): 2}


@PLAIN
async def test_each_attempt_has_a_span_that_says_how_it_ended(
    gateways: Gateways, fast_path: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(span_queue, "EVERY_SECONDS", 0.05)
    trace = "0af7651916cd43dd8448eb211c80319c"
    filters = [_retry(retries=2, series="SERVER_ERROR,SUCCESSFUL", backoff={"firstBackoff": "300ms"})]
    async with a_collector() as collector, scripted(OK) as service:
        text = routes([service], filters)
        gateway = await gateways.start(text, fast_path=fast_path, zipkin_endpoint=collector.url)
        await ask(gateway, "POST")
        service.calls.clear()
        service.answers = [BAD, OK, answer(404)]
        await ask(gateway, "GET", "/a/x", f"traceparent: 00-{trace}-b7ad6b7169203331-01")

        def calls() -> list[dict[str, Any]]:
            spans = [span for span in collector.spans if span["traceId"] == trace]
            return sorted(
                (span for span in spans if span["kind"] == "CLIENT"), key=lambda span: span["timestamp"]
            )

        await eventually(lambda: len(calls()) == 3)
    assert [span["tags"].get("error") for span in calls()] == ["503", None, None]
    # The pause between two attempts is no part of either.
    assert all(span["duration"] < 300_000 for span in calls())


@PLAIN
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "PATCH"])
async def test_a_method_that_is_not_named_is_not_repeated(
    gateways: Gateways, fast_path: bool, method: str
) -> None:
    async with scripted(BAD) as service:
        gateway = await gateways.start(routes([service], ["Retry=3"]), fast_path=fast_path)
        body = b"x" if method in ("POST", "PUT", "PATCH") else None
        assert (await ask(gateway, method, body=body)).status == 503
        assert len(service.calls) == 1


@PLAIN
@pytest.mark.parametrize("size", [0, 7, 64 * 1024])
async def test_a_body_is_kept_and_sent_again(gateways: Gateways, fast_path: bool, size: int) -> None:
    async with scripted(BAD, "close", OK) as service:
        filters = [_retry(methods="GET,POST")]
        gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
        body = bytes(i % 251 for i in range(size))
        assert (await ask(gateway, "POST", body=body)).status == 200
        assert [call.body for call in service.calls] == [body] * 3


@PLAIN
async def test_a_chunked_body_is_kept_too(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD, OK) as service:
        filters = [_retry(methods="POST")]
        gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
        async with connected(gateway.base) as client:
            got = await client.ask(
                "POST", "/a/x", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
            )
        assert got.status == 200
        assert [call.body for call in service.calls] == [b"abcde"] * 2


@PLAIN
async def test_a_longer_body_is_not_sent_again(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD) as service:
        filters = [_retry(methods="POST")]
        gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
        assert (await ask(gateway, "POST", body=b"x" * (64 * 1024 + 1))).status == 503
        assert len(service.calls) == 1


@PLAIN
@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX-Dies: 1\r\n\r\npart",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Dies: 1\r\n\r\n64\r\npart",
        b"HTTP/1.1 503 Bad\r\nContent-Length: 100\r\nX-Dies: 1\r\n\r\n",
    ],
)
async def test_an_answer_that_has_begun_is_never_repeated_for_dying(
    gateways: Gateways, fast_path: bool, broken: bytes
) -> None:
    async with scripted(broken) as service:
        filters = [_retry(retries=3, series="")]
        gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await ask(gateway)
        assert len(service.calls) == 1


@PLAIN
async def test_an_interim_answer_is_a_part_of_the_answer(gateways: Gateways, fast_path: bool) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with scripted(hints + BAD) as service:
        gateway = await gateways.start(routes([service], ["Retry=3"]), fast_path=fast_path)
        async with connected(gateway.base) as client:
            client.send(request("GET", "/a/x"))
            assert (await client.head()).status == 103
            assert (await client.answer()).status == 503
        assert len(service.calls) == 1


@PLAIN
async def test_pauses_are_kept_and_the_time_is_bounded(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD) as service:
        backoff = {"firstBackoff": "60ms", "maxBackoff": "100ms", "factor": 10}
        filters = [_retry(retries=100, backoff=backoff, timeout="400ms")]
        gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await ask(gateway)).status == 503
        took = loop.time() - began
    # 60 ms, then 100 ms each: at most four repetitions begin within 400 ms.
    assert 2 <= len(service.calls) <= 5
    assert took >= 0.06 + 0.1 * (len(service.calls) - 2)


@PLAIN
async def test_a_client_that_leaves_ends_the_repetitions(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD) as service:
        filters = [_retry(retries=50, backoff={"firstBackoff": "30s"})]
        gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
        async with connected(gateway.base) as client:
            client.send(b"GET /a/x HTTP/1.1\r\nHost: h\r\n\r\n")
            async with asyncio.timeout(10):
                while not service.calls:
                    await asyncio.sleep(0)
        metrics = gateway.app[METRICS]
        async with asyncio.timeout(10):
            while metrics.in_progress:
                await asyncio.sleep(0)
        assert len(service.calls) == 1


@PLAIN
@pytest.mark.parametrize("trouble", [BAD, "reset"])
async def test_a_retry_storm_does_not_happen(gateways: Gateways, fast_path: bool, trouble: Any) -> None:
    """A service that is down gets at most 1.2 times the requests that the gateway got, and ten."""
    received = 300
    async with scripted(trouble) as one, scripted(trouble) as two:
        filters = [_retry(retries=10, methods="GET,POST")]
        gateway = await gateways.start(routes([one, two], filters), fast_path=fast_path)

        async def client() -> Counter[int]:
            statuses: Counter[int] = Counter()
            async with connected(gateway.base) as connection:
                for _ in range(received // 10):
                    statuses[(await connection.ask("GET", "/a/x")).status] += 1
            return statuses

        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(client()) for _ in range(10)]
        sent = len(one.calls) + len(two.calls)
    total = sum((each.result() for each in clients), Counter[int]())
    assert total == {503 if trouble is BAD else 502: received}
    assert received < sent <= (1 + BUDGET_SHARE) * received + BUDGET_FLOOR
    assert counted(gateway, "gateway_upstream_retries_refused_total") == {("a",): received}


@PLAIN
async def test_one_of_three_that_flaps_is_not_noticed(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(OK) as one, scripted(OK) as two, scripted(*[BAD, "reset", OK, "close"] * 25) as bad:
        gateway = await gateways.start(routes([one, two, bad], ["Retry=3"]), fast_path=fast_path)
        statuses = Counter([(await ask(gateway)).status for _ in range(60)])
    assert statuses == {200: 60}
    assert len(one.calls) + len(two.calls) + len(bad.calls) <= 1.2 * 60 + 10


@PLAIN
async def test_a_traced_call_has_a_span_for_each_attempt(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD, OK) as service:
        gateway = await gateways.start(routes([service], ["Retry=3"]), fast_path=fast_path)
        assert (await ask(gateway)).status == 200
        first, second = (call.head.all("traceparent")[0].split("-") for call in service.calls)
    assert first[1] == second[1]


async def test_the_budget_of_a_route_outlives_a_reload_and_not_the_route(gateways: Gateways) -> None:
    async with scripted(BAD) as service:
        text = routes([service], [_retry(retries=100)])
        gateway = await gateways.start(text)
        await ask(gateway)
        assert len(service.calls) == 11
        gateway.routes_file.write_text(text.replace('"/**"', '"/**", "/b"'))
        await _reloaded(gateway, 1)
        await ask(gateway)
        assert len(service.calls) == 12
        gateway.routes_file.write_text(text.replace('"id": "a"', '"id": "b"'))
        await _reloaded(gateway, 2)
        await ask(gateway)
        assert len(service.calls) == 23


async def _reloaded(gateway: Running, times: int) -> None:
    async with asyncio.timeout(15):
        while counted(gateway, "gateway_route_reloads_total").get(("ok",), 0) < times:
            await asyncio.sleep(0.02)
