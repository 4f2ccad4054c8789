"""Real servers that tests talk to, started by a command that may be missing."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = Path(os.environ.get("GATEWAY_TEST_PEERS") or ROOT.parent / "shared" / "peers" / "peers")
ADMIN = Path(__file__).parent / "spring_admin" / "admin"
"""Starts a Spring Boot Admin server."""

FIRST_START_SECONDS = 240
"""The first start builds or downloads."""


def missing(command: Path = COMMAND, *, programs: Sequence[str] = ()) -> str:
    """Why no such server can be started here, or nothing. ``programs`` are those that it needs besides Java."""
    if not command.is_file():
        return f"no {command.name} beside the repository (GATEWAY_TEST_PEERS says where)"
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        return "no java"
    return next((f"no {each}" for each in programs if not shutil.which(each)), "")


@asynccontextmanager
async def peer(*arguments: str, command: Path = COMMAND) -> AsyncIterator[str]:
    """Runs one server until left; yields its base URL. Skips the test if it can't be built here."""
    if why := missing(command):
        pytest.skip(why)
    process = await asyncio.create_subprocess_exec(
        str(command), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    try:
        async with asyncio.timeout(FIRST_START_SECONDS):
            line = (await process.stdout.readline()).decode().split()
        if not line or line[0] != "ready":
            said = (await errors).decode(errors="replace")
            status = await process.wait()
            if status == 3:
                pytest.skip(f"{arguments[0]}: {said.strip().splitlines()[-1]}")
            raise AssertionError(f"{arguments[0]} did not start ({status}): {said[-2000:]}")
        yield line[1]
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await errors
