"""Servers on free ports."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


@asynccontextmanager
async def listening(runner: web.BaseRunner[Any], tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serves on a free loopback port, over TLS if that is given; yields the base URL."""
    try:
        # What was started before a failure is ended too.
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        host, port = runner.addresses[0][:2]
        yield f"{'http' if tls is None else 'https'}://{host}:{port}"
    finally:
        await runner.cleanup()
