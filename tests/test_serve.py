"""A gateway as a process: how it starts, reloads and ends."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import signal
import socket
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway.serve import serve
from gateway.server._aiohttp import PRIVATE as SERVER_PARTS
from gateway.settings.model import Settings
from tests.support.gateway import ROUTES, Caller
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.tokens import Issuer
from tests.support.tokens import serving as serving_keys
from tests.support.waiting import eventually

ALL_WAIT = {"ALLOWED_IN_MAX_CAPACITY": "0"}
NOWHERE = "http://127.0.0.1:1/.well-known/jwks.json"


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    file = tmp_path / "routes.yaml"
    file.write_text(ROUTES % {"service": "http://127.0.0.1:1"})
    return file


async def test_it_says_what_it_listens_on_which_redis_and_how_many_routes(
    tmp_path: Path, routes: Path, redis_url: str
) -> None:
    environ = {"REDIS_URL": redis_url, "JWT_JWKS_URI": NOWHERE}
    began = time.monotonic()
    async with gateway_process(environ, tmp_path) as gateway:
        assert time.monotonic() - began < 10
        gateway.send(signal.SIGTERM)
        assert await gateway.ended() == 0
        text = "\n".join(gateway.lines)
        assert re.search(r"listening on http://127\.0\.0\.1:\d+$", text, re.MULTILINE)
        assert f"Redis at {redis_url} (one server)" in text
        assert "rooms: default (capacity 100, session 240 s)" in text
        assert "gates: default: POST /api/v1/reservations" in text
        assert f"metrics at {gateway.base}/metrics, health at {gateway.base}/actuator/health" in text
        assert f"6 routes from {routes.name}" in text
        assert "Traceback" not in text


async def test_a_reload_that_is_asked_for_during_the_start_does_not_end_it(
    tmp_path: Path, routes: Path, redis_url: str
) -> None:
    def ignores_hangup(pid: int) -> bool:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        ignored = next(line for line in lines if line.startswith("SigIgn:")).split()[1]
        return bool(int(ignored, 16) >> signal.SIGHUP - 1 & 1)

    environ = {"REDIS_URL": redis_url, "JWT_JWKS_URI": NOWHERE}
    # An empty prefix of its own: a forked gateway would have its modules at once, and no start to speak of.
    async with gateway_process(environ, tmp_path, wait=False, prefix=("env",)) as gateway:
        await eventually(lambda: ignores_hangup(gateway.process.pid))
        assert gateway.lines == []
        gateway.send(signal.SIGHUP)
        await gateway.ready()


async def test_it_logs_what_the_routes_are_warned_of_at_start_and_at_each_change(
    tmp_path: Path, routes: Path, redis_url: str
) -> None:
    rule = "{allowCredentials: true, exposedHeaders: '*'}"
    routes.write_text(f"{routes.read_text()}\ncors: {{cors-configurations: {{/first/**: {rule}}}}}\n")
    environ = {"REDIS_URL": redis_url, "JWT_JWKS_URI": NOWHERE}
    async with gateway_process(environ, tmp_path) as gateway:
        await _logged(gateway, "/first/**: exposedHeaders")
        routes.write_text(routes.read_text().replace("/first/", "/second/"))
        gateway.send(signal.SIGHUP)
        await _logged(gateway, "/second/**: exposedHeaders")


async def test_it_logs_at_its_start_what_the_environment_is_warned_of(
    tmp_path: Path, routes: Path, redis_url: str
) -> None:
    routes.write_text(routes.read_text().replace("http://127.0.0.1:1", "${SHOP_URL:http://127.0.0.1:1}"))
    environ = {
        "REDIS_URL": redis_url,
        "JWT_JWKS_URI": NOWHERE,
        "ALLOWED_IN_MAX_CAPACTY": "50",
        "SHOP_URI": "http://h:1",
        "MANAGEMENT_TOKEN": "hunter2",
        "LOG_FORMAT": "json",
    }
    async with gateway_process(environ, tmp_path) as gateway:
        await _logged(gateway, "MANAGEMENT_TOKEN has 7 characters")
    # The keys that can't be fetched are told at some moment, too.
    about = (f"{routes.name}:16: ", "ALLOWED_IN_MAX_CAPACTY ", "SHOP_URI ", "MANAGEMENT_TOKEN ")
    entries = [json.loads(line) for line in gateway.lines]
    told = [
        entry["message"]
        for entry in entries
        if entry["level"] == "WARNING" and entry["message"].startswith(about)
    ]
    assert len(told) == len(about)
    assert "lb://nobody has no instance" in told[0]
    assert told[1].endswith("the nearest is ALLOWED_IN_MAX_CAPACITY")
    assert told[2].endswith("the nearest is SHOP_URL")
    assert "hunter2" not in "\n".join(gateway.lines)


async def test_it_says_why_this_is_a_spring_environment_and_counts_under_springs_names(
    tmp_path: Path, routes: Path, redis_url: str
) -> None:
    environ = {
        "REDIS_URL": redis_url,
        "SPRING_PROFILES_ACTIVE": "prod",
        "SPRING_APPLICATION_NAME": "gw",
        "JWT_JWKS_URI": NOWHERE,
    }
    async with gateway_process(environ, tmp_path) as gateway, aiohttp.ClientSession() as session:
        await _logged(
            gateway, "Spring environment: on, because SPRING_APPLICATION_NAME, SPRING_PROFILES_ACTIVE are"
        )
        nobody = Caller(session, gateway.base, None)
        health = await nobody("GET", "/actuator/health")
        assert health.headers["X-Frame-Options"] == "DENY"
        counted = (await nobody("GET", "/actuator/prometheus")).body.decode()
        assert re.search(r'^http_server_requests_seconds_count{application="gw",', counted, re.MULTILINE)


async def test_with_a_route_file_of_its_own_nothing_is_spring(
    tmp_path: Path, routes: Path, redis_url: str
) -> None:
    environ = {"REDIS_URL": redis_url}
    async with gateway_process(environ, tmp_path) as gateway, aiohttp.ClientSession() as session:
        await _logged(gateway, "JWT_JWKS_URI is not set, so no token can be checked")
        nobody = Caller(session, gateway.base, None)
        health = await nobody("GET", "/actuator/health")
        assert "X-Frame-Options" not in health.headers
        assert not {"eureka", "configServer"} & health.json["components"].keys()
        assert b"http_server_requests" not in (await nobody("GET", "/actuator/prometheus")).body
        text = "\n".join(gateway.lines)
        assert "pring" not in text, text
        assert "8761" not in text
        assert "8090" not in text


async def test_a_config_server_that_is_only_springs_default_may_be_away(
    tmp_path: Path, routes: Path, redis_url: str
) -> None:
    environ = {
        "REDIS_URL": redis_url,
        "JWT_JWKS_URI": NOWHERE,
        "SPRING_CLOUD_CONFIG_URI": "http://127.0.0.1:1",
    }
    async with gateway_process(environ, tmp_path) as gateway, aiohttp.ClientSession() as session:
        answer = await Caller(session, gateway.base, None)("GET", "/actuator/health")
        assert (answer.status, answer.json["status"]) == (200, "UP")
        assert answer.json["components"]["configServer"]["status"] == "UNKNOWN"
        await _logged(gateway, f"6 routes from {routes.name}")


async def _logged(gateway: GatewayProcess, text: str) -> None:
    async with asyncio.timeout(10):
        while text not in "\n".join(gateway.lines):
            await asyncio.sleep(0.01)


async def test_a_password_of_redis_is_not_shown(tmp_path: Path, routes: Path) -> None:
    environ = {"REDIS_URL": "redis://someone:hunter2@127.0.0.1:1/0", "JWT_JWKS_URI": NOWHERE}
    async with gateway_process(environ, tmp_path) as gateway:
        gateway.send(signal.SIGTERM)
        assert await gateway.ended() == 0
        assert "Redis at redis://127.0.0.1:1/0" in "\n".join(gateway.lines)
        assert "hunter2" not in "\n".join(gateway.lines)


async def test_hanging_up_reloads_the_routes_while_streams_stay(
    tmp_path: Path, routes: Path, redis_url: str
) -> None:
    issuer = Issuer()
    async with serving_keys(issuer) as keys:
        environ = {
            "REDIS_URL": redis_url,
            "JWT_JWKS_URI": keys.uri,
            "ALLOWED_IN_MAX_CAPACITY": "1",
        }
        async with gateway_process(environ, tmp_path) as gateway, aiohttp.ClientSession() as session:
            first = Caller(session, gateway.base, issuer.token("first"))
            second = Caller(session, gateway.base, issuer.token("second"))
            await first.lineup()
            await second.lineup()
            async with second.stream() as stream:
                await stream.until("STATUS_UPDATE")
                routes.write_text(routes.read_text().replace("/nobody/**", "/new/**"))
                gateway.send(signal.SIGHUP)
                async with asyncio.timeout(10):
                    while (await first("GET", "/new/x")).code != "NO_INSTANCE":
                        await asyncio.sleep(0.02)
                await first("POST", "/api/v1/queue/leave")
                await stream.until("ALLOWED_IN")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_ends_streams_with_a_retry_and_the_process_with_status_0(
    tmp_path: Path, routes: Path, redis_url: str, stop: signal.Signals
) -> None:
    issuer = Issuer()
    async with serving_keys(issuer) as keys:
        environ = {"REDIS_URL": redis_url, "JWT_JWKS_URI": keys.uri, **ALL_WAIT}
        async with gateway_process(environ, tmp_path) as gateway, aiohttp.ClientSession() as session:
            user = Caller(session, gateway.base, issuer.token("someone"))
            await user.lineup()
            async with user.stream() as stream:
                await stream.until("STATUS_UPDATE")
                gateway.send(stop)
                last = await stream.next()
                assert last is not None
                assert last.retry is not None
                assert last.comment
                assert await stream.next() is None
            assert await gateway.ended() == 0


async def test_a_port_that_is_taken_is_an_error_in_one_line(
    tmp_path: Path, routes: Path, redis_url: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        environ = {"REDIS_URL": redis_url, "JWT_JWKS_URI": NOWHERE, "SERVER_PORT": port}
        async with gateway_process(environ, tmp_path, wait=False) as gateway:
            assert await gateway.ended() == 1
            assert any(f"can't listen on 127.0.0.1 port {port}" in line for line in gateway.lines)
            assert "Traceback" not in "\n".join(gateway.lines)


async def test_a_faulty_route_file_stops_the_start_with_every_fault(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "routes.yaml").write_text(
        "routes:\n  - {id: a}\n  - {id: b, uri: 'ftp://x', predicates: [Pth=/a]}\n"
    )
    environ = {"REDIS_URL": redis_url, "JWT_JWKS_URI": NOWHERE}
    async with gateway_process(environ, tmp_path, wait=False) as gateway:
        assert await gateway.ended() == 1
    text = "\n".join(gateway.lines)
    assert "routes.yaml:2" in text
    assert "routes.yaml:3" in text
    assert "Path" in text
    assert "Traceback" not in text


async def test_management_on_a_port_of_its_own(tmp_path: Path, routes: Path, redis_url: str) -> None:
    environ = {"REDIS_URL": redis_url, "JWT_JWKS_URI": NOWHERE, "MANAGEMENT_SERVER_PORT": "0"}
    async with gateway_process(environ, tmp_path) as gateway, aiohttp.ClientSession() as session:
        async with asyncio.timeout(5):
            while not (found := re.search(r"management on (http://\S+)", "\n".join(gateway.lines))):
                await asyncio.sleep(0.01)
        async with session.get(found[1] + "/actuator/prometheus") as response:
            assert response.status == 200
            assert "gateway_streams_open 0.0" in await response.text()
        async with session.get(found[1] + "/api/v1/products") as response:
            assert response.status == 404
        async with session.get(gateway.base + "/actuator/health") as response:
            assert response.status == 404


async def test_named_operators_are_known_on_the_management_port(
    tmp_path: Path, routes: Path, redis_url: str
) -> None:
    operators = tmp_path / "operators.yaml"
    digest = hashlib.sha256(b"annas-token-of-the-test").hexdigest()
    operators.write_text(f"operators: [{{name: anna, role: act, sha256: '{digest}'}}]")
    environ = {"REDIS_URL": redis_url, "JWT_JWKS_URI": NOWHERE, "MANAGEMENT_SERVER_PORT": "0"}
    environ["OPERATORS_FILE"] = str(operators)
    async with gateway_process(environ, tmp_path) as gateway, aiohttp.ClientSession() as session:
        async with asyncio.timeout(5):
            while not (found := re.search(r"management on (http://\S+)", "\n".join(gateway.lines))):
                await asyncio.sleep(0.01)
        room = found[1] + "/actuator/rooms/default"
        headers = {"Authorization": "Bearer annas-token-of-the-test"}
        async with session.post(room, json={"capacity": 3}, headers=headers) as response:
            assert response.status == 200
        operators.write_text("operators: []")
        gateway.send(signal.SIGHUP)
        async with asyncio.timeout(10):
            while "0 operators from" not in "\n".join(gateway.lines):
                await asyncio.sleep(0.01)
        async with session.post(room, json={"capacity": 3}, headers=headers) as response:
            assert response.status == 404


async def test_an_aiohttp_without_the_names_that_are_needed_stops_the_start_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SERVER_PARTS, (web.AppRunner, "_no_such_name"), "nothing")
    assert await serve(Settings.from_env({}), {}) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "AppRunner._no_such_name" in told
