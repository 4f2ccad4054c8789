"""The PROXY protocol in front of plain HTTP: who is believed, what services learn, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.server.test_proxy_protocol import V1, v2
from tests.support.gateway import Gateways, Running
from tests.support.raw_http import connected

ROUTES = """
routes: [{id: home, uri: "%(service)s", predicates: ["Path=/home/**"]}]
access: {public: ["/home/**"]}
"""
GET = b"GET /home/a HTTP/1.1\r\nHost: gw\r\n%b\r\n"


@pytest.fixture(params=[True, False], ids=["fast", "aiohttp"])
async def gateway(request: pytest.FixtureRequest, gateways: Gateways) -> Running:
    return await gateways.start(ROUTES, trusted_proxies="127.0.0.1,192.0.2.7", fast_path=request.param)


def told(gateways: Gateways) -> dict[str, Any]:
    return {name.lower(): value for name, value in gateways.service.seen[-1]["headers"]}


async def status_of(gateway: Running, data: bytes, *, cut: int = 0) -> int:
    async with connected(gateway.base) as client:
        if cut:
            client.send(data[:cut])
            await asyncio.sleep(0.01)
        client.send(data[cut:])
        return (await client.answer()).status


@pytest.mark.parametrize(
    "header", [V1, v2(), v2(more=b"\x04\x00\x03abc" * 50)], ids=["v1", "v2", "v2 with more"]
)
async def test_the_client_that_a_trusted_proxy_names_is_the_client(
    gateway: Running, gateways: Gateways, header: bytes
) -> None:
    for cut in (0, 1, 5, len(header) - 1, len(header), len(header) + 9):
        assert await status_of(gateway, header + GET % b"X-Forwarded-For: 203.0.113.1\r\n", cut=cut) == 200
        # The named client is not trusted, so what it says of others does not count.
        assert told(gateways)["x-forwarded-for"] == "192.0.2.9"
        assert told(gateways)["x-real-ip"] == "192.0.2.9"


async def test_a_named_client_that_is_trusted_itself_is_believed(
    gateway: Running, gateways: Gateways
) -> None:
    header = v2("192.0.2.7")
    assert await status_of(gateway, header + GET % b"X-Forwarded-For: 203.0.113.1\r\n") == 200
    assert told(gateways)["x-forwarded-for"] == "203.0.113.1, 192.0.2.7"


@pytest.mark.parametrize("header", [b"", v2(command=0x20)], ids=["none", "for itself"])
async def test_it_is_optional_and_a_proxy_may_speak_for_itself(
    gateway: Running, gateways: Gateways, header: bytes
) -> None:
    assert await status_of(gateway, header + GET % b"X-Forwarded-For: 203.0.113.1\r\n") == 200
    assert told(gateways)["x-forwarded-for"] == "203.0.113.1, 127.0.0.1"
    assert await status_of(gateway, header + GET % b"", cut=1) == 200


async def test_a_client_that_is_not_named_is_unknown_and_never_the_proxy(
    gateway: Running, gateways: Gateways
) -> None:
    for header in (b"PROXY UNKNOWN\r\n", v2(family=0x00)):
        assert await status_of(gateway, header + GET % b"") == 200
        assert told(gateways)["x-forwarded-for"] == "unknown"


async def test_it_counts_for_all_requests_of_the_connection(gateway: Running, gateways: Gateways) -> None:
    async with connected(gateway.base) as client:
        client.send(V1 + GET % b"" + GET % b"")
        for _ in range(2):
            assert (await client.answer()).status == 200
        client.send(GET % b"")
        assert (await client.answer()).status == 200
    seen = [dict(each["headers"])["X-Forwarded-For"] for each in gateways.service.seen[-3:]]
    assert seen == ["192.0.2.9"] * 3


@pytest.mark.parametrize(
    "data",
    [
        V1 + V1 + GET % b"",
        v2() + v2() + GET % b"",
        b"PROXY TCP4 nonsense\r\n" + GET % b"",
        b"PROXY TCP4 " + b"1" * 200,
        v2(command=0x2F) + GET % b"",
        b"PROXY / HTTP/1.1\r\nHost: gw\r\n\r\n",
    ],
)
async def test_nonsense_of_a_trusted_proxy_is_refused(
    gateway: Running, gateways: Gateways, data: bytes
) -> None:
    assert await status_of(gateway, data) == 400
    assert gateways.service.seen == []


@pytest.mark.parametrize("header", [V1, v2(), v2(command=0x20), b"PROXY UNKNOWN\r\n"])
async def test_from_others_it_is_refused(gateways: Gateways, header: bytes) -> None:
    gateway = await gateways.start(ROUTES, trusted_proxies="192.0.2.7")
    assert await status_of(gateway, header + GET % b"") == 400
    assert await status_of(gateway, header + GET % b"", cut=3) == 400
    assert gateways.service.seen == []


async def test_a_header_that_does_not_end_is_not_waited_for_for_long(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, trusted_proxies="127.0.0.1", request_head_timeout_seconds=0.5)
    async with connected(gateway.base) as client:
        client.send(V1[:10])
        assert (await client.answer()).status == 408
        assert await client.rest() == b""


async def test_a_stream_is_one_of_the_named_client(gateways: Gateways) -> None:
    gateway = await gateways.start(trusted_proxies="127.0.0.1")
    token = gateway.issuer.token("a").encode()
    async with connected(gateway.base) as client:
        client.send(
            v2()
            + b"GET /api/v1/queue/stream HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer %b\r\n\r\n" % token
        )
        head = await client.head()
        assert head.status == 200
        await client.until(b"event: ")


FULL = {
    "a stream": (b"GET /api/v1/queue/stream HTTP/1.1\r\nHost: gw\r\n\r\n", b"200"),
    "health": (b"GET /actuator/health/liveness HTTP/1.1\r\nHost: gw\r\n\r\n", b"200"),
    "another call": (GET % b"", b"503"),
}


@pytest.mark.parametrize("what", FULL)
@pytest.mark.parametrize(
    "header",
    [V1, v2(), v2(command=0x20), b"PROXY UNKNOWN\r\n", b""],
    ids=["v1", "v2", "for itself", "unknown", "none"],
)
async def test_a_gateway_with_too_many_connections_answers_as_without_the_header(
    gateways: Gateways, nothing_displaced: None, what: str, header: bytes
) -> None:
    gateway = await gateways.start(ROUTES, trusted_proxies="127.0.0.1", max_connections=1)
    data, status = FULL[what]
    async with connected(gateway.base) as first:
        first.send(GET % b"")
        assert (await first.answer()).status == 200
        for cut in (0, 1, 5, len(header) - 1, len(header), len(header) + 9):
            async with connected(gateway.base) as client:
                if cut > 0:
                    client.send((header + data)[:cut])
                    await asyncio.sleep(0.01)
                client.send((header + data)[max(cut, 0) :])
                answer = await client.rest()
            assert answer[9:12] == status, (cut, answer)
            assert (b"\nretry: " in answer) is (what == "a stream")


async def test_others_name_no_client_to_a_gateway_with_too_many_connections(
    gateways: Gateways, nothing_displaced: None
) -> None:
    gateway = await gateways.start(ROUTES, trusted_proxies="192.0.2.7", max_connections=1)
    async with connected(gateway.base) as first:
        first.send(GET % b"")
        assert (await first.answer()).status == 200
        for data, _ in FULL.values():
            async with connected(gateway.base) as client:
                client.send(V1 + data)
                assert (await client.rest())[9:12] == b"503"


async def test_a_gateway_that_stops_does_not_wait_for_a_proxy_that_says_nothing(gateways: Gateways) -> None:
    async with (
        gateways.running(ROUTES, trusted_proxies="127.0.0.1") as gateway,
        connected(gateway.base) as client,
    ):
        async with asyncio.timeout(10):
            await gateway.runner.stop_serving(0.3)  # type: ignore[attr-defined]
            assert await client.rest() == b""
