"""``GET /api/v1/queue/pass-keys.json`` over HTTP, from several gateways."""

from __future__ import annotations

from pathlib import Path

from gateway.auth.key_set import parse_key_set
from tests.support.gateway import Gateways
from tests.support.redis_server import StartRedis

PATH = "/api/v1/queue/pass-keys.json"


async def test_everyone_gets_the_same_public_keys_from_each_gateway(gateways: Gateways) -> None:
    one, other = await gateways.start(), await gateways.start()
    answer = await one.nobody("GET", PATH)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert (await other.nobody("GET", PATH)).json == answer.json
    keys = parse_key_set(answer.body, ("ES256",))
    assert (len(keys.keys), keys.unused_entries) == (2, ())
    assert b'"d"' not in answer.body


async def test_answers_are_cached_for_half_a_turn_at_most(gateways: Gateways) -> None:
    gateway = await gateways.start(pass_rotate_seconds=60)
    assert (await gateway.nobody("GET", PATH)).headers["Cache-Control"] == "public, max-age=30"


async def test_head_and_other_methods(gateways: Gateways) -> None:
    gateway = await gateways.start()
    assert (await gateway.nobody("HEAD", PATH)).status == 200
    assert (await gateway.nobody("POST", PATH)).code == "METHOD_NOT_ALLOWED"


async def test_without_redis_and_keys_it_is_not_available(start_redis: StartRedis, tmp_path: Path) -> None:
    server = start_redis()
    async with Gateways(tmp_path, server.url) as gateways:
        gateway = await gateways.start(redis_timeout_seconds=0.5)
        server.kill()
        answer = await gateway.nobody("GET", PATH)
        assert (answer.status, answer.code) == (503, "QUEUE_UNAVAILABLE")


async def test_without_redis_known_keys_are_published_on(start_redis: StartRedis, tmp_path: Path) -> None:
    server = start_redis()
    async with Gateways(tmp_path, server.url) as gateways:
        gateway = await gateways.start()
        before = await gateway.nobody("GET", PATH)
        server.kill()
        assert (await gateway.nobody("GET", PATH)).body == before.body
