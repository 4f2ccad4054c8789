"""What Spring Cloud Gateway was seen to do with the filter CircuitBreaker, repeated with a whole gateway.

Its page of the test application, ``/fallback``, is a route to another service here.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.resilience.rig import answer, routes, scripted
from tests.routing.vectors import Case, case_id, cases
from tests.support.gateway import Gateways
from tests.support.raw_http import connected

# The file is refused here.
REFUSED = {
    "CircuitBreaker-07": "a second value of the shortcut is dropped in silence there",
    "CircuitBreaker-08": "the same",
    "CircuitBreaker-11": "an address of another kind than forward: has no effect there",
}
# There, 500 for a service that can't be reached.
STATUSES = {"CircuitBreaker-06": 502}
CASES = tuple(case for case in cases("filters") if case["id"].startswith("CircuitBreaker-"))


def _said(answers: list[dict[str, Any]]) -> list[bytes | str]:
    if "delay_ms" in answers[0]:
        return ["hang"]
    return [answer(each.get("status", 200), each.get("body", "ok").encode()) for each in answers]


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "aiohttp"])
@pytest.mark.parametrize("case", [case for case in CASES if case["id"] not in REFUSED], ids=case_id)
async def test_a_case_is_what_it_is_there(gateways: Gateways, case: Case, fast_path: bool) -> None:
    sent, client, name = case["request"], case.get("client"), case["id"]
    if client is None:
        pytest.skip("a case of several requests")
    async with scripted(*_said(case["answers"])) as service, scripted(answer(200, b"instead")) as other:
        more = {"id": "fallback", "uri": other.url, "order": -1, "predicates": ["Path=/fallback"]}
        instance = case.get("uri", service)
        text = routes([instance], case["filters"], more=[more]).replace("Path=/a/**", "Path=/**")
        gateway = await gateways.start(text, fast_path=fast_path)
        async with connected(gateway.base) as connection:
            fields = [f"{key}: {value}" for key, value in sent["headers"] if key != "Host"]
            body = sent.get("body", "").encode()
            got = await connection.ask(sent["method"], sent["target"], *fields, body=body)
        service.released.set()
    assert got.status == STATUSES.get(name, client["status"])
    fell_back = isinstance(client["body"], str) and '"fallback":true' in client["body"]
    # The page there tells its path; the query goes with it.
    assert [(call.method, call.target.partition("?")[0]) for call in other.calls] == (
        [(sent["method"], json.loads(client["body"])["uri"])] if fell_back else []
    )
    if fell_back:
        assert got.body == b"instead"
    elif isinstance(client["body"], str):
        assert got.body == client["body"].encode()
    assert len(service.calls) == len(case["upstream"])


def test_there_are_cases() -> None:
    assert len(CASES) - len(REFUSED) >= 6
