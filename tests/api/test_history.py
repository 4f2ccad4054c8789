"""What happened to a user, over HTTP and from the command line."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from gateway.cli.main import main
from tests.support.gateway import Gateways

TOKEN = "operator-token-of-the-test"
HISTORY = "/actuator/rooms/default/history"


async def test_users_and_operators_read_what_happened(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN, allowed_in_max_capacity=1)
    operator = gateway.with_token(TOKEN)
    ann, bob = gateway.user("ann"), gateway.user("가")
    await ann.lineup()
    await bob.lineup()
    await ann("POST", "/api/v1/queue/leave")
    own = (await bob("GET", "/api/v1/queue/history")).json["data"]
    assert [(entry["event"], entry["reason"], entry["ticket"]) for entry in own] == [
        ("JOINED", None, 1),
        ("PROMOTED", None, 1),
    ]
    assert own[0]["at"] <= own[1]["at"]
    assert (await operator("GET", HISTORY, params={"id": "가"})).json["data"] == own
    found = (await operator("GET", "/actuator/rooms/default/users?id=ann")).json["data"]
    assert [(entry["event"], entry["ticket"]) for entry in found["endings"]] == [("LEFT", None)]
    assert (await operator("GET", f"{HISTORY}?id=nobody")).json["data"] == []
    for query in ("", "?id=", "?id=a&id=b", "?id=a%13", "?id=%1fvisitor:x", "?id=%7f"):
        assert (await operator("GET", HISTORY + query)).code == "BAD_REQUEST"
    assert (await bob("GET", "/api/v1/queue/history?room=none")).code == "ROOM_NOT_FOUND"


async def test_nobody_reads_what_happened_to_others(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    assert (await gateway.nobody("GET", f"{HISTORY}?id=u")).code == "TOKEN_REQUIRED"
    assert (await gateway.user("u")("GET", f"{HISTORY}?id=u")).code == "TOKEN_INVALID"
    assert (await gateway.nobody("GET", "/api/v1/queue/history")).code == "TOKEN_REQUIRED"


async def test_operators_end_the_history_and_see_the_setting(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN, queue_history_seconds=600.0)
    operator = gateway.with_token(TOKEN)
    room = "/actuator/rooms/default"
    shown = (await operator("GET", room)).json["data"]["settings"]["history"]
    assert shown == {"value": "600s", "from": "environment"}
    changed = (await operator("POST", room, json={"history": 0})).json["data"]["settings"]["history"]
    assert changed == {"value": "0s", "from": "operator"}
    user = gateway.user("u")
    await user.lineup()
    assert (await user("GET", "/api/v1/queue/history")).json["data"] == []


async def test_the_command_line_says_why_a_place_was_lost(
    gateways: Gateways, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = await gateways.start(management_token=TOKEN, allowed_in_max_capacity=1)
    for name in ("in", "u"):
        await gateway.user(name).lineup()
    assert (await gateway.with_token(TOKEN)("DELETE", "/actuator/rooms/default/users?id=u")).status == 200

    async def run(command: str, *words: str) -> str:
        arguments = ["room", command, *words, "--url", gateway.nobody.base]
        assert await asyncio.to_thread(main, arguments, {"OPERATOR_TOKEN": TOKEN}) == 0
        return capsys.readouterr().out

    lines = (await run("history", "u")).splitlines()
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(rf"{moment}  JOINED    ticket 1       joined the line", lines[0])
    assert re.fullmatch(
        rf"{moment}  REMOVED   ticket 1       was removed: an operator did it, see the audit", lines[1]
    )
    assert [entry["event"] for entry in json.loads(await run("history", "u", "--json"))] == [
        "JOINED",
        "REMOVED",
    ]
    assert await run("history", "nobody") == "nothing is known of this user\n"
    assert "endings                " in await run("find", "u")
    assert "REMOVED   ticket 1" in await run("find", "u")
