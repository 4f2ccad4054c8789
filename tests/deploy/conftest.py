"""Two gateway processes behind a real NGINX, with the configuration that is shipped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.deploy.rig import Front, nginx, nginx_executable
from tests.support.gateway import ROUTES, a_service
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.tokens import Issuer, serving


@pytest.fixture
async def front(tmp_path: Path, redis_url: str) -> AsyncIterator[Front]:
    """NGINX before two gateways that share one Redis, one slot in the room."""
    if nginx_executable() is None:
        pytest.skip("nginx is not installed")
    issuer = Issuer()
    async with AsyncExitStack() as stack:
        keys = await stack.enter_async_context(serving(issuer))
        service = await stack.enter_async_context(a_service())
        routes = tmp_path / "routes.yaml"
        routes.write_text(ROUTES % {"service": service.url})
        environ = {
            "REDIS_URL": redis_url,
            "JWT_JWKS_URI": keys.uri,
            "ROUTES_FILE": str(routes),
            "ALLOWED_IN_MAX_CAPACITY": "1",
            "TRUSTED_PROXIES": "127.0.0.1/32",
            "QUEUE_STATUS_INTERVAL_SECONDS": "1",
            # On one processor with everything else, nobody is an overload.
            "OVERLOAD_LAG_MS": "0",
        }

        async def start(port: int) -> GatewayProcess:
            return await stack.enter_async_context(
                gateway_process(environ | {"SERVER_PORT": str(port)}, tmp_path)
            )

        gateways = list(await asyncio.gather(start(0), start(0)))
        path = await stack.enter_async_context(nginx(tmp_path, [each.port for each in gateways]))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(path), limit=0),
                timeout=aiohttp.ClientTimeout(total=30),
            )
        )
        yield Front(gateways, service, issuer, session, tmp_path / "waiting-room.log", path, start)
