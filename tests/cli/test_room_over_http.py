"""``gateway room`` in a process of its own, with a real gateway."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

from gateway import __version__
from gateway.context import ROOMS
from tests.support.gateway import Gateways

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
