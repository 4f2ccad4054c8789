"""The shipped NGINX configuration before two real gateways."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.deploy.conftest import Front
from tests.faults.people import Person


async def keep_calling(front: Front, name: str, seen: Counter[str], stop: asyncio.Event) -> None:
    """Calls a service again and again, reads and writes in turn, and counts what comes back."""
    user = front.user(name)
    while not stop.is_set():
        for method, path in (("GET", "/api/v1/products/1"), ("POST", "/api/v1/products")):
            answer = await user(method, path, data=b"x" * 100 if method == "POST" else None)
            seen[f"{method} {answer.status}"] += 1


async def test_streams_come_through_unbuffered_and_both_instances_serve_one_line(front: Front) -> None:
    first = front.user("first")
    assert (await first.lineup()).json["state"] == "ALLOWED_IN"
    waiting = [front.user(f"waiting-{number}") for number in range(4)]
    positions = [(await user.lineup()).json["data"]["userQueuePosition"] for user in waiting]
    assert positions == [1, 2, 3, 4]
    async with waiting[0].stream() as one, waiting[0].stream() as other:
        await one.until("STATUS_UPDATE")
        await other.until("STATUS_UPDATE")
        # Both know of the admission, whichever instance each is at.
        await first("POST", "/api/v1/queue/leave")
        await one.until("ALLOWED_IN", seconds=5)
        await other.until("ALLOWED_IN", seconds=5)
    assert (await waiting[0]("POST", "/api/v1/reservations")).status == 200
    served = {
        line.split(" via ")[1].split()[0] for line in front.log.read_text().splitlines() if " via " in line
    }
    assert len({address for address in served if ":" in address}) == 2


async def test_the_client_is_who_nginx_says_it_is(front: Front) -> None:
    await front.user("somebody")("GET", "/api/v1/products/1", headers={"X-Forwarded-For": "6.6.6.6"})
    headers = dict(front.service.seen[-1]["headers"])
    assert headers["X-Forwarded-Host"] == "front.example"


async def test_nothing_of_a_query_is_in_the_log_and_management_is_closed(front: Front) -> None:
    token = front.issuer.token("someone")
    await front.nobody("GET", f"/api/v1/queue/stream?access_token={token}")
    for path in ("/actuator", "/actuator/health", "/ACTUATOR/prometheus", "/%61ctuator/health"):
        assert (await front.nobody("GET", path)).status == 404, path
    log = front.log.read_text()
    assert "/api/v1/queue/stream" in log
    assert "access_token" not in log
    assert token not in log
    assert all(
        "access_token" not in line and token not in line for each in front.gateways for line in each.lines
    )


async def test_a_gateway_is_drained_under_load_without_one_failed_request(front: Front) -> None:
    await front.user("inside").lineup()
    line = [front.user(f"waiting-{number}") for number in range(10)]
    tickets = [(await user.lineup()).json["data"]["ticket"] for user in line]
    seen: Counter[str] = Counter()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(keep_calling(front, f"buyer-{number}", seen, stop))
        async with line[0].stream() as stream:
            await stream.until("STATUS_UPDATE")
            await asyncio.sleep(0.5)
            front.gateways[0].send(signal.SIGTERM)
            assert await front.gateways[0].ended() == 0
            await asyncio.sleep(0.5)
        stop.set()
    assert set(seen) == {"GET 200", "POST 200"}, seen
    assert seen.total() > 100
    states = [await user.status() for user in line]
    assert [state.json["data"]["ticket"] for state in states] == tickets


async def in_chunks(size: int) -> AsyncIterator[bytes]:
    """A body whose length nobody says, in one piece."""
    yield b"x" * size


@pytest.mark.parametrize(("who", "status"), [("nobody", 401), ("someone", 200)])
async def test_a_body_in_chunks_holds_up_nobody_who_comes_next(front: Front, who: str, status: int) -> None:
    sender = front.nobody if who == "nobody" else front.user(who)
    other = front.user("other")
    for size in (140_000, 3, 70_000, 300_000) * 5:
        answer = await sender("POST", "/api/v1/products", data=in_chunks(size))
        assert answer.status == status
        # NGINX has a few connections to the gateways, and sends whoever comes on the one just used.
        for _ in range(2):
            async with asyncio.timeout(10):
                assert (await other("GET", "/api/v1/products/1")).status == 200


@pytest.mark.timeout(120)
async def test_both_are_replaced_in_turn_under_load_and_streams_move_over_one_after_the_other(
    front: Front,
) -> None:
    await front.user("inside").lineup()
    people = [
        Person(name, front.issuer.token(name), front.session, lambda: ["http://front.example"])
        for name in (f"waiting-{number}" for number in range(30))
    ]
    tickets = [(await person.lineup()).json["data"]["ticket"] for person in people]
    for person in people:
        person.watch()
    for person in people:
        await person.updated(10.0)
    began = asyncio.get_running_loop().time()
    seen: Counter[str] = Counter()
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(keep_calling(front, f"buyer-{number}", seen, stop))
            await front.restart(0)
            await front.restart(1)
            for person in people:
                await person.updated(10.0)
            stop.set()
        assert set(seen) == {"GET 200", "POST 200"}, seen
        assert [(await person.status()).json["data"]["ticket"] for person in people] == tickets
        # Never more than a third of all streams at once, of which about half are at each gateway.
        moved = sorted(at for person in people for at in person.openings if at > began)
        assert len(moved) >= len(people)
        for first, last in zip(moved, moved[len(people) // 3 :], strict=False):
            assert last - first > 0.1, [round(at - began, 2) for at in moved]
        # And nobody's admission was lost on the way.
        await front.user("inside")("POST", "/api/v1/queue/leave")
        assert (await people[0].told(10.0)).name == "ALLOWED_IN"
    finally:
        for person in people:
            await person.close()


async def test_a_killed_gateway_costs_nobody_the_place(front: Front) -> None:
    await front.user("inside").lineup()
    line = [front.user(f"waiting-{number}") for number in range(10)]
    tickets = [(await user.lineup()).json["data"]["ticket"] for user in line]
    front.gateways[1].send(signal.SIGKILL)
    await front.gateways[1].ended()
    for user, ticket in zip(line, tickets, strict=True):
        async with user.stream() as stream:
            assert (await stream.until("STATUS_UPDATE")).data["ticket"] == ticket
    await front.user("inside")("POST", "/api/v1/queue/leave")
    assert (await line[0].status()).json["state"] == "ALLOWED_IN"
