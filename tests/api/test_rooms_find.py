"""Finding a user over HTTP and from the command line."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.cli.main import main
from tests.support.gateway import Gateways

TOKEN = "operator-token-of-the-test"
USERS = "/actuator/rooms/default/users"


async def test_an_operator_finds_a_user(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    operator = gateway.with_token(TOKEN)
    for name in ("in", "가"):
        await gateway.user(name).lineup()
    allowed_in = (await operator("GET", f"{USERS}?id=in")).json["data"]
    assert allowed_in["state"] == "ALLOWED_IN"
    assert 0 < allowed_in["since"] <= allowed_in["lastSeen"]
    waiting = (await operator("GET", USERS, params={"id": "가"})).json["data"]
    assert waiting.pop("lastSeen") >= allowed_in["since"]
    assert waiting == {
        "user": "가",
        "state": "WAITING",
        "ticket": 1,
        "lane": None,
        "position": 1,
        "since": None,
        "streams": [],
        "endings": [],
    }
    assert (await operator("GET", f"{USERS}?id=none")).json["data"]["state"] == "NONE"
    for query in ("", "?id=", "?id=a&id=b", "?id=a%13", "?id=%1fvisitor:x", "?id=%7f"):
        assert (await operator("GET", USERS + query)).code == "BAD_REQUEST"
    assert (await operator("GET", "/actuator/rooms/none/users?id=a")).code == "ROOM_NOT_FOUND"


async def test_finding_a_user_needs_an_operator_even_where_reads_are_open(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    assert (await gateway.nobody("GET", f"{USERS}?id=u")).code == "TOKEN_REQUIRED"
    assert (await gateway.user("u")("GET", f"{USERS}?id=u")).code == "TOKEN_INVALID"


async def test_the_command_line_says_where_a_user_stands(
    gateways: Gateways, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    for name in ("in", "u"):
        await gateway.user(name).lineup()

    async def run(*words: str) -> str:
        arguments = ["room", "find", *words, "--url", gateway.nobody.base]
        assert await asyncio.to_thread(main, arguments, {"OPERATOR_TOKEN": TOKEN}) == 0
        return capsys.readouterr().out

    text = await run("u")
    assert "state                  WAITING\n" in text
    assert "position               1\n" in text
    assert "since" not in text
    assert "streams                none\n" in text
    assert json.loads(await run("in", "--json"))["state"] == "ALLOWED_IN"
