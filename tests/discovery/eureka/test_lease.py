"""Registered while up, DOWN while draining, gone at the end."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.discovery.eureka.lease import Lease
from gateway.discovery.eureka.messages import InstanceInfo
from gateway.discovery.eureka.transport import EurekaServers
from tests.support.eureka import FakeEureka

OWN = InstanceInfo("gateway-server", "::1", "::1", 8080, 8080, {}, 30)
ENTRY = "/apps/GATEWAY-SERVER/%3A%3A1%3Agateway-server%3A8080"


async def who() -> InstanceInfo:
    return OWN


def make(servers: EurekaServers, renewal: float = 900.0, goodbye: float = 10.0) -> Lease:
    return Lease(servers, renewal, goodbye)


async def until_registered(lease: Lease) -> None:
    async with asyncio.timeout(10):
        while not lease.registered:
            await asyncio.sleep(0.001)


async def test_before_the_ports_are_open_nothing_is_said(both: EurekaServers, first: FakeEureka) -> None:
    async with make(both, renewal=0.01).running():
        await asyncio.sleep(0.05)
    assert first.requests == []


async def test_it_registers_beats_says_down_and_leaves(
    both: EurekaServers, first: FakeEureka, second: FakeEureka
) -> None:
    lease = make(both, renewal=0.01)
    async with lease.running():
        lease.begin(who)
        await first.until("PUT", 2)
        assert lease.registered
        await lease.down()
        assert first.bodies[-1]["status"] == "DOWN"
        beats = first.count("PUT")
        await first.until("PUT", beats + 1)
    assert [body["status"] for body in first.bodies] == ["UP", "DOWN"]
    assert first.requests[0] == "POST /apps/GATEWAY-SERVER"
    assert first.requests[-1] == f"DELETE {ENTRY}"
    up, down = (int(body["lastDirtyTimestamp"]) for body in first.bodies)
    assert up < down
    assert f"PUT {ENTRY}?status=UP&lastDirtyTimestamp={up}" in first.requests
    assert f"PUT {ENTRY}?status=DOWN&lastDirtyTimestamp={down}" in first.requests
    assert second.requests == []


async def test_an_unknown_instance_registers_again_at_once(both: EurekaServers, first: FakeEureka) -> None:
    lease = make(both, renewal=0.01)
    async with lease.running():
        lease.begin(who)
        await first.until("PUT")
        first.answers["PUT"] = (404, b"")
        await first.until("POST", 3)
        first.answers.clear()
        posts = first.count("POST")
        beats = first.count("PUT")
        await first.until("PUT", beats + 5)
        assert first.count("POST") <= posts + 1
    times = [int(body["lastDirtyTimestamp"]) for body in first.bodies]
    assert times == sorted(set(times))


async def test_while_a_server_is_away_the_next_one_is_told(
    both: EurekaServers, first: FakeEureka, second: FakeEureka
) -> None:
    lease = make(both, renewal=0.01)
    async with lease.running():
        lease.begin(who)
        await first.until("PUT")
        for method in ("PUT", "POST"):
            first.answers[method] = (500, b"")
        second.answers["PUT"] = (404, b"")
        await second.until("POST")
        second.answers.clear()
        await second.until("PUT", 5)
        assert lease.registered
    assert second.requests[-1].startswith("DELETE")


async def test_what_failed_is_tried_again(both: EurekaServers, first: FakeEureka, second: FakeEureka) -> None:
    for fake in (first, second):
        fake.answers["POST"] = (503, b"")
    lease = make(both, renewal=0.01)
    async with lease.running():
        lease.begin(who)
        await first.until("POST", 3)
        assert not lease.registered
        first.answers.clear()
        await until_registered(lease)
        for fake in (first, second):
            fake.answers["PUT"] = (503, b"")
        async with asyncio.timeout(10):
            while lease.registered:
                await asyncio.sleep(0.001)


async def test_the_own_address_is_looked_up_until_it_is_known(both: EurekaServers, first: FakeEureka) -> None:
    asked: list[int] = []

    async def late() -> InstanceInfo:
        asked.append(1)
        if len(asked) < 3:
            raise OSError("no network yet")
        return OWN

    lease = make(both, renewal=0.01)
    async with lease.running():
        lease.begin(late)
        await first.until("PUT", 3)
    assert len(asked) == 3


async def test_down_is_not_waited_for_when_it_cannot_be_said(
    both: EurekaServers, first: FakeEureka, second: FakeEureka
) -> None:
    lease = make(both, goodbye=30.0)
    async with lease.running():
        lease.begin(who)
        await until_registered(lease)
        for fake in (first, second):
            fake.answers["POST"] = (503, b"")
        began = time.monotonic()
        await lease.down()
        assert time.monotonic() - began < 15


async def test_the_end_is_bounded_when_servers_hang(
    both: EurekaServers, first: FakeEureka, second: FakeEureka
) -> None:
    lease = make(both, goodbye=0.1)
    began = time.monotonic()
    async with lease.running():
        lease.begin(who)
        await until_registered(lease)
        for fake in (first, second):
            fake.open.clear()
        await lease.down()
    # Without the bound it would be five seconds for each call and server.
    assert time.monotonic() - began < 4.5
    assert first.count("POST") == 2


async def test_a_registration_without_an_answer_is_taken_back(both: EurekaServers, first: FakeEureka) -> None:
    lease = make(both)
    async with lease.running():
        lease.begin(who)
        first.open.clear()
        await first.until("POST")
        asyncio.get_running_loop().call_later(0.05, first.open.set)
    assert first.requests[-1] == f"DELETE {ENTRY}"


async def test_a_lease_that_never_registered_sends_nothing_at_the_end(
    both: EurekaServers, first: FakeEureka
) -> None:
    lease = make(both)
    async with lease.running():
        await lease.down()
    assert first.requests == []


async def test_an_unexpected_error_is_logged_and_tried_again(
    both: EurekaServers, first: FakeEureka, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[int] = []

    async def broken_once() -> InstanceInfo:
        tried.append(1)
        if len(tried) == 1:
            raise RuntimeError("unforeseen")
        return OWN

    lease = make(both, renewal=0.01)
    async with lease.running():
        lease.begin(broken_once)
        await first.until("PUT")
    assert "unforeseen" in caplog.text
