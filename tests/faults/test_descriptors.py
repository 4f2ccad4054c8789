"""A gateway with few file descriptors and more clients than it can have."""

from __future__ import annotations

import asyncio
import socket
import time

from tests.faults.site import Site, StartSite, files_of
from tests.support.gateway_process import GatewayProcess, cpu_seconds, limited_files
from tests.support.waiting import eventually

FILES = 300


async def hold(gateway: GatewayProcess, count: int) -> list[socket.socket]:
    """Opens connections and says nothing on them; those that are turned away stay half open on our side."""
    loop = asyncio.get_running_loop()
    held = []
    for _ in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", gateway.port))
        held.append(sock)
    return held


async def turned_away(held: list[socket.socket]) -> int:
    """How many of them were told to come back."""
    count = 0
    for sock in held:
        try:
            count += sock.recv(1000).startswith(b"HTTP/1.1 503")
        except BlockingIOError:
            continue
    return count


async def assert_idle(gateway: GatewayProcess, seconds: float = 1.0) -> None:
    """Whatever waits, it does nothing."""
    cpu, began = cpu_seconds(gateway.process.pid), time.monotonic()
    await asyncio.sleep(seconds)  # for as long as it is measured
    used = (cpu_seconds(gateway.process.pid) - cpu) / (time.monotonic() - began)
    assert used < 0.4, f"{used:.0%} of a core"


async def test_at_its_limit_of_files_a_gateway_refuses_and_serves_again(start_site: StartSite) -> None:
    async with start_site(gateways=0, sse_max_streams=50) as site:
        small = await site.add_gateway(prefix=limited_files(FILES))
        other = await site.add_gateway()
        people = await site.crowd(10)
        lines = len(small.lines)
        held = await hold(small, 2 * FILES)
        try:
            await eventually(lambda: turned_away(held), 5.0, "somebody is turned away")
            assert files_of(small) < FILES
            await assert_idle(small)
            # Those who are connected go on being served, by way of services and Redis too.
            await site_goes_on(site, people, other)
            assert len(small.lines) - lines < 20, small.lines[lines:]
        finally:
            for sock in held:
                sock.close()
        await eventually(lambda: files_of(small) < 80, 5.0, "the files are free again")
        assert (await people[5].status(base=small.base)).status == 200
        await site.assert_truth(people)
        await site.assert_gate(people)
        await site.assert_moves_on(people)


async def site_goes_on(site: Site, people: list, other: GatewayProcess) -> None:
    waiting = [person for person in people if not person.inside]
    await asyncio.gather(*(person.updated(3.0) for person in waiting))
    assert all(len(person.openings) == 1 for person in waiting)
    assert (await people[0].leave(base=other.base)).status == 200
    assert (await waiting[0].told(3.0)).name == "ALLOWED_IN"
    site.assert_room()
