"""On uvloop, and with aiohttp's parser in Python, both gateways do the same too."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("loop", "parser"), [("uvloop", "C"), ("uvloop", "Python"), ("asyncio", "Python")])
async def test_both_gateways_do_the_same(own_redis: RedisServer, loop: str, parser: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "AIOHTTP_NO_EXTENSIONS"}
    if parser == "Python":
        environ["AIOHTTP_NO_EXTENSIONS"] = "1"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fast_path.elsewhere", loop, own_redis.url),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-4000:]
    ran_on, read_with, compared, fast = out.decode().split()
    assert (ran_on, read_with) == (loop, parser)
    assert int(compared) > 700
    assert int(fast) > 500
