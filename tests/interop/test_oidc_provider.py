"""Against a real OpenID provider (npm's oidc-provider), which is told nothing of the gateway, nor the gateway of its
keys: discovery, every kind of key, rotation and withdrawal.

Skipped where it is not installed: ``npm install`` in oidc_provider, or in a copy that GATEWAY_TEST_OIDC names.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.support.gateway import Gateways, Running

FOLDER = Path(os.environ.get("GATEWAY_TEST_OIDC", Path(__file__).parent / "oidc_provider"))

pytestmark = pytest.mark.skipif(
    not (FOLDER / "node_modules" / "oidc-provider").is_dir() or shutil.which("node") is None,
    reason="oidc-provider is not installed",
)
KINDS = ("RS256", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")


@dataclass
class Provider:
    """The provider as a process."""

    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    issuer: str = ""

    async def use(self, *keys: str) -> None:
        """Have these keys, each ``kid:alg``, and no others."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{' '.join(keys)}\n".encode())
        while not (line := await self.process.stdout.readline()).startswith(b"ready "):
            assert line, "the provider ended"
        self.issuer = f"http://127.0.0.1:{int(line.split()[1])}/realms/shop"

    async def token(self, alg: str) -> str:
        """An access token of the provider, signed with this algorithm."""
        form = {"grant_type": "client_credentials", "resource": f"urn:alg:{alg}"}
        login = aiohttp.encode_basic_auth("shop", "not-a-secret-of-anyone")
        async with self.session.post(
            f"{self.issuer}/token", data=form, headers={"Authorization": login}
        ) as answer:
            text = await answer.text()
            assert answer.status == 200, text
            return str((await answer.json())["access_token"])


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "node", "app.js", cwd=FOLDER, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with aiohttp.ClientSession() as session:
            yield Provider(process, session)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def started(gateways: Gateways, provider: Provider, *algorithms: str) -> Running:
    """A gateway that knows nothing but the issuer and is ready."""
    gateway = await gateways.start(
        jwt_jwks_uri="",
        jwt_issuer=provider.issuer,
        jwt_audience="other-api,shop-api",
        jwt_algorithms=",".join(algorithms),
    )
    async with asyncio.timeout(20):
        while (await gateway.nobody("GET", "/actuator/health/readiness")).status != 200:
            await asyncio.sleep(0.01)
    return gateway


async def code(gateway: Running, token: str) -> str:
    return (await gateway.with_token(token).status()).code


async def test_tokens_of_every_kind_of_key_are_good(gateways: Gateways, provider: Provider) -> None:
    await provider.use(*(f"key-{alg}:{alg}" for alg in KINDS), "secret:RSA-OAEP-256")
    gateway = await started(gateways, provider, *KINDS)
    health = (await gateway.nobody("GET", "/actuator/health")).json
    assert health["components"]["jwks"] == {"status": "UP", "details": {"keys": len(KINDS)}}
    for alg in KINDS:
        token = await provider.token(alg)
        assert await code(gateway, token) == "NOT_IN_QUEUE", alg
        head, claims, _ = token.split(".")
        other = (await provider.token(alg)).rpartition(".")[2]
        assert await code(gateway, f"{head}.{claims}.{other}") == "TOKEN_INVALID", alg


async def test_only_what_is_allowed_is_accepted(gateways: Gateways, provider: Provider) -> None:
    await provider.use("a:RS256", "b:ES256", "c:EdDSA", "d:PS256")
    gateway = await started(gateways, provider, "RS256")
    found = {
        alg: await code(gateway, await provider.token(alg)) for alg in ("RS256", "ES256", "EdDSA", "PS256")
    }
    assert found == dict.fromkeys(("ES256", "EdDSA", "PS256"), "TOKEN_INVALID") | {"RS256": "NOT_IN_QUEUE"}


async def test_a_rotation_is_noticed_by_the_first_token_and_a_withdrawal_counts(
    gateways: Gateways, provider: Provider
) -> None:
    await provider.use("old:RS256")
    gateway = await started(gateways, provider, "RS256", "ES256")
    old = await provider.token("RS256")
    assert await code(gateway, old) == "NOT_IN_QUEUE"
    # The new key beside the old one, of another kind at that.
    await provider.use("new:ES256", "old:RS256")
    new = await provider.token("ES256")
    assert await code(gateway, new) == "NOT_IN_QUEUE"
    assert await code(gateway, old) == "NOT_IN_QUEUE"
    # The old one is withdrawn. What tells of it is the next fetch: here that of a token of a third key.
    await provider.use("third:RS256", "new:ES256")
    third = await provider.token("RS256")
    async with asyncio.timeout(20):
        while await code(gateway, third) != "NOT_IN_QUEUE":
            await asyncio.sleep(0.2)  # unknown kids ask once in 5 s
    assert await code(gateway, old) == "TOKEN_INVALID"
    assert await code(gateway, new) == "NOT_IN_QUEUE"


async def test_tokens_of_another_issuer_with_the_same_keys_are_refused(
    gateways: Gateways, provider: Provider
) -> None:
    await provider.use("a:RS256")
    token = await provider.token("RS256")
    uri = f"{provider.issuer}/jwks"
    gateway = await gateways.start(jwt_jwks_uri=uri, jwt_issuer="http://127.0.0.1/realms/other")
    assert await code(gateway, token) == "TOKEN_INVALID"
    gateway = await gateways.start(jwt_jwks_uri=uri, jwt_issuer=provider.issuer, jwt_audience="other-api")
    assert await code(gateway, token) == "TOKEN_INVALID"
    gateway = await gateways.start(jwt_jwks_uri=uri, jwt_issuer=provider.issuer, jwt_audience="shop-api")
    assert await code(gateway, token) == "NOT_IN_QUEUE"
