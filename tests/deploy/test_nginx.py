"""The shipped NGINX configuration before two real gateways."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from tests.deploy.rig import Front
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


async def test_the_client_address_is_the_one_that_nginx_gives(front: Front) -> None:
    await front.user("somebody")("GET", "/api/v1/products/1", headers={"X-Forwarded-For": "6.6.6.6"})
    headers = dict(front.service.seen[-1]["headers"])
    assert headers["X-Forwarded-Host"] == "front.example"


MANAGEMENT = [
    "/actuator",
    "/actuator/health",
    "/actuator/prometheus",
    "/actuator/gateway/routes",
    "/metrics",
]
SPELLINGS: list[Callable[[str], str]] = [
    lambda path: path,
    str.upper,
    str.title,
    lambda path: f"/%{ord(path[1]):x}{path[2:]}",
    lambda path: path + "/",
    lambda path: path + "?x=1",
    lambda path: path + ";x=1",
    lambda path: path + "%3bx",
    lambda path: path + ".",
    lambda path: path + "%20",
    lambda path: path + "%00",
    lambda path: "/" + path,
    lambda path: "/." + path,
    lambda path: "/x/.." + path,
    lambda path: "/%2e" + path,
    lambda path: path.replace("/", "/%2f", 1),
    lambda path: "http://front.example" + path,
]


async def test_management_is_closed_in_every_spelling(front: Front) -> None:
    opened = []
    for path in MANAGEMENT:
        served = await front.gateways_own("GET", path)
        assert served.status == 200, path
        for spelling in SPELLINGS:
            status, body = await front.raw("GET", spelling(path))
            if status not in (400, 401, 404) or served.body[:40] in body:
                opened.append((spelling(path), status, body[:200]))
    assert opened == []


async def test_no_client_asks_for_a_decision_about_a_call(front: Front) -> None:
    """That is for proxies which forward themselves. NGINX here is trusted, and passes on what clients ask."""
    told = []
    for path in ("/api/v1/queue/authorize", "/api/v1/queue/authorize/ext/api/v1/products/1"):
        for spelling in SPELLINGS:
            for described in (
                "",
                "X-Original-Method: GET\r\nX-Original-URI: /api/v1/products/1\r\n",
                "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /api/v1/products/1\r\n",
            ):
                headers = f"Host: front.example\r\n{described}"
                status, answer = await front.raw("GET", spelling(path), headers=headers)
                if status not in (400, 404) or b"X-Gateway-Signature" in answer:
                    told.append((spelling(path), described, status))
    assert told == []


async def test_websockets_come_through_and_no_other_upgrade_does(front: Front) -> None:
    headers = {"Authorization": f"Bearer {front.issuer.token('talker')}"}
    async with front.session.ws_connect(
        "http://front.example/api/v1/products/a%20b?x=%7C", headers=headers
    ) as socket:
        for word in ("one", "two"):
            await socket.send_str(word)
            assert await socket.receive_str(timeout=5) == word
    talker = front.user("talker")
    answer = await talker("GET", "/api/v1/products/1", headers={"Connection": "Upgrade", "Upgrade": "h2c"})
    assert answer.status == 200
    assert "Upgrade" not in dict(answer.json["headers"])
    # A request without an upgrade keeps its method and path when it is no WebSocket.
    answer = await talker("POST", "/api/v1/products/a%20b", data=b"x")
    assert (answer.json["method"], answer.json["target"]) == ("POST", "/api/v1/products/a%20b")


async def test_what_a_client_says_of_proxies_is_replaced(front: Front) -> None:
    said = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Port": "6666",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Ssl": "on",
        "Forwarded": "for=6.6.6.6;host=evil.example;proto=https",
    }
    answer = await front.user("somebody")("GET", "/api/v1/products/1", headers=said)
    assert answer.status == 200
    told = {name.lower(): value for name, value in answer.json["headers"]}
    assert told["x-forwarded-host"] == "front.example"
    assert told["x-forwarded-proto"] == "http"
    for value in ("evil", "6666", "6.6.6.6", "https"):
        assert all(value not in one for name, one in told.items() if "forwarded" in name), told


@dataclass
class Call:
    """One call while a gateway hangs: what it was, how it ended, how long it took."""

    kind: str
    status: int
    began: float
    seconds: float


async def call_without_end(
    front: Front, kind: str, name: str, calls: list[Call], stop: asyncio.Event
) -> None:
    """One call after the other of one kind, each on a connection of its own."""
    clock = asyncio.get_running_loop().time
    number = 0
    while not stop.is_set():
        number += 1
        user = front.user(f"{name}-{number}")
        began = clock()
        if kind == "read":
            answer = await user("GET", "/api/v1/products/1")
        elif kind == "write":
            answer = await user("POST", f"/api/v1/products?n={name}-{number}", data=b"x")
        elif kind == "status":
            answer = await front.user("inside").status()
        elif kind == "lineup":
            answer = await user.lineup()
        else:
            lined_up = await user.lineup()
            calls.append(Call("lineup", lined_up.status, began, clock() - began))
            if lined_up.status != 200:
                continue
            began = clock()
            async with user.stream() as stream:
                await stream.until("STATUS_UPDATE", seconds=60)
            calls.append(Call(kind, 200, began, clock() - began))
            continue
        calls.append(Call(kind, answer.status, began, clock() - began))


KINDS = ("read", "write", "status", "lineup", "stream")
FOUND_OUT_SECONDS = 9.0
"""Two probes that hit the gateway which hangs, each late after 2 s, and what was already on its way to it."""


@pytest.mark.timeout(120)
async def test_a_gateway_that_hangs_is_left_out_and_comes_back(front: Front) -> None:
    await front.user("inside").lineup()
    calls: list[Call] = []
    stop = asyncio.Event()
    clock = asyncio.get_running_loop().time
    hung = front.gateways[0]

    def served_by_hung() -> int:
        return sum(f":{hung.port} " in line for line in front.log.read_text().splitlines())

    async with asyncio.TaskGroup() as group:
        for kind in KINDS:
            for name in (f"{kind}-a", f"{kind}-b"):
                group.create_task(call_without_end(front, kind, name, calls, stop))
        async with asyncio.timeout(10):
            while {call.kind for call in calls} != set(KINDS):
                await asyncio.sleep(0.05)
        hung.send(signal.SIGSTOP)
        stopped = clock()
        await asyncio.sleep(FOUND_OUT_SECONDS + 10)
        hung.send(signal.SIGCONT)
        back = clock()
        before = served_by_hung()
        async with asyncio.timeout(40):
            while served_by_hung() < before + 40:
                await asyncio.sleep(0.2)
        stop.set()
    later = [call for call in calls if stopped + FOUND_OUT_SECONDS < call.began < back]
    assert len(later) > 200
    late = [call for call in later if call.seconds > 2.0]
    # Each pool tries the gateway once in 10 s, with one request.
    assert len(late) <= 4, late
    failed = [call for call in calls if call.status != 200]
    # Calls that may be repeated never fail; others may, if they were sent to the gateway that hangs.
    assert {call.kind for call in failed} <= {"write", "lineup"}, failed
    assert all(call.status == 504 for call in failed), failed
    assert len([call for call in failed if call.began > stopped + FOUND_OUT_SECONDS]) <= 2, failed
    times = Counter(one["target"] for one in front.service.seen if one["method"] == "POST")
    assert set(times.values()) == {1}, times.most_common(3)


async def test_nothing_of_a_query_is_in_the_log(front: Front) -> None:
    token = front.issuer.token("someone")
    await front.nobody("GET", f"/api/v1/queue/stream?access_token={token}")
    # NGINX writes the line when the probe beside the request has ended, too.
    async with asyncio.timeout(10):
        while "/api/v1/queue/stream" not in (log := front.log.read_text()):
            await asyncio.sleep(0.02)
    assert "access_token" not in log
    assert token not in log
    assert all(
        "access_token" not in line and token not in line for each in front.gateways for line in each.lines
    )


async def test_no_code_for_another_device_is_in_the_log(front: Front) -> None:
    code = "bcdfghjk"
    for method in ("GET", "POST", "OPTIONS", "DELETE"):
        for path in (f"transfer/{code}", f"Transfer//{code}/"):
            await front.nobody(method, f"/api/v1/queue/{path}")
    await front.nobody("GET", "/api/v1/queue/status?at=the-end")
    async with asyncio.timeout(10):
        while "/api/v1/queue/status" not in (log := front.log.read_text()) or log.count("transfer") < 8:
            await asyncio.sleep(0.02)
    assert log.count(" /api/v1/queue/transfer/* ") == 8
    assert all(
        code not in line
        for lines in (log.splitlines(), *(each.lines for each in front.gateways))
        for line in lines
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
async def test_a_chunked_body_does_not_hold_up_the_next_request(front: Front, who: str, status: int) -> None:
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
    await asyncio.gather(*(person.updated(10.0) for person in people))
    began = asyncio.get_running_loop().time()
    seen: Counter[str] = Counter()
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(keep_calling(front, f"buyer-{number}", seen, stop))
            await front.restart(0)
            await front.restart(1)
            await asyncio.gather(*(person.updated(10.0) for person in people))
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


async def test_a_killed_gateway_costs_no_user_the_place(front: Front) -> None:
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


async def test_a_stream_that_finds_no_gateway_is_told_to_come_back_and_keeps_the_place(front: Front) -> None:
    """An EventSource gives up for good after any other status than 200."""
    user = front.user("waiting")
    await front.user("inside").lineup()
    ticket = (await user.lineup()).json["data"]["ticket"]
    for gateway in front.gateways:
        gateway.send(signal.SIGTERM)
    for gateway in front.gateways:
        assert await gateway.ended() == 0
    answer = await user("GET", "/api/v1/queue/stream", headers={"Origin": "https://shop.example"})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert re.fullmatch(r"retry: [2-5]000\n: no gateway can be reached\n\n", answer.body.decode())
    # Other calls say what is so.
    assert (await user("GET", "/api/v1/queue/status")).status == 502
    front.gateways[0] = await front.start(front.gateways[0].port)
    async with user.stream() as stream:
        assert (await stream.until("STATUS_UPDATE")).data["ticket"] == ticket


async def test_a_request_of_http_1_0_needs_no_host(front: Front) -> None:
    for host in ("", "Host: front.example\r\n"):
        status, answer = await front.raw("GET", "/api/v1/products/1", version="1.0", headers=host)
        assert status == 200, answer
        assert answer.partition(b"\r\n\r\n")[2]
    unnamed, named = (dict(seen["headers"]) for seen in front.service.seen[-2:])
    assert unnamed["X-Forwarded-Host"] == "_"  # the shipped server_name
    assert named["X-Forwarded-Host"] == "front.example"


async def test_an_answer_with_a_long_head_comes_through(front: Front) -> None:
    """NGINX's own 4 KB would make it 502."""
    answer = await front.nobody("GET", "/api/v1/products/1", headers={"X-Long": "6000"})
    assert answer.status == 200
    assert len(answer.headers["X-Long"]) == 6000


@pytest.mark.parametrize("number", [0, 1])
async def test_a_gateway_that_hangs_is_found_by_few_requests_too(front: Front, number: int) -> None:
    """So few that each has its own probe. In turns, all requests would go to the one and all probes to the other."""
    assert (await front.nobody("GET", "/api/v1/products/1")).status == 200
    front.gateways[number].send(signal.SIGSTOP)
    try:
        calls = []
        for _ in range(12):
            calls.append(asyncio.create_task(front.nobody("GET", "/api/v1/products/1")))
            await asyncio.sleep(0.8)
        answered = [call for call in calls if call.done()]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    finally:
        front.gateways[number].send(signal.SIGCONT)
    assert len(answered) >= 8
