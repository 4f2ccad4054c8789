"""``/actuator/refresh`` and its webhook: who may call them, and what they answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
from collections.abc import AsyncIterator

import pytest

from gateway.api.refresh import MAX_BYTES, SIGNATURE, signature_of
from gateway.context import OBSERVERS
from tests.support.config_server import ConfigServerStub, config_server, routes
from tests.support.gateway import Gateways, Running
from tests.support.raw_http import connected, request

TOKEN = "operator-token-of-the-test"
SECRET = "webhook-secret-of-the-test"
REFRESH = "/actuator/refresh"
HOOK = "/actuator/refresh/webhook"
ORDER = "spring.cloud.gateway.server.webflux.routes[0].order"


@pytest.fixture
async def server() -> AsyncIterator[ConfigServerStub]:
    async with config_server() as stub:
        stub.say(routes("a"))
        yield stub


async def start(gateways: Gateways, server: ConfigServerStub, **changes: object) -> Running:
    return await gateways.start(
        spring_config_import=f"configserver:{server.url}",
        config_server_refresh_seconds=0,
        management_token=TOKEN,
        **changes,
    )


async def orders(gateway: Running) -> list[int]:
    listed = (await gateway.nobody("GET", "/actuator/gateway/routes")).json
    return [route["order"] for route in listed]


async def until_order(gateway: Running, order: int) -> None:
    async with asyncio.timeout(20):
        while await orders(gateway) != [order]:
            await asyncio.sleep(0.02)


async def test_a_refresh_answers_what_changed_once_it_is_in_force(
    gateways: Gateways, server: ConfigServerStub
) -> None:
    gateway = await start(gateways, server)
    operator = gateway.with_token(TOKEN)
    assert (await operator("POST", REFRESH)).json == []
    server.say({**routes("a"), ORDER: 7})
    answer = await operator("POST", REFRESH)
    assert (answer.status, answer.json) == (200, [ORDER])
    assert await orders(gateway) == [7]


async def test_a_refresh_that_comes_to_nothing_says_why(gateways: Gateways, server: ConfigServerStub) -> None:
    gateway = await start(gateways, server)
    operator = gateway.with_token(TOKEN)
    server.say({**routes("a"), ORDER: "first"})
    refused = await operator("POST", REFRESH)
    assert (refused.status, refused.code) == (422, "CONFIG_REFUSED")
    assert "file-0.yml:4: route 'a': " + ORDER in refused.json["error"]["fields"][0]["reason"]
    server.status = 404
    away = await operator("POST", REFRESH)
    assert (away.status, away.code) == (503, "CONFIG_UNAVAILABLE")
    assert "status 404" in away.json["error"]["fields"][0]["reason"]
    assert server.url.partition("//")[2] not in away.body.decode()
    assert await orders(gateway) == [0]
    health = (await gateway.nobody("GET", "/actuator/health")).json
    assert health["status"] == "UP"
    assert health["components"]["configServer"]["status"] == "UNKNOWN"
    assert "status 404" in health["components"]["configServer"]["details"]["reason"]
    assert health["components"]["routes"]["status"] == "UNKNOWN"
    metrics = (await gateway.nobody("GET", "/actuator/prometheus")).body.decode()
    assert metrics  # of the process; the counts of this gateway are in a registry of its own
    registry = gateway.app[OBSERVERS].metrics.registry
    for outcome, count in (("ok", 1), ("refused", 1), ("failed", 1)):
        assert registry.get_sample_value("gateway_config_fetches_total", {"outcome": outcome}) == count
    assert registry.get_sample_value("gateway_routes_up_to_date") == 0


async def test_without_a_config_server_the_route_file_is_read(gateways: Gateways) -> None:
    gateway = await gateways.start("routes: []", management_token=TOKEN)
    operator = gateway.with_token(TOKEN)
    gateway.routes_file.write_text("routes: [{id: a, uri: 'lb://a', order: 3, predicates: [Path=/a]}]")
    assert (await operator("POST", REFRESH)).json == []
    assert await orders(gateway) == [3]
    gateway.routes_file.write_text("routes: {")
    assert (await operator("POST", REFRESH)).code == "CONFIG_REFUSED"
    assert await orders(gateway) == [3]


async def test_a_refresh_needs_the_management_token(gateways: Gateways, server: ConfigServerStub) -> None:
    gateway = await start(gateways, server)
    assert (await gateway.nobody("POST", REFRESH)).code == "TOKEN_REQUIRED"
    assert (await gateway.user("ann")("POST", REFRESH)).code == "TOKEN_INVALID"
    assert (await gateway.nobody("GET", REFRESH)).status == 405
    without = await gateways.start()
    assert (await without.with_token(TOKEN)("POST", REFRESH)).status == 404
    assert len(server.asked) == 1, "only at the start"


async def test_the_webhook_looks_for_what_is_new(gateways: Gateways, server: ConfigServerStub) -> None:
    gateway = await start(gateways, server, config_server_webhook_secret=SECRET)
    server.say({**routes("a"), ORDER: 7})
    body = b'{"ref": "refs/heads/main"}'
    answer = await gateway.nobody("POST", HOOK, data=body, headers={SIGNATURE: signature_of(SECRET, body)})
    assert (answer.status, answer.body) == (202, b"")
    await until_order(gateway, 7)


def test_the_signature_is_the_one_that_git_servers_make() -> None:
    """The example of GitHub's documentation."""
    expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert signature_of("It's a Secret to Everybody", b"Hello, World!") == expected


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "TOKEN_REQUIRED"),
        ({SIGNATURE: ""}, "TOKEN_INVALID"),
        ({SIGNATURE: "sha256=" + "0" * 64}, "TOKEN_INVALID"),
        ({SIGNATURE: signature_of("other", b"{}")}, "TOKEN_INVALID"),
        ({SIGNATURE: signature_of(SECRET, b"{ }")}, "TOKEN_INVALID"),
        ({SIGNATURE: signature_of(SECRET, b"{}").upper()}, "TOKEN_INVALID"),
        ({SIGNATURE: "é"}, "TOKEN_INVALID"),
        ({"X-Hub-Signature": signature_of(SECRET, b"{}")}, "TOKEN_REQUIRED"),
        ({"Authorization": f"Bearer {TOKEN}"}, "TOKEN_REQUIRED"),
        ({"Authorization": f"Bearer {SECRET}"}, "TOKEN_REQUIRED"),
    ],
)
async def test_a_webhook_without_the_right_signature_does_nothing(
    headers: dict[str, str], code: str, gateways: Gateways, server: ConfigServerStub
) -> None:
    gateway = await start(gateways, server, config_server_webhook_secret=SECRET)
    assert (await gateway.nobody("POST", HOOK, data=b"{}", headers=headers)).code == code
    assert len(server.asked) == 1, "only at the start"


async def test_there_is_no_webhook_without_a_secret(gateways: Gateways, server: ConfigServerStub) -> None:
    gateway = await start(gateways, server)
    for secret in ("", TOKEN):
        headers = {SIGNATURE: signature_of(secret, b"{}")}
        assert (await gateway.nobody("POST", HOOK, data=b"{}", headers=headers)).code == "ROUTE_NOT_FOUND"


async def test_a_webhooks_body_is_bounded(gateways: Gateways, server: ConfigServerStub) -> None:
    gateway = await start(gateways, server, config_server_webhook_secret=SECRET)
    body = b" " * (MAX_BYTES + 1)
    headers = {SIGNATURE: signature_of(SECRET, body)}
    assert (await gateway.nobody("POST", HOOK, data=io.BytesIO(body), headers=headers)).status == 413


@pytest.mark.parametrize(
    "field", [f"{SIGNATURE}: x", f"{SIGNATURE}: sha256=00", f"{SIGNATURE}: sha1={'0' * 64}"]
)
async def test_a_webhook_whose_signature_has_a_wrong_form_is_refused_before_its_body_is_read(
    field: str, gateways: Gateways, server: ConfigServerStub
) -> None:
    gateway = await start(gateways, server, config_server_webhook_secret=SECRET)
    async with connected(gateway.base) as client:
        client.send(request("POST", HOOK, field, f"Content-Length: {MAX_BYTES}") + b"a")
        assert (await client.answer()).status == 401


async def test_nothing_of_a_webhooks_body_is_kept(
    gateways: Gateways, server: ConfigServerStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await start(gateways, server, config_server_webhook_secret=SECRET)
    computed, sizes = hmac.new(SECRET.encode(), digestmod=hashlib.sha256), []

    class Counted:
        def update(self, piece: bytes) -> None:
            sizes.append(len(piece))
            computed.update(piece)

        def hexdigest(self) -> str:
            return computed.hexdigest()

    body = b"a" * (MAX_BYTES - 1)
    headers = {SIGNATURE: signature_of(SECRET, body)}
    monkeypatch.setattr("gateway.api.refresh.hmac.new", lambda key, digestmod: Counted())
    answer = await gateway.nobody("POST", HOOK, data=io.BytesIO(body), headers=headers)
    assert answer.status == 202
    assert sum(sizes) == len(body)
    assert len(sizes) > 1
