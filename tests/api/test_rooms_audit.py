"""The audit over HTTP: who changed what, and why."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from pathlib import Path

import pytest

from gateway.cli.main import main
from tests.support.gateway import Gateways

TOKEN, ANNA, BOB = "operator-token-of-the-test", "annas-token-of-the-test", "bobs-token-of-the-test"
ROOM = "/actuator/rooms/default"


@pytest.fixture
def operators(tmp_path: Path) -> Path:
    people = [("anna", "act", ANNA), ("bob", "watch", BOB)]
    entries = (
        f"- {{name: {name}, role: {role}, sha256: '{hashlib.sha256(token.encode()).hexdigest()}'}}\n"
        for name, role, token in people
    )
    path = tmp_path / "operators.yaml"
    path.write_text("operators:\n" + "".join(entries))
    return path


async def test_each_change_is_in_the_audit_with_its_operator_and_reason(
    gateways: Gateways, operators: Path
) -> None:
    here = await gateways.start(operators_file=operators, management_token=TOKEN)
    there = await gateways.start(operators_file=operators)
    anna, bob, management = here.with_token(ANNA), there.with_token(BOB), here.with_token(TOKEN)
    await here.user("u").lineup()
    began = time.time() * 1000
    change = {"capacity": 7, "absent": "90s", "paused": True, "reason": "더 많은 서버 <b>"}
    assert (await anna("POST", ROOM, json=change)).status == 200
    assert (await management("POST", ROOM, json={"durationSeconds": 1.5})).status == 200
    assert (await management("DELETE", f"{ROOM}/users?id=u&reason=asked+for")).status == 200
    assert (await management("DELETE", f"{ROOM}/users?id=u&reason=again")).code == "NOT_IN_QUEUE"
    assert (await bob("POST", ROOM, json={"capacity": 1})).code == "ROLE_NOT_ALLOWED"
    assert (await anna("POST", ROOM, json={"capacity": -1})).code == "BAD_REQUEST"
    answer = await bob("GET", f"{ROOM}/audit")
    assert answer.status == 200
    entries = answer.json["data"]
    assert all(began - 60_000 < entry.pop("at") < began + 60_000 for entry in entries)
    by_anna = {"by": "anna", "reason": "더 많은 서버 <b>"}
    absent = {"act": "set", "setting": "absent", "from": "60s", "to": "90s"}
    by_management = {"by": "management", "reason": None}
    assert entries == [
        {
            "by": "management",
            "act": "remove",
            "setting": None,
            "user": "u",
            "from": "ALLOWED_IN",
            "to": "NONE",
            "reason": "asked for",
        },
        by_management | {"act": "set", "setting": "duration", "from": "240s", "to": "1.5s"},
        by_anna | absent,
        by_anna | {"act": "pause", "setting": "paused", "from": "false", "to": "true"},
        by_anna | {"act": "set", "setting": "capacity", "from": "1", "to": "7"},
    ]
    assert [entry["act"] for entry in (await bob("GET", f"{ROOM}/audit?limit=1")).json["data"]] == ["remove"]


async def test_the_audit_is_for_operators_even_where_reads_are_open(
    gateways: Gateways, operators: Path
) -> None:
    gateway = await gateways.start(operators_file=operators)
    assert (await gateway.nobody("GET", f"{ROOM}/audit")).code == "TOKEN_REQUIRED"
    assert (await gateway.with_token("wrong")("GET", f"{ROOM}/audit")).code == "TOKEN_INVALID"
    assert (await gateway.with_token(ANNA)("GET", "/actuator/rooms/none/audit")).code == "ROOM_NOT_FOUND"
    without = await gateways.start()
    assert (await without.with_token(ANNA)("GET", f"{ROOM}/audit")).code == "ROUTE_NOT_FOUND"


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "", "1&limit=1", "٣", "1" * 5000])
async def test_a_wrong_limit_is_refused(gateways: Gateways, limit: str) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    assert (await gateway.with_token(TOKEN)("GET", f"{ROOM}/audit?limit={limit}")).status == 400


@pytest.mark.parametrize("reason", [1, None, [], "x" * 201, "a\nb", "\x1b[2J", "\x85"])
async def test_a_wrong_reason_changes_nothing(gateways: Gateways, reason: object) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    operator = gateway.with_token(TOKEN)
    answer = await operator("POST", ROOM, json={"capacity": 7, "reason": reason})
    assert (answer.status, answer.json["error"]["fields"][0]["field"]) == (400, "reason")
    lone = await operator("POST", ROOM, data=b'{"capacity": 7, "reason": "\\ud800"}')
    assert lone.status == 400
    if isinstance(reason, str):
        await gateway.user("u").lineup()
        assert (await operator("DELETE", f"{ROOM}/users", params={"id": "u", "reason": reason})).status == 400
        assert (await gateway.user("u").status()).json["state"] == "ALLOWED_IN"
    assert (await operator("POST", ROOM, json={"reason": "only"})).status == 400
    assert (await operator("GET", f"{ROOM}/audit")).json["data"] == []


async def test_the_command_line_gives_reasons_and_shows_the_audit(
    gateways: Gateways, operators: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = await gateways.start(operators_file=operators)

    async def run(*words: str, token: str = ANNA) -> tuple[int, str, str]:
        arguments = ["room", *words, "--url", gateway.nobody.base]
        status = await asyncio.to_thread(main, arguments, {"OPERATOR_TOKEN": token})
        return status, *capsys.readouterr()

    assert (await run("set", "--capacity", "7", "--reason", "more servers"))[0] == 0
    assert (await run("pause", "--reason", "\u202ewait"))[0] == 0
    status, _, told = await run("resume", token=BOB)
    assert (status, "ROLE_NOT_ALLOWED" in told) == (1, True)
    status, out, _ = await run("audit", token=BOB)
    first, second = out.splitlines()
    assert status == 0
    assert first.endswith(r"  anna  pause  paused  false -> true  (\u202ewait)")
    assert second.endswith("  anna  set  capacity  1 -> 7  (more servers)")
    status, out, _ = await run("audit", "--json", "--limit", "1")
    assert [entry["reason"] for entry in json.loads(out)] == ["\u202ewait"]
