"""Python's own web server, on a free port."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def web_server(*arguments: str, folder: Path) -> AsyncIterator[int]:
    """Runs ``python -u`` with ``arguments``, which start ``http.server`` on port 0; yields the port that it names."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", *arguments),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            line = (await process.stdout.readline()).decode()
        found = re.search(r"port (\d+)", line)
        assert found is not None, line
        yield int(found[1])
    finally:
        process.terminate()
        await process.wait()
