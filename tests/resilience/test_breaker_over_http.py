"""The filter CircuitBreaker in a whole gateway, in front of services that misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.resilience.rig import Scripted, answer, ask, counted, routes, scripted
from tests.support.gateway import Gateways
from tests.support.raw_http import Answer, Peer, Upstream, connected, raw_upstream
from tests.support.waiting import eventually

OK = answer(200, b"ok")
BAD = answer(500, b"bad")
PLAIN = pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "aiohttp"])
SMALL = {
    "slidingWindowSize": 4,
    "minimumNumberOfCalls": 4,
    "statusCodes": [500],
    "waitDurationInOpenState": "60s",
}
FALLBACK = "forward:/fallback"


def _breaker(**args: Any) -> dict[str, Any]:
    return {"name": "CircuitBreaker", "args": SMALL | args}


def _with_fallback(
    service: Scripted | str, other: Scripted, filters: Sequence[Any], fallback_filters: Sequence[Any] = ()
) -> str:
    more: Mapping[str, Any] = {
        "id": "fallback",
        "uri": other.url,
        "predicates": ["Path=/fallback/**"],
        "filters": list(fallback_filters),
    }
    return routes([service], filters, more=[more])


def code_of(got: Answer) -> str:
    return str(json.loads(got.body)["error"]["code"])


@PLAIN
async def test_it_opens_and_closes_again(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD) as service:
        filters = [_breaker(permittedNumberOfCallsInHalfOpenState=1, waitDurationInOpenState="2s")]
        gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
        for _ in range(4):
            got = await ask(gateway)
            assert (got.status, got.body) == (500, b"bad"), "a failure is passed on if nothing stands in"
        got = await ask(gateway)
        assert (got.status, code_of(got)) == (503, "CIRCUIT_OPEN")
        assert got.all("Retry-After")[0] in ("1", "2")
        assert len(service.calls) == 4
        assert counted(gateway, "gateway_circuit_breaker_state") == {
            ("a", "open"): 1, ("a", "closed"): 0, ("a", "half_open"): 0,
        }  # fmt: skip
        service.answers = [OK]
        async with asyncio.timeout(10):
            while (await ask(gateway)).status == 503:
                await asyncio.sleep(0.02)
        assert (await ask(gateway)).status == 200
    calls = counted(gateway, "gateway_circuit_breaker_calls_total")
    assert (calls["failed", "a"], calls["successful", "a"]) == (4, 2)
    assert calls["not_permitted", "a"] >= 1
    assert counted(gateway, "gateway_rejections_total")["CIRCUIT_OPEN",] >= 1


@PLAIN
@pytest.mark.parametrize("trouble", ["reset", "close", "refused"])
async def test_a_service_that_gives_no_answer_has_failed(
    gateways: Gateways, fast_path: bool, trouble: str
) -> None:
    async with scripted(trouble) as service:
        instance = "http://127.0.0.1:1" if trouble == "refused" else service
        gateway = await gateways.start(routes([instance], [_breaker()]), fast_path=fast_path)
        got = [await ask(gateway) for _ in range(6)]
    assert [each.status for each in got] == [502] * 4 + [503] * 2
    assert code_of(got[-1]) == "CIRCUIT_OPEN"


@PLAIN
async def test_a_service_without_instances_has_failed(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(routes([], [_breaker()]), fast_path=fast_path)
    assert [code_of(await ask(gateway)) for _ in range(5)] == ["NO_INSTANCE"] * 4 + ["CIRCUIT_OPEN"]


@PLAIN
async def test_a_service_that_is_slow_has_failed_after_a_second_or_the_time_that_is_said(
    gateways: Gateways, fast_path: bool
) -> None:
    async with scripted("hang") as service:
        text = routes([service], [_breaker(timeoutDuration="150ms")])
        gateway = await gateways.start(text, fast_path=fast_path)
        began = asyncio.get_running_loop().time()
        got = await ask(gateway)
        assert (got.status, code_of(got)) == (504, "UPSTREAM_TIMEOUT")
        # Far below the time of the route's response, also on a busy machine.
        assert 0.1 < asyncio.get_running_loop().time() - began < 10.0
        service.released.set()
        assert counted(gateway, "gateway_circuit_breaker_calls_total") == {("failed", "a"): 1}


@PLAIN
async def test_the_time_counts_for_all_attempts_together(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(answer(503)) as service:
        retry = {"name": "Retry", "args": {"retries": 9, "backoff": {"firstBackoff": "100ms", "factor": 1}}}
        text = routes([service], [_breaker(timeoutDuration="250ms"), retry])
        gateway = await gateways.start(text, fast_path=fast_path)
        assert (await ask(gateway)).status == 504
        assert 1 <= len(service.calls) <= 4
    assert counted(gateway, "gateway_circuit_breaker_calls_total") == {("failed", "a"): 1}


@PLAIN
async def test_behind_retry_each_attempt_is_a_call(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD) as service:
        gateway = await gateways.start(routes([service], ["Retry=9", _breaker()]), fast_path=fast_path)
        got = await ask(gateway)
        assert (got.status, code_of(got), len(service.calls)) == (503, "CIRCUIT_OPEN", 4)
    async with scripted(BAD) as service:
        gateway = await gateways.start(routes([service], [_breaker(), "Retry=9"]), fast_path=fast_path)
        assert (await ask(gateway)).status == 500
        assert len(service.calls) == 10
        assert counted(gateway, "gateway_circuit_breaker_calls_total") == {("failed", "a"): 1}


@PLAIN
async def test_routes_that_name_the_same_breaker_share_it(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD) as service:
        named = [_breaker(name="shared")]
        other = {"id": "b", "uri": "lb://a", "predicates": ["Path=/b"], "filters": named}
        text = routes([service], named, more=[other])
        gateway = await gateways.start(text, fast_path=fast_path)
        for target in ("/a/x", "/b", "/a/x", "/b"):
            assert (await ask(gateway, "GET", target)).status == 500
        for target in ("/a/x", "/b"):
            assert (await ask(gateway, "GET", target)).status == 503
    assert counted(gateway, "gateway_circuit_breaker_calls_total")["failed", "shared"] == 4


@PLAIN
@pytest.mark.parametrize("trouble", [BAD, "reset", "hang", "refused"])
async def test_a_fallback_answers(gateways: Gateways, fast_path: bool, trouble: Any) -> None:
    async with scripted(trouble) as service, scripted(answer(200, b"instead", "X-From: fallback")) as other:
        filters = [_breaker(fallbackUri=FALLBACK, timeoutDuration="300ms")]
        instance = "http://127.0.0.1:1" if trouble == "refused" else service
        text = _with_fallback(instance, other, filters)
        gateway = await gateways.start(text, fast_path=fast_path)
        got = await ask(gateway, "POST", "/a/x?q=1", body=b"payload")
        service.released.set()
    assert (got.status, got.body, got.all("X-From")) == (200, b"instead", ["fallback"])
    [call] = other.calls
    assert (call.method, call.target, call.body) == ("POST", "/fallback?q=1", b"payload")
    assert counted(gateway, "gateway_fallbacks_total") == {("a",): 1}
    if trouble != "refused":
        assert [each.body for each in service.calls] == [b"payload"]


@PLAIN
async def test_a_fallback_answers_for_an_open_breaker_whatever_the_body(
    gateways: Gateways, fast_path: bool
) -> None:
    async with scripted(BAD) as service, scripted(OK) as other:
        filters = [_breaker(fallbackUri=FALLBACK, waitDurationInOpenState="60s")]
        gateway = await gateways.start(_with_fallback(service, other, filters), fast_path=fast_path)
        for _ in range(4):
            await ask(gateway)
        long = bytes(i % 251 for i in range(300_000))
        other.calls.clear()
        assert (await ask(gateway, "PUT", body=long)).status == 200
        assert len(service.calls) == 4
        assert [call.body for call in other.calls] == [long]


@PLAIN
async def test_a_long_body_that_was_sent_gets_the_error_and_no_fallback(
    gateways: Gateways, fast_path: bool
) -> None:
    async with scripted(BAD) as service, scripted(OK) as other:
        filters = [_breaker(fallbackUri=FALLBACK)]
        gateway = await gateways.start(_with_fallback(service, other, filters), fast_path=fast_path)
        got = await ask(gateway, "PUT", body=b"x" * 300_000)
        assert (got.status, got.body, other.calls) == (500, b"bad", [])


@PLAIN
async def test_the_path_of_a_fallback_may_have_variables(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD) as service, scripted(OK) as other:
        text = _with_fallback(service, other, [_breaker(fallbackUri="forward:/fallback/{rest}")])
        text = text.replace("Path=/a/**", "Path=/a/{*rest}")
        gateway = await gateways.start(text, fast_path=fast_path)
        assert (await ask(gateway, "GET", "/a/users/1%20b?x=1")).status == 200
        assert [call.target for call in other.calls] == ["/fallback/users/1%20b?x=1"]


@PLAIN
async def test_a_fallback_needs_neither_token_nor_place(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD) as service, scripted(OK) as other:
        text = json.loads(_with_fallback(service, other, [_breaker(fallbackUri=FALLBACK)]))
        text["access"]["public"] = ["/a/**"]
        text["gates"] = [{"calls": ["/fallback"]}]
        gateway = await gateways.start(json.dumps(text), fast_path=fast_path)
        assert (await ask(gateway)).status == 200
        assert (await ask(gateway, "GET", "/fallback")).status == 401


@PLAIN
async def test_a_fallback_that_fails_has_no_fallback(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD) as service, scripted("close") as other:
        own = _breaker(name="other", fallbackUri=FALLBACK)
        text = _with_fallback(service, other, [_breaker(fallbackUri=FALLBACK)], [own])
        gateway = await gateways.start(text, fast_path=fast_path)
        assert (await ask(gateway)).status == 502
        assert len(other.calls) == 1


@PLAIN
@pytest.mark.parametrize(
    ("trouble", "type_name", "message"),
    [
        (BAD, "CircuitBreakerStatusCodeException", "500 INTERNAL_SERVER_ERROR"),
        ("close", "PrematureCloseException", "the connection to the service ended before an answer"),
        ("hang", "TimeoutException", "the service did not answer in time"),
    ],
)
async def test_a_fallback_may_be_told_why(
    gateways: Gateways, fast_path: bool, trouble: Any, type_name: str, message: str
) -> None:
    async with scripted(trouble) as service, scripted(OK) as other:
        headers = {"name": "FallbackHeaders", "args": {"executionExceptionTypeHeaderName": "X-Why"}}
        filters = [_breaker(fallbackUri=FALLBACK, timeoutDuration="300ms")]
        gateway = await gateways.start(
            _with_fallback(service, other, filters, [headers]), fast_path=fast_path
        )
        forged = ("X_Why: mine", "Root-Cause-Exception-Message: mine")
        assert (await ask(gateway, "GET", "/a/x", *forged)).status == 200
        service.released.set()
        [call] = other.calls
        assert call.head.all("X-Why")[0].replace("$", ".").rpartition(".")[2] == type_name
        assert call.head.all("X_Why") == []
        for name in ("Execution-Exception-Message", "Root-Cause-Exception-Message"):
            assert call.head.all(name) == [message]
        assert call.head.all("Root-Cause-Exception-Type") == call.head.all("X-Why")
        # A client's own call of that route tells nothing.
        other.calls.clear()
        await ask(gateway, "GET", "/fallback", *forged)
        assert not {name for name, _ in other.calls[0].head.fields} & {
            "X_Why",
            "Root-Cause-Exception-Message",
        }


@PLAIN
@pytest.mark.parametrize(
    ("args", "status", "body", "kind"),
    [
        ({"fallbackBody": '{"seats": []}'}, 503, b'{"seats": []}', ["application/json"]),
        (
            {
                "fallbackBody": "later",
                "fallbackStatus": 200,
                "fallbackContentType": "text/plain; charset=utf-8",
            },
            200,
            b"later",
            ["text/plain; charset=utf-8"],
        ),
        ({"fallbackStatus": "NOT_FOUND"}, 404, b"", []),
    ],
)
async def test_a_fixed_answer_stands_in(
    gateways: Gateways, fast_path: bool, args: dict[str, Any], status: int, body: bytes, kind: list[str]
) -> None:
    async with scripted(BAD) as service:
        filters = [_breaker(**args, waitDurationInOpenState="60s")]
        gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
        async with connected(gateway.base) as client:
            for _ in range(6):
                got = await client.ask("GET", "/a/x")
                assert (got.status, got.body) == (status, body)
                if body:
                    assert got.all("Content-Type") == kind
        assert len(service.calls) == 4


@PLAIN
async def test_a_failure_may_be_resumed_but_no_time_out_and_no_open_breaker(
    gateways: Gateways, fast_path: bool
) -> None:
    async with scripted(BAD, "close", "close", "hang") as service:
        filters = [_breaker(resumeWithoutError=True, timeoutDuration="200ms", waitDurationInOpenState="60s")]
        gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
        got = [await ask(gateway, "POST", body=b"x") for _ in range(5)]
        service.released.set()
    assert [(each.status, len(each.body) > 0) for each in got] == [(200, False)] * 3 + [
        (504, True),
        (503, True),
    ]


async def test_a_fallback_is_no_document_of_the_service(gateways: Gateways) -> None:
    async with scripted(BAD) as service:
        filters = [_breaker(fallbackBody="{}", fallbackStatus=200)]
        gateway = await gateways.start(routes([service], filters))
        assert (await ask(gateway, "GET", "/a/x")).status == 200
        assert (await ask(gateway, "GET", "/a/v3/api-docs")).status == 500


@PLAIN
async def test_slow_clients_do_not_open_a_breaker(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(OK) as service:
        filters = [
            _breaker(timeoutDuration="200ms", slowCallDurationThreshold="1ms", slowCallRateThreshold=1)
        ]
        gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
        async with connected(gateway.base) as client:
            client.send(b"PUT /a/x HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n" + b"x" * 199_999)
            await asyncio.sleep(0.4)
            client.send(b"x")
            assert (await client.answer()).status == 200
    assert counted(gateway, "gateway_circuit_breaker_calls_total") == {("successful", "a"): 1}


@PLAIN
async def test_a_client_that_leaves_is_no_failure(gateways: Gateways, fast_path: bool) -> None:
    async with scripted("hang") as service:
        gateway = await gateways.start(
            routes([service], [_breaker(disableTimeLimiter=True)]), fast_path=fast_path
        )
        async with connected(gateway.base) as client:
            client.send(b"GET /a/x HTTP/1.1\r\nHost: h\r\n\r\n")
            async with asyncio.timeout(10):
                while not service.calls:
                    await asyncio.sleep(0)
        service.released.set()
        await asyncio.sleep(0)
        service.answers = [OK]
        assert (await ask(gateway)).status == 200
    assert counted(gateway, "gateway_circuit_breaker_calls_total") == {("successful", "a"): 1}


async def test_a_reload_keeps_a_breaker_open_unless_its_configuration_changes(gateways: Gateways) -> None:
    async with scripted(BAD) as service:
        text = routes([service], [_breaker(waitDurationInOpenState="60s")])
        gateway = await gateways.start(text)
        for _ in range(4):
            await ask(gateway)
        gateway.routes_file.write_text(text.replace('"/**"', '"/**", "/b"'))
        await _reloaded(gateway, 1)
        assert (await ask(gateway)).status == 503
        gateway.routes_file.write_text(text.replace("60s", "61s"))
        await _reloaded(gateway, 2)
        assert (await ask(gateway)).status == 500


async def _reloaded(gateway: Any, times: int) -> None:
    async with asyncio.timeout(15):
        while counted(gateway, "gateway_route_reloads_total").get(("ok",), 0) < times:
            await asyncio.sleep(0.02)


_LONG_PUT = b"PUT /a/x HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000


@PLAIN
async def test_slow_uploads_do_not_keep_a_breaker_half_open(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD) as service:
        filters = [_breaker(permittedNumberOfCallsInHalfOpenState=2, waitDurationInOpenState="100ms")]
        gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
        for _ in range(4):
            await ask(gateway)
        service.answers = [OK]
        await asyncio.sleep(0.15)
        async with connected(gateway.base) as one, connected(gateway.base) as two:
            began = len(service.heads)
            for client in (one, two):
                client.send(_LONG_PUT)
            await eventually(lambda: len(service.heads) == began + 2)
            assert [(await ask(gateway)).status for _ in range(3)] == [200] * 3
    assert counted(gateway, "gateway_circuit_breaker_state")["a", "closed"] == 1


@PLAIN
async def test_a_breaker_before_uploads_alone_closes_again(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD) as service:
        filters = [_breaker(permittedNumberOfCallsInHalfOpenState=1, waitDurationInOpenState="100ms")]
        gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
        for _ in range(4):
            await ask(gateway)
        service.answers = [OK]
        await asyncio.sleep(0.15)
        assert (await ask(gateway, "PUT", body=b"x" * 300_000)).status == 200
    assert counted(gateway, "gateway_circuit_breaker_state")["a", "closed"] == 1


@PLAIN
async def test_a_service_that_gives_up_on_slow_clients_has_not_failed(
    gateways: Gateways, fast_path: bool
) -> None:
    async def give_up(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)

    async with raw_upstream(give_up) as one, raw_upstream(give_up) as other:
        text = json.loads(routes([], [_breaker()]))
        text["services"]["a"] = {
            "instances": [{"uri": str(each.base)} for each in (one, other)],
            "eject": {"failures": 1, "time": "60s"},
        }
        gateway = await gateways.start(json.dumps(text), fast_path=fast_path)
        for _ in range(5):
            async with connected(gateway.base) as client:
                client.send(_LONG_PUT)
                assert (await client.answer()).status == 502
    assert counted(gateway, "gateway_circuit_breaker_calls_total") == {("ignored", "a"): 5}
    assert counted(gateway, "gateway_instances_ejected_total") == {}


@PLAIN
async def test_refused_connections_of_long_bodies_count(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(routes(["http://127.0.0.1:1"], [_breaker()]), fast_path=fast_path)
    for _ in range(4):
        async with connected(gateway.base) as client:
            client.send(_LONG_PUT)
            assert (await client.answer()).status == 502
    assert code_of(await ask(gateway)) == "CIRCUIT_OPEN"


@PLAIN
@pytest.mark.parametrize("each_attempt", [False, True])
async def test_an_instance_that_lets_the_breakers_time_pass_is_left_out(
    gateways: Gateways, fast_path: bool, each_attempt: bool
) -> None:
    async with scripted("hang") as hanging, scripted(OK) as healthy:
        breaker = _breaker(timeoutDuration="150ms", slidingWindowSize=50, minimumNumberOfCalls=50)
        filters = [{"name": "Retry", "args": {"retries": 1, "methods": "PUT"}}, breaker]
        text = json.loads(routes([], filters if each_attempt else [breaker]))
        text["services"]["a"] = {
            "instances": [{"uri": hanging.url}, {"uri": healthy.url}],
            "eject": {"failures": 2, "time": "60s"},
        }
        gateway = await gateways.start(json.dumps(text), fast_path=fast_path)
        statuses = [(await ask(gateway)).status for _ in range(10)]
        hanging.released.set()
    assert statuses.count(504) == 2
    assert counted(gateway, "gateway_instances_ejected_total") == {("a",): 1}


@PLAIN
async def test_it_may_become_half_open_by_itself(gateways: Gateways, fast_path: bool) -> None:
    async with scripted(BAD) as service:
        filters = [
            _breaker(automaticTransitionFromOpenToHalfOpenEnabled=True, waitDurationInOpenState="50ms")
        ]
        gateway = await gateways.start(routes([service], filters), fast_path=fast_path)
        for _ in range(4):
            await ask(gateway)
        await eventually(lambda: counted(gateway, "gateway_circuit_breaker_state")["a", "half_open"] == 1)
        assert len(service.calls) == 4


async def test_a_reload_forgets_a_breaker_and_its_series(gateways: Gateways) -> None:
    async with scripted(BAD) as service:
        text = routes([service], [_breaker()])
        gateway = await gateways.start(text)
        await ask(gateway)
        gateway.routes_file.write_text(routes([service], []))
        await _reloaded(gateway, 1)
        await eventually(lambda: not counted(gateway, "gateway_circuit_breaker_state"))
        assert counted(gateway, "gateway_circuit_breaker_calls_total") == {}
