"""The OpenAPI document is held against a gateway that runs, by a tool that makes requests of every kind out of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.gateway_process import gateway_process
from tests.support.tokens import Issuer, serving

TOKEN = "operator-token-of-the-test"

pytestmark = pytest.mark.skipif(find_spec("schemathesis") is None, reason="schemathesis is not installed")

# Who calls, and what: a user's token and the operator's have the same place in a request. A gateway answers the
# eleventh wrong token of a minute with 429, and each operation is tried with one, so operators have a gateway for each
# part.
RUNS = [
    ("user", "--include-tag Queue --include-tag Stream"),
    ("operator", "--include-tag Actuator --include-tag Docs"),
    ("operator", "--include-tag Rooms --exclude-method POST --exclude-method DELETE"),
    ("operator", "--include-tag Rooms --exclude-method GET --exclude-operation-id closeRoom"),
    # No schema can say that the moment when a closed room reopens must be in the future.
    ("operator", "--include-operation-id closeRoom --exclude-checks positive_data_acceptance"),
]


@pytest.fixture
async def running(tmp_path: Path, redis_url: str) -> AsyncIterator[tuple[str, Issuer]]:
    issuer = Issuer()
    async with serving(issuer) as keys:
        environ = {
            "REDIS_URL": redis_url,
            "JWT_JWKS_URI": keys.uri,
            # Nobody waits: the stream of somebody waiting has no end.
            "ALLOWED_IN_MAX_CAPACITY": "10000",
            "MANAGEMENT_TOKEN": TOKEN,
            "CONFIG_SERVER_WEBHOOK_SECRET": "secret-of-the-webhook",
            "INVITE_SECRETS": "secret-of-the-invitations",
            # A busy machine must not look like a busy gateway.
            "OVERLOAD_LAG_MS": "0",
            "ACCESS_LOG": "false",
        }
        async with gateway_process(environ, tmp_path) as gateway:
            yield gateway.base, issuer


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("who", "what"), RUNS)
async def test_the_gateway_does_what_its_document_says(
    running: tuple[str, Issuer], tmp_path: Path, who: str, what: str
) -> None:
    base, issuer = running
    token = issuer.token("user-1") if who == "user" else TOKEN
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{base}/v3/api-docs"),
        *("--header", f"Authorization: Bearer {token}"),
        *what.split(),
        *("--checks", "all", "--max-examples", "20", "--request-timeout", "20"),
        # Without this, tokens are made up that no query may hold. That tokens are checked is a check of its own.
        *("--generation-with-security-parameters", "false"),
        *("--generation-deterministic", "--no-color"),
        # A busy machine is nobody's fault.
        *("--suppress-health-check", "too_slow"),
    ]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()
