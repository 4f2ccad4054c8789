"""A real Prometheus with the rules that are shipped, scraping a gateway every second."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules"
CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
ALERT_TESTS = DEPLOY / "prometheus" / "tests" / "alerts.yml"

_LISTENING = re.compile(r'msg="Listening on" address=(\S+)')


def executable(name: str) -> str | None:
    """Where ``prometheus`` or ``promtool`` is."""
    return shutil.which(name)


class Prometheus:
    """One that is up."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self._base = base
        self._session = session

    async def ask(self, path: str, **query: str) -> Any:
        """``data`` of an API answer; an error fails the test with what Prometheus says of it."""
        async with self._session.get(f"{self._base}/api/v1/{path}", params=query) as response:
            content = await response.json()
        assert content["status"] == "success", (query, content.get("error"))
        return content["data"]

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now."""
        result: list[dict[str, Any]] = (await self.ask("query", query=expression))["result"]
        return result

    async def firing(self) -> set[str]:
        """The names of the alarms that fire now."""
        alerts = (await self.ask("alerts"))["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


@asynccontextmanager
async def prometheus(folder: Path, target: str) -> AsyncIterator[Prometheus]:
    """Runs one on a free loopback port: the configuration that is shipped, but for the target and the tempo."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [f"{RULES}/*.yml"]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    program = executable("prometheus")
    assert program
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        stdout=subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    drain: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(30):
            base = await _address(process)
        drain = asyncio.create_task(_drain(process))
        async with aiohttp.ClientSession() as session:
            async with asyncio.timeout(30):
                # It listens before it has read its own data.
                while (await session.get(f"{base}/-/ready")).status != 200:
                    await asyncio.sleep(0.05)
            yield Prometheus(base, session)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        if drain is not None:
            await drain


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    lines = []
    async for raw in process.stderr:
        lines.append(raw.decode(errors="replace"))
        if found := _LISTENING.search(lines[-1]):
            return f"http://{found[1]}"
    raise AssertionError("".join(lines))


async def _drain(process: asyncio.subprocess.Process) -> None:
    """A full pipe would stop it."""
    assert process.stderr is not None
    async for _ in process.stderr:
        pass
