"""Operators close, reopen, sell out and empty a room over HTTP, and users hear of it."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.api.room_acts import Order, parse_order
from gateway.errors import BadRequest
from tests.support.gateway import Answer, Caller, Gateways, Running

TOKEN = "operator-token-of-the-test"
ROOM = "/actuator/rooms/default"
BUY = ("POST", "/api/v1/reservations")
NOW = 1_800_000_000.0


async def act(gateway: Running, name: str, **order: Any) -> Answer:
    return await gateway.with_token(TOKEN)("POST", f"{ROOM}/{name}", **({"json": order} if order else {}))


async def code(user: Caller) -> str:
    answer = await user.status()
    return str(answer.json["state"]) if answer.status == 200 else answer.code


async def test_a_closed_room_says_so_at_lineup_and_the_line_goes_on(gateways: Gateways) -> None:
    here, there = await gateways.start(management_token=TOKEN), await gateways.start()
    inside, waiting, new = (there.user(name) for name in ("inside", "waiting", "new"))
    await inside.lineup()
    await waiting.lineup()
    shown = (await act(here, "close")).json["data"]
    assert (shown["closed"], shown["soldOut"], "opensAt" in shown) == (True, False, False)
    refused = await new.lineup()
    assert (refused.status, refused.code) == (503, "ROOM_CLOSED")
    assert refused.json["data"] == {"room": "default"}
    assert 60 <= int(refused.headers["Retry-After"]) <= 300
    assert (await inside(*BUY)).status == 200
    await inside("POST", "/api/v1/queue/leave")
    assert await code(waiting) == "ALLOWED_IN"
    assert await code(new) == "NOT_IN_QUEUE"
    assert not (await act(here, "reopen", reason="stock")).json["data"]["closed"]
    assert (await new.lineup()).json["state"] == "WAITING"


async def test_a_room_closed_until_a_moment_says_when_it_opens(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    opens = round(time.time() + 30) * 1000
    text = datetime.fromtimestamp(opens / 1000, UTC).isoformat()
    assert (await act(gateway, "close", until=text)).json["data"]["opensAt"] == opens
    refused = await gateway.user("new").lineup()
    assert refused.json["data"] == {"room": "default", "opensAt": opens}
    # Spread over ten seconds after the opening, so that not all come at once.
    assert 20 <= int(refused.headers["Retry-After"]) <= 41
    soon = round(time.time() * 1000) + 200
    await act(gateway, "close", until=soon)
    while (answer := await gateway.user("new").lineup()).status == 503:
        assert time.time() * 1000 < soon + 10_000
    assert answer.json["state"] == "ALLOWED_IN"
    entries = (await gateway.with_token(TOKEN)("GET", f"{ROOM}/audit")).json["data"]
    assert [(entry["act"], entry["from"]) for entry in entries][-1] == ("close", "open")
    assert entries[-1]["to"] == f"closed until {text.replace('+00:00', 'Z')}"


async def test_a_sold_out_room_tells_everyone_outside(gateways: Gateways) -> None:
    here, there = await gateways.start(management_token=TOKEN), await gateways.start()
    inside, waiting, new = (there.user(name) for name in ("inside", "waiting", "new"))
    await inside.lineup()
    await waiting.lineup()
    async with waiting.stream() as stream:
        assert await stream.until("STATUS_UPDATE")
        assert (await act(here, "sold-out")).json["data"]["soldOut"] is True
        told = await stream.until("ERROR")
        assert told.data == {"code": "SOLD_OUT", "message": "Sold out."}
    for user in (waiting, new):
        for answer in (await user.lineup(), await user.status(), await user(*BUY)):
            assert (answer.status, answer.code) == (410, "SOLD_OUT")
        async with user.stream() as stream:
            assert (await stream.until("ERROR")).data["code"] == "SOLD_OUT"
    assert (await inside(*BUY)).status == 200
    assert (await inside.lineup()).json["state"] == "ALLOWED_IN"
    async with inside.stream() as stream:
        assert await stream.until("ALLOWED_IN")
    await act(here, "reopen")
    assert await code(waiting) == "NOT_IN_QUEUE"
    assert (await new.lineup()).json["state"] == "WAITING"


async def test_emptying_tells_the_streams_that_an_operator_did_it(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    inside, waiting = gateway.user("inside"), gateway.user("waiting")
    await inside.lineup()
    await waiting.lineup()
    async with waiting.stream() as stream:
        assert await stream.until("STATUS_UPDATE")
        shown = (await act(gateway, "empty", reason="a rehearsal")).json["data"]
        assert (shown["waiting"], shown["allowedIn"], shown["soldOut"]) == (0, 1, False)
        told = await stream.until("ERROR")
        assert (told.data["code"], told.data["reason"]) == ("REMOVED", "OPERATOR")
    assert (await waiting.lineup()).json["state"] == "WAITING"


async def test_pausing_is_an_act_too_and_reopening_does_not_lift_it(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    assert (await act(gateway, "pause")).json["data"]["paused"] is True
    await act(gateway, "sold-out")
    shown = (await act(gateway, "reopen")).json["data"]
    assert (shown["paused"], shown["soldOut"]) == (True, False)
    assert (await act(gateway, "resume")).json["data"]["paused"] is False
    assert (await act(gateway, "sold-out")).json["data"]["paused"] is False


async def test_only_operators_who_may_act_do(gateways: Gateways, tmp_path: Path) -> None:
    entry = f"{{name: bob, role: watch, sha256: '{hashlib.sha256(b'bobs-token-of-the-test').hexdigest()}'}}"
    (tmp_path / "operators.yaml").write_text(f"operators: [{entry}]")
    gateway = await gateways.start(operators_file=tmp_path / "operators.yaml", management_token=TOKEN)
    for name in ("pause", "resume", "close", "reopen", "sold-out", "empty"):
        path = f"{ROOM}/{name}"
        assert (await gateway.with_token("bobs-token-of-the-test")("POST", path)).code == "ROLE_NOT_ALLOWED"
        assert (await gateway.nobody("POST", path)).code == "TOKEN_REQUIRED"
        assert (await gateway.with_token(TOKEN)("GET", path)).status == 405
        elsewhere = await gateway.with_token(TOKEN)("POST", f"/actuator/rooms/nowhere/{name}")
        assert elsewhere.code == "ROOM_NOT_FOUND"
    bad = await gateway.with_token(TOKEN)("POST", f"{ROOM}/empty", json={"until": 5})
    assert (bad.status, bad.json["error"]["fields"][0]["field"]) == (400, "until")


@pytest.mark.parametrize(
    ("body", "order"),
    [
        (b"", Order()),
        (b"{}", Order()),
        (b'{"reason": "why"}', Order("why")),
        (b'{"until": 1800000000001}', Order("", 1_800_000_000_001)),
        (b'{"until": "2027-01-15T17:00:00.5+09:00"}', Order("", 1_800_000_000_500)),
        (b'{"until": "2027-01-15T08:00:01Z"}', Order("", 1_800_000_001_000)),
    ],
)
def test_orders(body: bytes, order: Order) -> None:
    assert parse_order(body, "close", NOW) == order


@pytest.mark.parametrize(
    "body",
    [
        *(b"x", b"[]", b"1", b'{"reason": 5}', b'{"reason": "\\n"}', b'{"other": 1}'),
        *(b'{"until": "2027-01-15T17:00:00"}', b'{"until": "soon"}', b'{"until": true}', b'{"until": null}'),
        *(
            b'{"until": 1800000000000}',
            b'{"until": 1e300}',
            b'{"until": 99999999999999999}',
            b'{"until": []}',
        ),
        *(b'{"until": "2027-01-15T16:59:59+09:00"}', b'{"until": NaN}', b"[" * 5000),
    ],
)
def test_orders_that_are_not_valid(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_order(body, "close", NOW)
