"""Names of services are looked up again and again, and all their addresses get requests, over real sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from gateway.proxy.load_balancer import Instances
from gateway.proxy.name_lookups import NameLookups, look_up
from gateway.proxy.pool import UpstreamPool
from gateway.proxy.upstream import UpstreamBase
from tests.proxy.rig import gateway_to
from tests.resilience.instances import Hosts, Instance, instance
from tests.support.raw_http import SECONDS
from tests.support.waiting import eventually

NAME = "app.test"


async def _instances(stack: AsyncExitStack, *hosts: str) -> list[Instance]:
    """Instances that listen on one port of several addresses."""
    first = await stack.enter_async_context(instance(host=hosts[0]))
    return [
        first,
        *[await stack.enter_async_context(instance(host=one, port=first.port)) for one in hosts[1:]],
    ]


@pytest.mark.parametrize("by_service", [True, False], ids=["lb", "http"])
async def test_requests_go_to_all_addresses_and_follow_them(by_service: bool) -> None:
    async with AsyncExitStack() as stack:
        two, three, four = await _instances(stack, "127.0.0.2", "127.0.0.3", "127.0.0.4")
        base = UpstreamBase("http", NAME, two.port)
        services = {"svc": [str(base)]} if by_service else {}
        gateway = await stack.enter_async_context(
            gateway_to("svc" if by_service else base, services=services)
        )
        gateway.instances.replace(services, hosts=[] if by_service else [base])
        hosts = Hosts({NAME: ["127.0.0.3", "127.0.0.2"]})
        lookups = NameLookups(gateway.instances, 0.02, lookup=hosts.look_up)
        await stack.enter_async_context(lookups.running())
        client = await stack.enter_async_context(gateway.client())

        async def used(count: int) -> Counter[str]:
            for each in (two, three, four):
                each.calls.clear()
            for _ in range(count):
                assert (await client.ask()).status == 200
            return Counter({each.host: len(each.calls) for each in (two, three, four) if each.calls})

        assert await used(10) == {"127.0.0.2": 5, "127.0.0.3": 5}
        assert {head.all("Host")[0] for head in two.calls} == {f"{NAME}:{two.port}"}
        hosts.names[NAME] = ["127.0.0.3", "127.0.0.4"]
        await eventually(lambda: len(gateway.instances.known(gateway.plan["base"])) == 2)
        await eventually(lambda: gateway.instances.known(gateway.plan["base"])[-1].address == "127.0.0.4")
        assert await used(10) == {"127.0.0.3": 5, "127.0.0.4": 5}


async def test_a_request_at_an_address_that_is_removed_goes_on() -> None:
    async with AsyncExitStack() as stack:
        two, three = await _instances(stack, "127.0.0.2", "127.0.0.3")
        base = UpstreamBase("http", NAME, two.port)
        gateway = await stack.enter_async_context(gateway_to("svc", services={"svc": [str(base)]}))
        gateway.instances.set_addresses(base, ("127.0.0.2",))
        two.call = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"
        client = await stack.enter_async_context(gateway.client())
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await client.until(b"\r\n\r\no")
        gateway.instances.set_addresses(base, ("127.0.0.3",))
        second = await stack.enter_async_context(gateway.client())
        assert (await second.ask()).status == 200
        assert (len(two.calls), len(three.calls)) == (1, 1)
        # The answer that has begun is still on its way.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.reader.read(1)


async def test_an_address_that_takes_no_connection_is_passed_over() -> None:
    async with AsyncExitStack() as stack:
        [three] = await _instances(stack, "127.0.0.3")
        base = UpstreamBase("http", NAME, three.port)
        gateway = await stack.enter_async_context(gateway_to(base))
        gateway.instances.replace({}, hosts=[base])
        gateway.instances.set_addresses(base, ("127.0.0.2", "127.0.0.3"))
        client = await stack.enter_async_context(gateway.client())
        for _ in range(4):
            assert (await client.ask("POST", "/", "Content-Length: 0")).status == 200
        assert len(three.calls) == 4


async def test_a_name_that_fails_keeps_its_addresses_and_each_change_is_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "gateway.proxy")
    instances, results = Instances({"svc": [f"http://{NAME}:80"]}), list[bool]()
    hosts = Hosts({NAME: ["127.0.0.2"]})
    async with NameLookups(instances, 0.01, results.append, hosts.look_up).running():
        assert [each.address for each in instances.known("svc")] == ["127.0.0.2"], "before anything is served"
        hosts.names.clear()
        await eventually(lambda: results.count(False) >= 3)
        assert [each.address for each in instances.known("svc")] == ["127.0.0.2"]
        hosts.names[NAME] = ["127.0.0.3"]
        await eventually(lambda: instances.known("svc")[0].address == "127.0.0.3")
    lines = [record.getMessage() for record in caplog.records]
    assert [line for line in lines if NAME in line] == [
        f"{NAME} can't be looked up (gaierror [Errno -2] Name or service not known): its last addresses stay in use: "
        "127.0.0.2",
        f"{NAME} can be looked up again",
        f"{NAME} has the addresses 127.0.0.3 now, before: 127.0.0.2",
    ]


async def test_a_name_that_a_reload_brings_is_looked_up_at_once() -> None:
    instances, hosts = Instances(), Hosts({NAME: ["127.0.0.2"], "other.test": ["127.0.0.3"]})
    async with NameLookups(instances, 3600.0, lookup=hosts.look_up).running():
        instances.replace({"svc": [f"http://{NAME}:80"]})
        await eventually(lambda: instances.known("svc")[0].address)
        instances.replace({"svc": [f"http://{NAME}:80", "https://other.test"]})
        await eventually(
            lambda: [each.address for each in instances.known("svc")] == ["127.0.0.2", "127.0.0.3"]
        )


async def test_a_resolver_that_hangs_does_not_hold_up_the_start() -> None:
    async def hang(host: str) -> list[str]:
        await asyncio.sleep(3600)
        raise AssertionError

    instances = Instances({"svc": [f"http://{NAME}:80"]})
    async with asyncio.timeout(10), NameLookups(instances, 0.01, lookup=hang).running():
        assert instances.pick("svc") == UpstreamBase("http", NAME, 80), "looked up when a connection is made"


async def test_a_name_that_hangs_holds_up_no_lookup_of_another_one_and_is_asked_for_once() -> None:
    asked, hosts = list[str](), Hosts({NAME: ["127.0.0.2"]})

    async def look_up_or_hang(host: str) -> Sequence[str]:
        asked.append(host)
        if host == "hanging.test":
            await asyncio.sleep(3600)
        return await hosts.look_up(host)

    instances = Instances({"svc": [f"http://{NAME}:80"], "bad": ["http://hanging.test"]})
    async with NameLookups(instances, 0.01, lookup=look_up_or_hang).running():
        await eventually(lambda: instances.known("svc")[0].address == "127.0.0.2")
        hosts.names[NAME] = ["127.0.0.3"]
        await eventually(lambda: instances.known("svc")[0].address == "127.0.0.3")
    assert asked.count("hanging.test") == 1


@pytest.mark.parametrize("by_request", [False, True], ids=["ahead", "by-request"])
async def test_a_resolver_that_hangs_leaves_the_threads_of_the_loop_to_others(
    monkeypatch: pytest.MonkeyPatch, by_request: bool
) -> None:
    """The loop looks up the names of Redis and of the auth server there."""
    loop, released, asked = asyncio.get_running_loop(), threading.Event(), set[str]()

    def hang(host: str, *_: object, **__: object) -> list[object]:
        asked.add(host)
        released.wait(SECONDS)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    # More than the loop has threads.
    names = {f"n{number}.test" for number in range(40)}
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(UpstreamPool())
        stack.callback(released.set)
        for name in names:
            base = UpstreamBase("http", name, 80)
            work = pool.connect(base, SECONDS) if by_request else look_up(name)
            task = asyncio.ensure_future(work)
            stack.push_async_callback(asyncio.gather, task, return_exceptions=True)
        await asyncio.sleep(0)
        async with asyncio.timeout(SECONDS / 2):
            assert await loop.run_in_executor(None, lambda: "free") == "free"
        await eventually(lambda: asked == names)
        released.set()


async def test_the_systems_resolver_is_asked() -> None:
    assert await look_up("localhost") == ["127.0.0.1"]
    with pytest.raises(UnicodeError):
        await look_up("x" * 64)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("app", True),
        ("app.example.", True),
        ("localhost", False),
        ("a.localhost", False),
        ("127.0.0.1", False),
        ("::1", False),
    ],
)
def test_addresses_and_names_of_this_machine_are_not_looked_up(host: str, name: bool) -> None:
    assert UpstreamBase("http", host, 80).has_name is name
