"""A gateway process with the environment of a Spring shop: legacy names, JSON and placeholders, over real HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp

from tests.support.config_server import config_server, routes
from tests.support.eureka import fake_eureka
from tests.support.gateway import Caller
from tests.support.gateway_process import gateway_process


async def test_names_in_every_spelling_are_in_force(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "routes.yaml").write_text("routes: []\naccess: {public: [GET /orders/**]}\n")
    async with fake_eureka() as eureka, config_server() as config:
        config.say(routes("orders"))
        environ = {
            "EUREKA_CLIENT_SERVICE_URL_DEFAULTZONE": "${EUREKA_AT}",
            "EUREKA_AT": eureka.url,
            "EUREKA_INSTANCE_PREFER_IP_ADDRESS": "true",
            "EUREKA_INSTANCE_IP_ADDRESS": "127.0.0.9",
            "eureka.instance.instance-id": "${spring.cloud.client.ip-address}:${spring.application.name}",
            "EUREKA_INSTANCE_METADATA_MAP_TEAM": "tickets",
            "SPRING_DATA_REDIS_URL": "redis://:hunter2@nowhere.invalid",
            "SPRING_APPLICATION_JSON": json.dumps(
                {
                    "spring": {
                        "application": {"name": "edge"},
                        "config": {"import": ["configserver:"]},
                        "cloud": {"config": {"uri": [config.url], "label": ["gone", "main"]}},
                        "data": {"redis": {"url": redis_url}},
                    },
                    "JWT_JWKS_URI": "http://127.0.0.1:1/",
                }
            ),
            "SPRING_JPA_SHOW_SQL": "true",
        }
        config.labels = {"main": 200}
        async with gateway_process(environ, tmp_path) as gateway, aiohttp.ClientSession() as session:
            await eureka.until("POST")
            answer = await Caller(session, gateway.base, None)("GET", "/orders/1")
            # The route is there, and its service is not.
            assert answer.code == "NO_INSTANCE"
        (said, *_) = eureka.bodies
        assert (said["instanceId"], said["hostName"], said["app"]) == ("127.0.0.9:edge", "127.0.0.9", "EDGE")
        assert said["metadata"]["team"] == "tickets"
        assert [path for path, _ in config.asked][:2] == ["/edge/default/gone", "/edge/default/main"]
        log = "\n".join(gateway.lines)
        assert (
            "SPRING_DATA_REDIS_URL is passed over, since SPRING_APPLICATION_JSON (spring.data.redis.url)"
            in log
        )
        assert "hunter2" not in log
        assert "of no concern to this gateway: SPRING_JPA_SHOW_SQL" in log


async def test_broken_json_stops_the_start_and_is_not_shown(tmp_path: Path) -> None:
    environ = {"SPRING_APPLICATION_JSON": '{"spring.data.redis.password": "hunter2"'}
    async with gateway_process(environ, tmp_path, wait=False) as gateway:
        assert await gateway.ended() == 2
    (line,) = gateway.lines
    assert line.startswith("SPRING_APPLICATION_JSON='(hidden)': allowed is valid JSON")
