"""What the outermost middleware keeps of requests once they have been answered."""

from __future__ import annotations

import sys

import pytest

from gateway.middleware import access_log
from tests.support.gateway import Gateways
from tests.support.raw_http import connected


@pytest.mark.redis
@pytest.mark.parametrize("fast", [True, False], ids=["fast", "aiohttp"])
async def test_languages_that_clients_invent_take_no_memory_for_ever(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    # What is interned is never freed by Python 3.12.0 to 3.12.5.
    interned: list[str] = []
    monkeypatch.setattr(sys, "intern", lambda text: interned.append(text) or text)
    most = 5
    monkeypatch.setattr(access_log, "MAX_SHARED_LANGUAGES", most)
    gateway = await gateways.start(fast_path=fast)
    async with connected(gateway.base) as client:
        for number in range(3 * most):
            client.send(b"GET /nothing HTTP/1.1\r\nHost: gw\r\nAccept-Language: xx-%d\r\n\r\n" % number)
            assert (await client.answer()).status == 401
    assert not [text for text in interned if text.startswith("xx-")]
    assert len(access_log._shared_languages) <= most


def test_the_same_languages_are_the_same_object() -> None:
    one, other = ("".join(("ko", ";q=0.5")) for _ in range(2))
    assert one is not other
    assert access_log._shared(one) is access_log._shared(other)
