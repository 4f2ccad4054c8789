"""What Spring Cloud Gateway was seen to do with the filter Retry, repeated with a whole gateway."""

from __future__ import annotations

from typing import Any

import pytest

from tests.resilience.rig import answer, routes, scripted
from tests.routing.vectors import Case, case_id, cases
from tests.support.gateway import Gateways
from tests.support.raw_http import connected

CASES = tuple(case for case in cases("filters") if case["id"].startswith("Retry-") and case["upstream"])
# There, 500 for a service that can't be reached.
STATUSES = {"Retry-24": 502}


def _bytes(said: dict[str, Any]) -> bytes | str:
    if said.get("close"):
        return "close"
    return answer(said["status"], said["body"].encode())


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "aiohttp"])
@pytest.mark.parametrize("case", CASES, ids=case_id)
async def test_a_case_is_what_it_is_there(gateways: Gateways, case: Case, fast_path: bool) -> None:
    sent, client = case["request"], case["client"]
    async with scripted(*map(_bytes, case["answers"])) as service:
        text = routes([service], case["filters"]).replace("Path=/a/**", "Path=/**")
        gateway = await gateways.start(text, fast_path=fast_path)
        async with connected(gateway.base) as connection:
            fields = [f"{name}: {value}" for name, value in sent["headers"] if name != "Host"]
            body = sent.get("body", "").encode()
            got = await connection.ask(sent["method"], sent["target"], *fields, body=body)
    name = case["id"]
    assert got.status == STATUSES.get(name, client["status"])
    if name not in STATUSES:
        assert got.body == client["body"].encode()
    assert len(service.calls) == case.get("upstreamCalls", 1)
    for call, recorded in zip(service.calls, case["upstream"] * len(service.calls), strict=False):
        assert (call.method, call.target) == (recorded["method"], recorded["target"])
        assert call.body == recorded.get("body", "").encode()


def test_there_are_cases() -> None:
    assert len(CASES) >= 12
