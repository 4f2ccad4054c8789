"""Slow clients hold nothing of the services: what is awaited, how slow a body may be, and how many may be slow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.errors import Overloaded, RequestTimeout, TooManySlowUploads
from gateway.proxy import uploads as uploading
from gateway.proxy.uploads import UploadLimits, Uploads, site_of
from tests.proxy.rig import Gateway, gateway_to, keeping
from tests.support.raw_http import OK, SECONDS, Client, Peer, Upstream, raw_upstream, request

FIRST = 64 * 1024
LONG = f"Content-Length: {10 * FIRST}"
CHUNKED = "Transfer-Encoding: chunked"


@asynccontextmanager
async def clients(gateway: Gateway, count: int) -> AsyncIterator[list[Client]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(gateway.client()) for _ in range(count)]


async def until(uploads: Uploads, *, client: int | None = None, service: int | None = None) -> None:
    async with asyncio.timeout(SECONDS):
        while (client is not None and sum(uploads.by_client.values()) != client) or (
            service is not None and sum(uploads.by_service.values()) != service
        ):
            await asyncio.sleep(0.01)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload is slow after a tenth of a second."""
    monkeypatch.setattr(uploading, "LEAD_SECONDS", 0.1)


@pytest.mark.parametrize(
    "framing",
    [CHUNKED, "Content-Length: 70000", LONG, "Content-Length: 4", "Expect: 100-continue\r\n" + LONG],
)
async def test_a_body_that_stops_within_its_first_part_reaches_no_service(framing: str) -> None:
    async with (
        raw_upstream(keeping) as upstream,
        gateway_to(upstream.base) as gateway,
        clients(gateway, 8) as slow,
        gateway.client() as other,
    ):
        for client in slow:
            client.send(request("POST", "/", framing) + (b"3\r\nabc\r\n" if framing == CHUNKED else b"abc"))
        for _ in range(5):
            assert (await other.ask()).body == b"ok"
        assert upstream.connections == 1


async def test_the_first_part_goes_on_as_soon_as_it_is_there() -> None:
    async with (
        raw_upstream(keeping) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(request("POST", "/", LONG) + b"a" * (FIRST - 1))
        await asyncio.sleep(0.05)
        assert upstream.connections == 0
        client.send(b"a")
        async with asyncio.timeout(SECONDS):
            while not upstream.heads:
                await asyncio.sleep(0)
        client.send(b"a" * (9 * FIRST))
        assert (await client.answer()).body == b"ok"


@pytest.mark.parametrize("first", [0, FIRST], ids=["at first", "later"])
async def test_a_body_below_the_minimum_rate_is_refused_however_regularly_it_drips(first: int) -> None:
    uploads = Uploads(UploadLimits(timeout=0.4, min_rate=1000))
    async with (
        raw_upstream(keeping) as upstream,
        gateway_to(upstream.base, uploads=uploads) as gateway,
        gateway.client() as client,
    ):
        client.send(request("POST", "/", LONG) + b"a" * first)

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    client.send(b"a" * 5)
                    await asyncio.sleep(0.02)  # 250 bytes a second

        dripping = asyncio.create_task(drip())
        try:
            assert (await client.head()).status == 408
        finally:
            dripping.cancel()
        assert isinstance(await gateway.outcome(), RequestTimeout)


async def test_a_body_at_the_minimum_rate_is_accepted_however_long_it_takes() -> None:
    uploads = Uploads(UploadLimits(timeout=1.0, min_rate=20))
    async with (
        raw_upstream(keeping) as upstream,
        gateway_to(upstream.base, uploads=uploads) as gateway,
        gateway.client() as client,
    ):
        client.send(request("POST", "/", "Content-Length: 300"))
        for _ in range(30):
            await asyncio.sleep(0.07)
            client.send(b"a" * 10)
        assert (await client.answer()).body == b"ok"


async def test_without_a_minimum_rate_only_a_pause_ends_a_body() -> None:
    uploads = Uploads(UploadLimits(timeout=1.0, min_rate=0))
    async with (
        raw_upstream(keeping) as upstream,
        gateway_to(upstream.base, uploads=uploads) as gateway,
        gateway.client() as client,
    ):
        client.send(request("POST", "/", "Content-Length: 10"))
        for _ in range(9):
            await asyncio.sleep(0.2)
            client.send(b"a")
        assert (await client.head()).status == 408


async def test_what_a_client_sent_at_once_does_not_pay_for_a_long_pause() -> None:
    uploads = Uploads(UploadLimits(timeout=0.3, min_rate=1))
    async with (
        raw_upstream(keeping) as upstream,
        gateway_to(upstream.base, uploads=uploads) as gateway,
        gateway.client() as client,
    ):
        client.send(request("POST", "/", LONG) + b"a" * (2 * FIRST))
        assert (await client.head()).status == 408


async def test_a_slow_service_is_no_slow_client() -> None:
    """While the service takes nothing, the client is not waited for."""
    uploads = Uploads(UploadLimits(timeout=1.5, per_client=0, per_service=0))
    go = asyncio.Event()
    size = 20_000_000

    async def sleepy(upstream: Upstream, peer: Peer) -> None:
        head = await peer.head()
        upstream.heads.append(head)
        await go.wait()
        await peer.body(head)
        peer.send(OK)

    async with (
        raw_upstream(sleepy) as upstream,
        gateway_to(upstream.base, uploads=uploads) as gateway,
        gateway.client() as client,
    ):
        client.send(request("POST", "/", f"Content-Length: {size}"))
        client.send(b"a" * size)
        while not upstream.heads:
            await asyncio.sleep(0)
        await asyncio.sleep(2.5)
        go.set()
        assert (await client.answer()).body == b"ok"


@pytest.mark.parametrize("first", [10, FIRST], ids=["at first", "later"])
async def test_a_client_has_so_many_slow_uploads_at_a_time(soon: None, first: int) -> None:
    uploads = Uploads(UploadLimits(per_client=3))
    async with (
        raw_upstream(keeping) as upstream,
        gateway_to(upstream.base, uploads=uploads, client="192.0.2.1") as gateway,
        clients(gateway, 5) as slow,
    ):
        for client in slow:
            client.send(request("POST", "/", LONG) + b"a" * first)
        for _ in range(2):
            assert isinstance(await gateway.outcome(), TooManySlowUploads)
        assert uploads.by_client == {"192.0.2.1": 3}
        for client in slow:
            client.writer.transport.abort()
        await until(uploads, client=0, service=0)


async def test_slow_uploads_of_other_clients_count_for_themselves(soon: None) -> None:
    uploads = Uploads(UploadLimits(per_client=1))
    async with raw_upstream(keeping) as upstream, AsyncExitStack() as stack:
        for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"):
            gateway = await stack.enter_async_context(
                gateway_to(upstream.base, uploads=uploads, client=address)
            )
            client = await stack.enter_async_context(gateway.client())
            client.send(request("POST", "/", LONG))
        await until(uploads, client=4)
        # Another address of the same network, of which one machine may have as many as it likes.
        same = await stack.enter_async_context(
            gateway_to(upstream.base, uploads=uploads, client="2001:db8::2")
        )
        client = await stack.enter_async_context(same.client())
        client.send(request("POST", "/", LONG))
        assert isinstance(await same.outcome(), TooManySlowUploads)


async def test_a_service_has_so_many_slow_uploads_at_a_time(soon: None) -> None:
    uploads = Uploads(UploadLimits(per_client=100, per_service=2))
    async with (
        raw_upstream(keeping) as upstream,
        gateway_to(upstream.base, uploads=uploads) as gateway,
        clients(gateway, 5) as slow,
    ):
        for client in slow:
            client.send(request("POST", "/", LONG) + b"a" * FIRST)
        for _ in range(3):
            assert isinstance(await gateway.outcome(), Overloaded)
        assert uploads.by_service == {upstream.base: 2}


async def test_what_is_still_awaited_is_no_slow_upload_of_the_service(
    soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "FULL_SPEED", 1 << 30)  # nothing is fast enough to be slow no longer
    uploads = Uploads(UploadLimits(per_client=100, per_service=1))
    async with (
        raw_upstream(keeping) as upstream,
        gateway_to(upstream.base, uploads=uploads) as gateway,
        clients(gateway, 3) as slow,
    ):
        for client in slow:
            client.send(request("POST", "/", LONG) + b"a" * 10)
        await until(uploads, client=3, service=0)
        for client in slow[:2]:
            client.send(b"a" * (FIRST - 10))
        # The first of them takes the only place, before a connection is made for the second.
        assert isinstance(await gateway.outcome(), Overloaded)
        assert uploads.by_service == {upstream.base: 1}
        async with asyncio.timeout(SECONDS):
            while not upstream.heads:
                await asyncio.sleep(0.01)
        assert upstream.connections == 1


async def test_an_upload_that_gets_fast_is_slow_no_longer(soon: None) -> None:
    uploads = Uploads()
    async with (
        raw_upstream(keeping) as upstream,
        gateway_to(upstream.base, uploads=uploads) as gateway,
        gateway.client() as client,
    ):
        client.send(request("POST", "/", LONG) + b"a" * FIRST)
        await until(uploads, client=1, service=1)
        client.send(b"a" * FIRST)
        await until(uploads, client=0, service=0)
        client.send(b"a" * (8 * FIRST))
        assert (await client.answer()).body == b"ok"


async def test_fast_uploads_are_not_counted() -> None:
    uploads = Uploads(UploadLimits(per_client=0, per_service=0))
    async with (
        raw_upstream(keeping) as upstream,
        gateway_to(upstream.base, uploads=uploads) as gateway,
        clients(gateway, 10) as fast,
    ):
        for client in fast:
            client.send(request("POST", "/", LONG) + b"a" * (10 * FIRST))
        for client in fast:
            assert (await client.answer()).body == b"ok"


@pytest.mark.parametrize("end", ["answered", "refused", "gone"])
async def test_whatever_ends_a_slow_upload_nothing_of_it_stays_counted(soon: None, end: str) -> None:
    uploads = Uploads(UploadLimits(timeout=0.5 if end == "refused" else 30.0))
    answer = asyncio.Event()

    async def early(upstream: Upstream, peer: Peer) -> None:
        await peer.head()
        await answer.wait()
        peer.send(OK)
        await peer.rest()

    async with (
        raw_upstream(early) as upstream,
        gateway_to(upstream.base, uploads=uploads) as gateway,
        gateway.client() as client,
    ):
        client.send(request("POST", "/", LONG) + b"a" * FIRST)
        await until(uploads, client=1, service=1)
        if end == "answered":
            answer.set()
            assert (await client.answer()).body == b"ok"
        elif end == "refused":
            assert (await client.head()).status == 408
        else:
            client.reset()
        await until(uploads, client=0, service=0)
        assert (uploads.by_client, uploads.by_service) == ({}, {})


@pytest.mark.parametrize(
    ("client", "site"),
    [
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("2001:db8:1:ffff::", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("::ffff:192.0.2.1", ""),
        ("192.0.2.1", ""),
        ("unknown", ""),
        ("a:b", ""),
        ("", ""),
    ],
)
def test_a_site_is_what_a_provider_gives_to_one_customer(client: str, site: str) -> None:
    assert site_of(client) == site
