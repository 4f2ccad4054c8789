"""The page "From the day before a sale to the morning after": every command is run, in its order, as a sale goes on."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.context import ROOMS
from gateway.waiting_room.state import Phase
from tests.support.gateway import Gateways, Running

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "running-a-sale.md"
TOKEN = "operator-token-of-the-test"
OPENS_IN = 6.0
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The blocks of the page in this language, without their margin."""
    found = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    return [
        "".join(line.removeprefix(margin) for line in text.splitlines(keepends=True))
        for margin, of, text in found
        if of == language
    ]


class Shell:
    """Runs blocks of commands one after the other, each in a shell of its own, in one folder."""

    def __init__(self, gateway: Running, folder: Path) -> None:
        self.folder = folder
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        (bin_folder / "gateway").write_text(f'#!/bin/sh\nexec {sys.executable} -m gateway "$@"\n')
        (bin_folder / "gateway").chmod(0o755)
        self._environ = {
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "SERVER_PORT": gateway.base.rpartition(":")[2],
            "ROUTES_FILE": str(gateway.routes_file),
            "JWT_JWKS_URI": gateway.keys.uri,
            "REDIS_URL": "redis://127.0.0.1:6379",
            "OPERATOR_TOKEN": TOKEN,
        }

    async def __call__(self, commands: str) -> str:
        """What the commands print. Fails the test if one of them fails."""
        process = await asyncio.create_subprocess_exec(
            *(shutil.which("sh") or "sh", "-e", "-c", commands),
            cwd=self.folder,
            env=self._environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, f"{commands}\n{output.decode()}"
        return output.decode()


@pytest.fixture
async def sale(gateways: Gateways, tmp_path: Path) -> AsyncIterator[tuple[Running, Shell]]:
    [routes] = blocks("yaml")
    routes = routes.replace("http://127.0.0.1:9000", "%(service)s")
    async with gateways.running(routes, management_token=TOKEN, queue_status_interval_seconds=1) as gateway:
        yield gateway, Shell(gateway, tmp_path)


async def test_every_command_of_the_page(
    sale: tuple[Running, Shell], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, shell = sale
    commands = iter(blocks("sh"))
    users = {name: gateway.user(name) for name in ("user-1", "user-2", "user-3", "user-4", "user-5")}

    async def run(*expected: str) -> str:
        """The next block; its output has all of ``expected``."""
        block = next(commands)
        output = await shell(block)
        assert all(text in output for text in expected), f"{block}\n{output}"
        return output

    async def until(phase: Phase) -> None:
        async with asyncio.timeout(30):
            while (await gateway.app[ROOMS]["default"].opener.record()).phase is not phase:
                await asyncio.sleep(0.05)

    # The day before.
    await run("POST /api/orders", "a place is needed")
    await run("default", "capacity")
    opening = datetime.now(UTC) + timedelta(seconds=OPENS_IN)
    moment = next(commands).replace("2026-12-01T20:00:00+09:00", opening.isoformat(timespec="milliseconds"))
    await shell(moment)
    await run("rate")
    late = users.pop("user-5")
    for user in users.values():
        answer = await user.lineup()
        assert (answer.status, answer.json["state"]) == (200, "REGISTERED")

    # The opening.
    await run('"commitment"', '"beacon"')
    await until(Phase.AWAITING)
    await run('"root"')
    await run()
    await until(Phase.OPEN)

    # While it runs: a rate of two a second lets the second user in later.
    async with asyncio.timeout(20):
        while (await gateway.app[ROOMS]["default"].overview()).allowed_in < 2:
            await asyncio.sleep(0.05)
    await run("waiting")
    await run("500")
    await run("paused")
    waiting = (await late.lineup()).json
    assert waiting["state"] == "WAITING"
    assert waiting["data"]["notice"] == "We go on in ten minutes. Your place is safe."
    await run("user-5")
    await run()
    await run("200")
    await run()
    for user in (*users.values(), late):
        assert (await user.status()).json["state"] == "ALLOWED_IN"
    await run("user-1", "REGISTERED")
    await run()
    assert (await users["user-2"].status()).code == "NOT_IN_QUEUE"
    await run()
    assert (await users["user-2"].lineup()).code == "SOLD_OUT"
    assert (await users["user-1"].status()).json["state"] == "ALLOWED_IN"

    # The morning after.
    await run()
    assert "," in (shell.folder / "report.csv").read_text()
    await run("sold-out", "as announced", "a reseller")
    await run()
    await run("REMOVED", "an operator did it")
    await run("default")
    assert next(commands, None) is None
    # The file has two slots, and three users are inside.
    assert (await users["user-2"].lineup()).json["state"] == "WAITING"
