"""Opening times, the pre-queue and its draw over HTTP, up to a stranger who checks it with the downloaded file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.api import draw
from gateway.auth.jws import parse_jws
from gateway.cli.main import main
from gateway.context import ROOMS, SIGNING_KEYS
from gateway.waiting_room.draw_record import DrawRecord
from gateway.waiting_room.room import Room
from tests.api.test_queue_moves import signed_in
from tests.api.test_queue_visitors import Browser
from tests.support.gateway import ROUTES, Answer, Caller, Gateways, Running
from tests.support.waiting import eventually

DRAW = "/api/v1/queue/draw"
GATED = ("POST", "/api/v1/reservations")
OPERATOR = {"Authorization": "Bearer opener"}
ON = {"management_token": "opener"}


def moment(seconds: float) -> str:
    """So many seconds from now, as an operator writes it."""
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat(timespec="milliseconds")


def routes(opens_in: float, prequeue: str = "{from: 1h, order: draw}", more: str = "") -> str:
    return (
        ROUTES
        + f"rooms: {{default: {{capacity: 1, opens_at: '{moment(opens_in)}', prequeue: {prequeue}{more}}}}}\n"
    )


async def operate(gateway: Running, method: str, path: str, **body: Any) -> Answer:
    options = {"json": body} if body else {}
    return await gateway.nobody(method, f"/actuator/rooms/default{path}", headers=OPERATOR, **options)


async def open_now(gateway: Running) -> None:
    """An operator moves the moment to now."""
    answer = await operate(gateway, "POST", "", opens_at=moment(-0.5))
    assert answer.status == 200, answer.body


async def published_to(user: Caller) -> Answer:
    """What the user sees of the draw once everything is published: an instance reads it once a second."""
    async with asyncio.timeout(5):
        while "secret" not in (answer := await user("GET", DRAW)).json["data"]:
            await asyncio.sleep(0.05)
    return answer


async def phase_is(gateway: Running, phase: str) -> None:
    async def reached() -> bool:
        return bool((await operate(gateway, "GET", "")).json["data"].get("opening") == phase)

    async with asyncio.timeout(20):
        while not await reached():
            await asyncio.sleep(0.02)


async def test_a_closed_room_says_when_it_opens(gateways: Gateways) -> None:
    gateway = await gateways.start(routes(7200))
    answer = await gateway.user("kim").lineup()
    assert (answer.status, answer.code) == (503, "ROOM_CLOSED")
    data = answer.json["data"]
    assert data["room"] == "default"
    assert abs(data["opensAt"] / 1000 - time.time() - 7200) < 60
    assert data["opensAt"] - data["registersAt"] == 3_600_000
    assert 60 <= int(answer.headers["Retry-After"]) <= 300
    assert (await gateway.user("kim").status()).status == 404
    assert (await gateway.user("kim")(*GATED)).status == 403


async def test_a_closed_room_is_asked_again_when_users_can_register_or_soon_after_it_opens(
    gateways: Gateways,
) -> None:
    gateway = await gateways.start(routes(3630))
    answers = [await gateway.user("kim").lineup() for _ in range(5)]
    assert {answer.code for answer in answers} == {"ROOM_CLOSED"}
    assert all(int(answer.headers["Retry-After"]) <= 30 for answer in answers)
    plain = routes(20, "off").replace(", prequeue: off", "")
    gateway = await gateways.start(plain)
    answers = [await gateway.user("kim").lineup() for _ in range(20)]
    waits = {int(answer.headers["Retry-After"]) for answer in answers}
    assert max(waits) <= 31
    assert len(waits) > 1
    assert all("registersAt" not in answer.json["data"] for answer in answers)


async def test_operators_see_that_a_room_has_closed_after_its_opening(gateways: Gateways) -> None:
    gateway = await gateways.start(routes(600, "{from: 1h}"), **ON)
    await gateway.user("kim").lineup()
    await open_now(gateway)
    await phase_is(gateway, "open")
    assert (await operate(gateway, "POST", "", closes_at=moment(-0.1))).status == 200
    assert (await operate(gateway, "GET", "")).json["data"]["opening"] == "closed"


@pytest.mark.parametrize("fast_path", [True, False])
async def test_a_registered_user_sees_the_opening_and_gets_a_receipt(
    gateways: Gateways, fast_path: bool
) -> None:
    gateway = await gateways.start(routes(600), fast_path=fast_path)
    kim = gateway.user("kim")
    first = await kim.lineup()
    await gateway.user("lee").lineup()
    answer = await kim.lineup()
    assert (answer.status, answer.json["state"]) == (200, "REGISTERED")
    data = answer.json["data"]
    assert set(data) == {"room", "opensAt", "serverTime", "registered", "receipt"}
    assert (data["room"], data["registered"]) == ("default", 2)
    assert abs(data["serverTime"] / 1000 - time.time()) < 60
    assert 0 < data["opensAt"] - data["serverTime"] <= 600_000
    receipts = [parse_jws(each.json["data"]["receipt"]) for each in (first, answer)]
    assert receipts[0].claims["salt"] == receipts[1].claims["salt"]
    assert len(str(receipts[0].claims["salt"])) == 32
    status = await kim.status()
    assert status.json["state"] == "REGISTERED"
    assert set(status.json["data"]) == {"room", "opensAt", "serverTime", "registered"}
    gated = await kim(*GATED)
    assert (gated.status, gated.code, gated.json["state"]) == (429, "QUEUE_WAITING", "REGISTERED")
    assert gateways.service.seen == []


async def test_without_a_draw_there_is_no_receipt_and_no_draw(gateways: Gateways) -> None:
    gateway = await gateways.start(routes(600, "{from: 1h}"))
    answer = await gateway.user("kim").lineup()
    assert "receipt" not in answer.json["data"]
    answer = await gateway.user("kim")("GET", DRAW)
    assert (answer.status, answer.code) == (404, "NO_DRAW")


async def test_a_stream_shows_the_registration_and_then_the_place(gateways: Gateways) -> None:
    gateway = await gateways.start(routes(600, "{from: 1h}"), **ON, queue_status_interval_seconds=1)
    kim, lee = gateway.user("kim"), gateway.user("lee")
    await kim.lineup()
    await lee.lineup()
    async with kim.stream() as first, lee.stream() as second:
        event = await second.until("REGISTERED")
        assert event.data["registered"] == 2
        await open_now(gateway)
        assert (await first.until("ALLOWED_IN")).data["room"] == "default"
        assert (await second.until("STATUS_UPDATE")).data["userQueuePosition"] == 1


async def test_leaving_ends_the_registration_and_its_stream(gateways: Gateways) -> None:
    gateway = await gateways.start(routes(600, "{from: 1h}"))
    kim = gateway.user("kim")
    await kim.lineup()
    async with kim.stream() as stream:
        await stream.until("REGISTERED")
        assert (await kim("DELETE", "/api/v1/queue/waiting-token")).status == 200
        assert (await stream.until("ERROR")).data["reason"] == "LEFT"
    assert (await kim.status()).status == 404


async def test_operators_see_the_numbers_and_move_the_moment(gateways: Gateways) -> None:
    gateway = await gateways.start(routes(600), **ON)
    await gateway.user("kim").lineup()
    shown = (await operate(gateway, "GET", "")).json["data"]
    assert (shown["registered"], shown["opening"]) == (1, "gathering")
    assert shown["settings"]["opens_at"]["from"] == "file"
    assert shown["settings"]["prequeue"] == {"value": "3600s", "from": "file"}
    changed = await operate(gateway, "POST", "", opens_at="2099-12-01T20:00:00+09:00", closes_at="off")
    settings = changed.json["data"]["settings"]
    assert settings["opens_at"] == {"value": "2099-12-01T11:00:00Z", "from": "operator"}
    assert settings["closes_at"] == {"value": "off", "from": "operator"}
    refused = await operate(gateway, "POST", "", opens_at="2099-12-01T20:00:00")
    assert (refused.status, refused.json["error"]["fields"][0]["field"]) == (400, "opens_at")
    assert (await operate(gateway, "POST", "", prequeue="1h")).status == 400
    found = await operate(gateway, "GET", "/users?id=kim")
    assert found.json["data"]["state"] == "REGISTERED"


def verified(*args: object) -> int:
    return main(["room", "verify", *map(str, args)])


async def test_a_stranger_verifies_the_draw_with_the_downloaded_files(
    gateways: Gateways, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = await gateways.start(routes(600, "{from: 1h, order: draw, beacon: a lottery}"), **ON)
    users = [gateway.user(f"user-{number}") for number in range(7)]
    receipts = [(await user.lineup()).json["data"]["receipt"] for user in users]
    before = (await users[0]("GET", DRAW)).json["data"]
    assert set(before) == {"room", "commitment", "beacon"}
    assert before["beacon"] == {"name": "a lottery"}
    early = await operate(gateway, "POST", "/beacon", value="7")
    assert (early.status, early.code) == (409, "BEACON_TOO_EARLY")

    await open_now(gateway)
    await phase_is(gateway, "awaiting")
    closed = (await operate(gateway, "GET", "/draw")).json["data"]
    assert (closed["size"], set(closed)) == (7, {"room", "commitment", "beacon", "root", "size"})
    assert (await users[3].status()).json["state"] == "REGISTERED"
    late = (await gateway.user("late").lineup()).json["data"]
    assert (late["ticket"], late["userQueuePosition"], late["totalQueueSize"]) == (8, 8, 8)

    assert (await operate(gateway, "POST", "/beacon", value="7", reason="as drawn on TV")).status == 200
    again = await operate(gateway, "POST", "/beacon", value="8")
    assert (again.status, again.code) == (409, "BEACON_KNOWN")
    await phase_is(gateway, "open")

    keys, whole = tmp_path / "pass-keys.json", tmp_path / "draw.json"
    await gateway.keys_known()
    keys.write_bytes((await gateway.nobody("GET", "/api/v1/queue/pass-keys.json")).body)
    whole.write_bytes((await operate(gateway, "GET", "/draw")).body)
    noted = ("--commitment", before["commitment"], "--root", closed["root"])
    assert verified(whole, *noted) == 0
    ranks = {}
    for number, user in enumerate(users):
        mine = tmp_path / f"{number}.json"
        mine.write_bytes((await published_to(user)).body)
        assert verified(mine, *noted, "--user", f"user-{number}", "--keys", keys) == 0
        assert verified(whole, "--receipt", receipts[number], "--user", f"user-{number}", "--keys", keys) == 0
        ranks[number] = json.loads(mine.read_bytes())["data"]["rank"]
        status = await user.status()
        if ranks[number] == 1:
            assert status.json["state"] == "ALLOWED_IN"
        else:
            place = status.json["data"]
            assert (place["ticket"], place["userQueuePosition"]) == (ranks[number], ranks[number] - 1)
    assert sorted(ranks.values()) == list(range(1, 8))
    assert "rank" not in (await gateway.user("late")("GET", DRAW)).json["data"]
    capsys.readouterr()

    forged = json.loads(whole.read_bytes())
    forged["data"]["entries"].reverse()
    whole.write_text(json.dumps(forged))
    assert verified(whole, *noted) == 1
    (entry,) = [
        each for each in (await operate(gateway, "GET", "/audit")).json["data"] if each["act"] == "beacon"
    ]
    assert (entry["to"], entry["by"], entry["reason"]) == ("7", "management", "as drawn on TV")


async def test_the_secret_is_published_to_nobody_before_the_opening(gateways: Gateways) -> None:
    gateway = await gateways.start(routes(600, "{from: 1h, order: draw, beacon: a lottery}"), **ON)
    kim = gateway.user("kim")
    await kim.lineup()
    room = gateway.app[ROOMS]["default"]
    record = await room.opener.record()
    bodies = [(await kim("GET", DRAW)).body, (await operate(gateway, "GET", "/draw")).body]
    await open_now(gateway)
    await phase_is(gateway, "awaiting")
    room.draws._good_until = 0.0
    bodies += [(await kim("GET", DRAW)).body, (await operate(gateway, "GET", "/draw")).body]
    bodies += [(await operate(gateway, "GET", "")).body, (await kim.lineup()).body]
    for body in bodies:
        assert record.secret.encode() not in body
        assert record.salt_key.encode() not in body


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"no",
        b"{}",
        b'{"value": ""}',
        b'{"value": 7}',
        b'{"value": "a\\u0000"}',
        b'{"value": "1", "x": 1}',
    ],
)
async def test_a_bad_beacon_is_refused(gateways: Gateways, body: bytes) -> None:
    gateway = await gateways.start(routes(600), **ON)
    answer = await gateway.nobody("POST", "/actuator/rooms/default/beacon", headers=OPERATOR, data=body)
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")


async def test_a_room_without_a_pre_queue_has_no_draw_and_no_beacon(gateways: Gateways) -> None:
    gateway = await gateways.start(**ON)
    for method, path, body in (("GET", "/draw", {}), ("POST", "/beacon", {"value": "7"})):
        answer = await operate(gateway, method, path, **body)
        assert (answer.status, answer.code) == (404, "NO_DRAW")


async def test_receipts_need_a_key_and_the_registration_stands_without_one(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await gateways.start(routes(600))
    keys = gateway.app[SIGNING_KEYS]
    with monkeypatch.context() as patch:
        patch.setattr(keys, "sign", lambda typ, claims: None)
        answer = await gateway.user("kim").lineup()
    assert (answer.status, answer.code) == (503, "QUEUE_UNAVAILABLE")
    answer = await gateway.user("kim").lineup()
    assert answer.json["data"]["registered"] == 1
    assert answer.json["data"]["receipt"]


LINEUP, TRANSFER = "/api/v1/queue/lineup", "/api/v1/queue/transfer"
FOR_VISITORS = ", identity: either"


async def registered_visitor(gateway: Running) -> tuple[Browser, str]:
    """A visitor who is registered, and the receipt."""
    browser = Browser(gateway)
    await browser("POST", LINEUP)
    return browser, str((await browser("POST", LINEUP)).json["data"]["receipt"])


async def test_a_registration_that_moves_brings_the_new_receipt(gateways: Gateways) -> None:
    gateway = await gateways.start(routes(600, more=FOR_VISITORS))
    (ann, first), (bob, second) = await registered_visitor(gateway), await registered_visitor(gateway)
    code = (await bob("POST", TRANSFER)).json["data"]["code"]
    phone = Browser(gateway)
    await phone("POST", LINEUP)
    for answer in (await signed_in(gateway, ann)("POST", LINEUP), await phone("POST", f"{TRANSFER}/{code}")):
        assert answer.json["state"] == "REGISTERED"
        assert answer.json["data"]["registered"] == 2
        assert answer.json["data"]["receipt"] not in {first, second}


async def test_during_the_opening_a_registration_moves_nowhere_and_no_code_is_used(
    gateways: Gateways,
) -> None:
    beacon = "{from: 1h, order: draw, beacon: a lottery}"
    gateway = await gateways.start(routes(600, beacon, FOR_VISITORS), **ON)
    ann, _ = await registered_visitor(gateway)
    code = (await ann("POST", TRANSFER)).json["data"]["code"]
    phone = Browser(gateway)
    await phone("GET", "/api/v1/queue/status")
    await open_now(gateway)
    await phase_is(gateway, "awaiting")
    kim = signed_in(gateway, ann)
    for answer in (await kim("POST", LINEUP), await phone("POST", f"{TRANSFER}/{code}")):
        assert (answer.status, answer.code) == (503, "QUEUE_UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) >= 1
    assert (await gateway.user("kim").status()).status == 404
    assert (await operate(gateway, "POST", "/beacon", value="7")).status == 200
    await phase_is(gateway, "open")
    assert (await phone("POST", f"{TRANSFER}/{code}")).json["state"] == "ALLOWED_IN"
    assert (await phone("POST", f"{TRANSFER}/{code}")).code == "TRANSFER_CODE_INVALID"


@pytest.mark.parametrize("later", ["while it is computed", "afterwards"])
async def test_a_client_that_gives_up_does_not_make_the_next_one_begin_anew(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch, later: str
) -> None:
    """A large draw takes seconds to compute, and a proxy in front gives up before."""
    asked, begun, go_on = 0, 0, asyncio.Event()
    load, compute = draw.Draws._load, draw._computed

    async def loaded(draws: draw.Draws, room: Room, record: DrawRecord) -> object:
        nonlocal asked
        asked += 1
        return await load(draws, room, record)

    async def computed(room: Room, record: DrawRecord) -> object:
        nonlocal begun
        begun += 1
        await go_on.wait()
        return await compute(room, record)

    monkeypatch.setattr(draw.Draws, "_load", loaded)
    monkeypatch.setattr(draw, "_computed", computed)
    gateway = await gateways.start(routes(3600), **ON)
    user = gateway.user("a")
    assert (await user.lineup()).json["state"] == "REGISTERED"
    await open_now(gateway)
    await phase_is(gateway, "open")
    async with asyncio.timeout(10):
        while not begun:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.3):
                    await user("GET", DRAW)
    if later == "afterwards":
        go_on.set()
        await eventually(lambda: not gateway.app[draw.DRAWS]._loading)
    before = asked
    second = asyncio.create_task(published_to(user))
    await eventually(lambda: asked > before)
    go_on.set()
    assert (await second).json["data"]["rank"] == 1
    assert begun == 1


async def test_draws_that_are_asked_for_in_turn_take_a_part_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More draws than an instance keeps: each call makes it compute one anew."""
    loop, slept = asyncio.get_running_loop(), list[float]()
    began = loop.time()
    passed = 0.0

    async def computed(room: object, record: object) -> object:
        nonlocal passed
        passed += 2.0
        return object()

    async def sleep(seconds: float) -> None:
        nonlocal passed
        slept.append(max(0.0, seconds))
        passed += slept[-1]

    monkeypatch.setattr(draw, "_computed", computed)
    monkeypatch.setattr(draw.asyncio, "sleep", sleep)
    monkeypatch.setattr(loop, "time", lambda: began + passed)
    draws = draw.Draws()
    for at in (0, 1, 2, 3, 3, 4, 4, 5, 0):
        room: Any = SimpleNamespace(name=f"r{at}")
        record: Any = SimpleNamespace(commitment="c")
        await draws._load(room, record)
    assert [round(each, 6) for each in slept] == [0, 0, 0, 0, 0, 6, 6]


async def test_a_stop_does_not_wait_for_a_draw(gateways: Gateways, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def computed(room: Room, record: DrawRecord) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(draw, "_computed", computed)
    async with gateways.running(routes(3600), **ON) as gateway:
        user = gateway.user("a")
        await user.lineup()
        await open_now(gateway)
        await phase_is(gateway, "open")
        asking = asyncio.create_task(user("GET", DRAW))
        await asyncio.wait_for(begun.wait(), 10)
        asking.cancel()
        draws = gateway.app[draw.DRAWS]
    assert not draws._loading
