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
