"""What the operator's desk shows of instances and circuit breakers, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.browser.axe import axe_of, faults, lost_in
from tests.browser.chromium import page
from tests.browser.desk import look, sign_in
from tests.client.conftest import installed_client  # noqa: F401 - a fixture
from tests.resilience.instances import instance
from tests.resilience.rig import answer, ask
from tests.support.gateway import Gateways

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]

TITLE = "document.querySelector('#verdict-title').textContent"
TOKEN = "operator-token-of-the-test"
ROWS = (
    "[...document.querySelectorAll('#services tbody tr')]"
    ".map(row => [...row.children].map(cell => cell.textContent))"
)
BREAKERS = (
    "[...document.querySelectorAll('#breakers tbody tr')].map(row => row.innerText.split('\\t').slice(0, 2))"
)


async def test_instances_and_breakers_are_shown_with_their_states_and_reasons(
    gateways: Gateways,
    tmp_path: Path,
    installed_client: Path,  # noqa: F811
) -> None:
    axe = axe_of(installed_client)
    async with instance() as one, instance() as two:
        two.check = two.call = answer(503)
        one.call = answer(500)
        breaker = {"name": "CircuitBreaker", "args": {"name": "payments", "minimumNumberOfCalls": 2}}
        routes = {
            "routes": [
                {"id": "shop", "uri": "lb://shop", "predicates": ["Path=/a/**"], "filters": [breaker]}
            ],
            "services": {
                "shop": {
                    "instances": [one.url, two.url],
                    "health": {"path": "/health", "interval": "200ms", "unhealthy": 1, "healthy": 1},
                }
            },
            "access": {"public": ["/**"]},
        }
        breaker["args"]["statusCodes"] = "500"  # type: ignore[index]
        gateway = await gateways.start(json.dumps(routes), desk=True, management_token=TOKEN)
        for _ in range(3):
            await ask(gateway)
        async with page(f"{gateway.base}/desk", tmp_path / "profile") as opened:
            await look(opened, 1280)
            await sign_in(opened, TOKEN)
            await opened.until(f"{ROWS}.some(row => row[1] === 'unhealthy')")
            await opened.until(f"{BREAKERS}.length === 1")
            service, healthy, unhealthy = await opened.evaluate(ROWS)
            assert service[:3] == ["shop", "1 of 2 healthy", "0"]
            assert healthy[:3] == [one.url, "healthy", "0"]
            assert (unhealthy[:2], unhealthy[4]) == ([two.url, "unhealthy"], "status 503")
            assert await opened.evaluate(BREAKERS) == [["payments", "open"]]
            for width, dark in ((360, False), (1280, True)):
                await look(opened, width, dark=dark)
                assert await opened.evaluate("document.documentElement.scrollWidth") <= width
                assert await faults(opened, axe) == []
                assert await lost_in(opened) == []

            # The last healthy one fails as well: that is the first thing to say.
            one.check = answer(503)
            await opened.until(f"{TITLE} === 'shop has no healthy instance'")
            one.check = answer(200)
            await opened.until(f"!{TITLE}.includes('healthy instance')")

            await opened.evaluate(
                "(s => { s.value = 'ko'; s.dispatchEvent(new Event('change')) })"
                "(document.querySelector('#language'))"
            )
            await opened.until(f"{ROWS}.some(row => row[1] === '비정상')")
            assert await opened.evaluate(BREAKERS) == [["payments", "열림"]]
            assert not [each for each in opened.complaints if "/desk/session" not in each]
