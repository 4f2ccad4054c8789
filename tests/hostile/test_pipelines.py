"""A connection is never deaf: for each sound request there is an answer, or an end that was announced.

The form in the suite is small and has a fixed seed. The long form::

    PIPELINE_REQUESTS=100000 PIPELINE_SEED=7 PIPELINE_SECONDS=3600 pytest tests/hostile/test_pipelines.py -s
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator

import pytest

from tests.hostile import pipelines
from tests.hostile.rig import ROUTES, Gateway, Start
from tests.support.tokens import Issuer

REQUESTS = int(os.environ.get("PIPELINE_REQUESTS", "800"))
SEED = int(os.environ.get("PIPELINE_SEED", "1"))


@pytest.fixture(params=["c", "python"])
async def before_a_service(request: pytest.FixtureRequest, start: Start) -> AsyncIterator[Gateway]:
    """A gateway of either parser, before a service that echoes."""
    async with pipelines.service() as url:
        yield start(
            request.param,
            routes=ROUTES.replace("%s", f"{url}%.0s"),
            max_request_body_bytes=str(pipelines.MOST_BODY),
            redis_key_prefix=f"pipelines-{request.param}:",
            # The service shares its process with all clients, and perhaps the machine with other tests.
            proxy_connect_timeout_seconds="20",
            redis_timeout_seconds="20",
        )


@pytest.mark.timeout(int(os.environ.get("PIPELINE_SECONDS", "120")))
async def test_each_sound_request_is_answered_or_the_end_announced(
    before_a_service: Gateway, issuer: Issuer
) -> None:
    gateway = before_a_service
    token = issuer.token("somebody", exp=int(time.time()) + 7200)
    try:
        tally = await pipelines.many(gateway.port, token, SEED, REQUESTS)
    finally:
        # Above all a traceback of asyncio's, which ends the connection when something is raised while it reads.
        assert [line for line in gateway.log.read_text().splitlines() if " ERROR " in line] == []
    print(f"\n{gateway.parser}: {tally}")
    # Most answers leave the connection open. All that a plan has behind an announced end is lost, and how many ends
    # there are depends on time: a refusal may overtake the body of its request.
    assert tally.announced.total() < tally.answered / 5
    assert tally.answered > tally.sent / 2
    assert gateway.process.poll() is None
