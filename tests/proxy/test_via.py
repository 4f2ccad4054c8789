"""``Via``: what counts as an entry of the gateway, and a route that leads back to it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.app import INSTANCES
from gateway.context import OBSERVERS
from gateway.proxy.via import MAX_PASSES, passes, pseudonym_of, via_header
from tests.support.gateway import Gateways, Running, a_service
from tests.support.waiting import eventually

OWN = "1.1 gateway-server"
LOOPS = """
routes:
  - {id: straight, uri: "lb://own", predicates: ["Path=/straight/**"]}
  - {id: edited, uri: "lb://own", predicates: ["Path=/edited/**"], filters: ["RemoveRequestHeader=Via"]}
  - {id: set, uri: "lb://own", predicates: ["Path=/set/**"], filters: ["SetRequestHeader=Via, 1.1 nobody"]}
  - {id: gated, uri: "lb://own", predicates: ["Path=/gated/**"]}
  - {id: falls, uri: "http://127.0.0.1:1", predicates: ["Path=/falls/**"],
     filters: [{name: CircuitBreaker, args: {fallbackUri: "forward:/straight/x"}}]}
  - {id: home, uri: "%(service)s", predicates: ["Path=/home/**"]}
gates: [{calls: ["GET /gated/**"]}]
access: {public: ["/straight/**", "/edited/**", "/set/**", "/falls/**", "/home/**"]}
"""


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ((), 0),
        (("",), 0),
        ((OWN,), 1),
        (("HTTP/1.1 GATEWAY-Server",), 1),
        (("1.0 fred, 1.1\tgateway-server (edge)",), 1),
        ((f"{OWN},{OWN}", OWN), 3),
        (("1.1 gateway-server:8080", "1.1 my-gateway-server", "gateway-server", "1.1"), 0),
        (("1.1 other (1.1 gateway-server)",), 0),
    ],
)
def test_entries_of_the_gateway_are_told_from_others(values: tuple[str, ...], count: int) -> None:
    assert passes(values, "gateway-server") == count


@pytest.mark.parametrize(
    ("name", "pseudonym"), [("a-b.c", "a-b.c"), ("a b/c", "a-b-c"), ("게이트", "---"), ("", "gateway")]
)
def test_a_pseudonym_is_a_token(name: str, pseudonym: str) -> None:
    assert pseudonym_of(name) == pseudonym


def test_a_filter_can_not_make_a_request_young_again() -> None:
    before = [(b"via", b"1.1 g, 1.0 other"), (b"VIA", b"1.1 g")]
    assert via_header("g", before, before) == (b"Via", b"1.1 g")
    assert via_header("g", before, [(b"Via", b"1.1 g")]) == (b"Via", b"1.1 g, 1.1 g")
    assert via_header("g", before, []) == (b"Via", b"1.1 g, 1.1 g, 1.1 g")
    # A filter that adds entries makes it older.
    assert via_header("g", [], before) == (b"Via", b"1.1 g")


@pytest.fixture(params=[True, False], ids=["fast", "aiohttp"])
async def gateway(request: pytest.FixtureRequest, gateways: Gateways) -> Running:
    # It calls itself a hundred times at once, and a slow machine may take more than a second to take a connection.
    running = await gateways.start(LOOPS, fast_path=request.param, proxy_connect_timeout_seconds=20)
    running.app[INSTANCES].replace({"own": [running.base]})
    return running


def served(gateway: Running) -> float:
    return sum(
        sample.value
        for metric in gateway.app[OBSERVERS].metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "gateway_requests_seconds_count"
    )


@pytest.mark.parametrize("path", ["/straight/a", "/edited/a", "/set/a"])
async def test_a_route_to_the_gateway_itself_ends_after_four_passes(gateway: Running, path: str) -> None:
    answer = await gateway.nobody("GET", path)
    assert (answer.status, answer.code) == (508, "LOOP_DETECTED")
    # An answer is counted once it is out, and its client may have it before.
    await eventually(lambda: served(gateway) == MAX_PASSES + 1)
    answers = await asyncio.gather(*(gateway.nobody("POST", path, data=b"x" * 1000) for _ in range(20)))
    assert {answer.status for answer in answers} == {508}
    await eventually(lambda: served(gateway) == 21 * (MAX_PASSES + 1))


async def test_a_loop_behind_a_gate_and_one_by_a_fallback_end_too(gateway: Running) -> None:
    user = gateway.user("a")
    await user.lineup()
    for path in ("/gated/a", "/falls/a"):
        answer = await user("GET", path)
        assert (answer.status, answer.code) == (508, "LOOP_DETECTED"), path


async def test_a_handshake_that_comes_round_gets_the_answer(gateway: Running) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    answer = await gateway.nobody("GET", "/straight/a", headers=headers)
    assert (answer.status, answer.code) == (508, "LOOP_DETECTED")


@pytest.mark.parametrize("path", ["/home/a", "/nowhere", "/api/v1/queue/status", "/actuator/health"])
async def test_four_entries_are_refused_wherever_they_lead_and_three_are_not(
    gateway: Running, path: str
) -> None:
    user = gateway.user("a")
    before = await user("GET", path)
    three = await user("GET", path, headers={"Via": ", ".join([OWN] * 3)})
    assert three.status == before.status
    four = await user("GET", path, headers={"Via": ", ".join([OWN] * 4)})
    assert (four.status, four.code) == (508, "LOOP_DETECTED")
    others = await user("GET", path, headers={"Via": ", ".join(["1.1 other"] * 50)})
    assert others.status == before.status


async def test_a_page_of_another_origin_may_read_the_refusal_only_where_cors_allows_it(
    gateways: Gateways,
) -> None:
    origin = {"Origin": "https://shop.example", "Via": ", ".join([OWN] * 4)}
    cors = "cors: {cors-configurations: {'/**': {allowedOrigins: 'https://shop.example'}}}\n"
    gateway = await gateways.start(LOOPS.replace("lb://own", "http://127.0.0.1:1") + cors)
    answer = await gateway.nobody("GET", "/home/a", headers=origin)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (508, "https://shop.example")
    answer = await gateway.nobody("GET", "/actuator/health", headers=origin)
    assert (answer.status, "Access-Control-Allow-Origin" in answer.headers) == (508, False)


async def test_the_service_gets_the_entry_behind_those_that_came(gateways: Gateways) -> None:
    async with a_service() as service:
        gateways.service.url = service.url
        gateway = await gateways.start(
            LOOPS.replace("lb://own", "http://127.0.0.1:1"), spring_application_name="edge"
        )
        await gateway.nobody("GET", "/home/a", headers={"Via": "1.0 fred"})
        assert [value for name, value in service.seen[-1]["headers"] if name == "Via"] == [
            "1.0 fred",
            "1.1 edge",
        ]
