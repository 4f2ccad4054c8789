"""``gateway room`` in a process of its own, with a real gateway."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from gateway import __version__
from gateway.context import ROOMS
from tests.support.gateway import ROUTES, Gateways, Running

TOKEN = "operator-token-of-the-test"


async def test_watching_shows_changes_until_it_is_interrupted(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    url = gateway.nobody.base
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "room", "show", "--room", "default"),
        *("--watch", "0.1", "--json", "--url", url),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            first = json.loads(await process.stdout.readline())
            await gateway.with_token(TOKEN)("POST", "/actuator/rooms/default", json={"capacity": 7})
            while json.loads(await process.stdout.readline())["capacity"] != 7:
                pass
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert first["capacity"] == 1
    instance = gateway.app[ROOMS]["default"].presence.instance
    assert first["gateway"] == {"url": url, "instance": instance, "version": __version__}


async def room_command(gateway: Running, *words: str) -> tuple[int, str]:
    """Runs ``gateway room …`` with an operator's token; exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "room", *words, "--url", gateway.base),
        env=os.environ | {"OPERATOR_TOKEN": TOKEN},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_lanes_and_limits_are_shown_with_their_numbers(gateways: Gateways) -> None:
    lanes = "    lanes: [{name: members, share: 0.3, claim: tier, values: [gold]}]\n"
    gateway = await gateways.start(
        f"{ROUTES}rooms:\n  default:\n    capacity: 1\n{lanes}", management_token=TOKEN
    )
    for user, tier in (("ann", "none"), ("bob", "gold"), ("cid", "gold"), ("dan", "none")):
        assert (await gateway.user(user, tier=tier).lineup()).status == 200
    assert (await room_command(gateway, "set", "--duration", "5m"))[0] == 0
    status, shown = await room_command(gateway, "show", "--room", "default")
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert (status, lines["waiting"]) == (0, "3")
    assert lines["lanes"] == "members 2 (share 0.3), default 1 (share 0.7)"
    assert lines["settings"].startswith("capacity 1 (file), duration 300s (operator), ")
    status, found = await room_command(gateway, "find", "cid")
    lines = dict(line.split(maxsplit=1) for line in found.splitlines())
    assert (lines["state"], lines["lane"], lines["position"]) == ("WAITING", "members", "2")


async def test_an_operator_opens_a_sale_by_a_draw(gateways: Gateways, tmp_path: Path) -> None:
    """The commands of "Open a sale by a draw" in docs/how-to/operations.md."""

    def moment(seconds: float) -> str:
        return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat(timespec="milliseconds")

    prequeue = "{from: 1h, order: draw, beacon: a lottery}"
    rooms = f"rooms: {{default: {{opens_at: '{moment(600)}', prequeue: {prequeue}}}}}\n"
    gateway = await gateways.start(ROUTES + rooms, management_token=TOKEN)
    for name in ("ann", "bob", "cid"):
        assert (await gateway.user(name).lineup()).json["state"] == "REGISTERED"
    status, printed = await room_command(gateway, "draw")
    assert status == 0
    assert set(json.loads(printed)) == {"room", "commitment", "beacon"}
    status, printed = await room_command(gateway, "beacon", "7")
    assert status == 1
    assert "409 BEACON_TOO_EARLY" in printed
    status, printed = await room_command(gateway, "set", "--opens-at", "2026-12-01T20:30:00")
    assert status == 1
    assert "a moment with its zone" in printed
    status, printed = await room_command(gateway, "set", "--opens-at", "9999-12-31T23:59:59-05:00")
    assert status == 1
    assert "before the year 10000 in UTC" in printed
    status, printed = await room_command(gateway, "set", "--opens-at", moment(-1))
    assert status == 0, printed
    async with asyncio.timeout(30):
        while True:
            status, printed = await room_command(gateway, "show", "--room", "default")
            if "awaiting" in printed:
                break
    assert "registered             3" in printed
    assert f"opensAt                {datetime.now(UTC):%Y-%m-%d}T" in printed
    status, printed = await room_command(gateway, "beacon", "7", "--reason", "drawn at 20:05")
    assert (status, printed) == (0, "The beacon's value has been accepted.\n")
    file = tmp_path / "draw.json"
    async with asyncio.timeout(30):
        while True:
            status, printed = await room_command(gateway, "draw")
            file.write_text(printed)
            if "entries" in json.loads(printed):
                break
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "room", "verify", str(file)), stdout=asyncio.subprocess.DEVNULL
    )
    assert await asyncio.wait_for(process.wait(), 30) == 0
    status, printed = await room_command(gateway, "audit")
    assert "management  beacon" in printed
    assert "7  (drawn at 20:05)" in printed


async def test_an_operator_tells_users_something_and_puts_one_in_front(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN, allowed_in_max_capacity=0)
    for name in ("ann", "bob"):
        await gateway.user(name).lineup()

    async def data(*words: str) -> dict[str, object]:
        status, output = await room_command(gateway, *words, "--json")
        assert status == 0, output
        found: dict[str, object] = json.loads(output)
        return found

    assert (await data("notice", "Ten minutes later"))["notice"] == {"*": "Ten minutes later"}
    shown = await data("notice", "십 분 늦게", "--lang", "ko", "--reason", "late band")
    assert shown["notice"] == {"*": "Ten minutes later", "ko": "십 분 늦게"}
    assert "notice" not in await data("notice", "--clear")
    front = await data("front", "bob", "--reason", "a mistake of ours")
    assert (front["user"], front["state"], front["ticket"], front["position"]) == ("bob", "WAITING", -1, 1)
    assert (await room_command(gateway, "front", "nobody"))[0] == 1
    settings = (await data("set", "--stock", "37", "--lineup", "implicit"))["settings"]
    assert isinstance(settings, dict)
    assert settings["stock"] == {"value": 37, "from": "operator"}
    assert settings["lineup"] == {"value": "implicit", "from": "operator"}
    settings = (await data("set", "--lift"))["settings"]
    assert isinstance(settings, dict)
    assert settings["stock"] == {"value": "off", "from": "default"}
    for words in (("notice",), ("notice", "a", "--clear"), ("front",)):
        assert (await room_command(gateway, *words))[0] == 2
    status, output = await room_command(gateway, "history", "bob")
    assert status == 0
    assert "FRONT     ticket -1" in output
