"""Services over TLS: both gateways pass on the same."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import connector

from tests.fast_path.rig import Pair, one, paired
from tests.fast_path.routes import ROUTES
from tests.fast_path.service import Do
from tests.fast_path.test_answers import SCRIPTS, TARGET, sized
from tests.fast_path.test_bodies import forms
from tests.support.certificates import tls_contexts
from tests.support.gateway import Gateways

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def over_tls(
    tmp_path_factory: pytest.TempPathFactory, package_gateways: Gateways
) -> AsyncIterator[Pair]:
    """Gateways with services over TLS, whose certificates they trust."""
    server, client = tls_contexts(tmp_path_factory.mktemp("tls"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connector, "_SSL_CONTEXT_VERIFIED", client)
        async with paired(package_gateways, ROUTES, server, proxy_response_timeout_seconds="5") as pair:
            yield pair


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("name", SCRIPTS)
async def test_answers(over_tls: Pair, name: str, method: str) -> None:
    script = SCRIPTS[name]
    if method == "HEAD" and "x" * 9 in str(script[0])[:2000]:
        script = (bytes(script[0]).split(b"\r\n\r\n")[0] + b"\r\n\r\n",)
    await over_tls.compare(one(f"{method} {TARGET}"), script)


async def test_bodies(over_tls: Pair) -> None:
    await over_tls.compare_all(forms("POST /open/a"))


async def test_a_kept_connection_that_dies(over_tls: Pair) -> None:
    for method, status in {"GET": 200, "POST": 502}.items():
        await over_tls.compare(one("GET /open/before"))
        outcome = await over_tls.compare(one(f"{method} {TARGET}"), (Do.DIE_IF_REUSED, sized(b"hello")))
        assert outcome.got.startswith(b"HTTP/1.1 %d " % status)
