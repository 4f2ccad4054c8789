"""What operators and machines ask."""

from __future__ import annotations

import asyncio
import time

import pytest
from yarl import URL

from gateway.context import HEALTH, ROOMS
from gateway.routing.factories import NO_FILTERS
from tests.support.gateway import Gateways

TOKEN = "operator-token-of-the-test"


async def test_health_shows_components_and_is_up(gateways: Gateways) -> None:
    gateway = await gateways.start()
    health = await gateway.nobody("GET", "/actuator/health")
    assert health.status == 200
    assert health.json["status"] == "UP"
    assert health.json["groups"] == ["liveness", "readiness"]
    assert health.json["components"]["redis"]["status"] == "UP"
    assert (await gateway.nobody("GET", "/actuator/health/liveness")).json == {"status": "UP"}
    assert (await gateway.nobody("GET", "/actuator/health/readiness")).json == {"status": "UP"}
    gateway.app[HEALTH].draining = True
    assert (await gateway.nobody("GET", "/actuator/health/readiness")).status == 503
    assert (await gateway.nobody("GET", "/actuator/health")).json["status"] == "OUT_OF_SERVICE"
    assert (await gateway.nobody("GET", "/actuator/health/liveness")).status == 200


async def test_health_names_the_scripts_that_redis_refuses(gateways: Gateways) -> None:
    gateway = await gateways.start()
    gateway.app[ROOMS]._redis.availability.note_refusal("gate", "no permission")
    health = await gateway.nobody("GET", "/actuator/health")
    component = {"status": "UP", "details": {"refusedScripts": ["gate"]}}
    assert health.json["components"]["redis"] == component


async def test_routes_are_listed_as_they_are_matched(gateways: Gateways) -> None:
    gateway = await gateways.start()
    routes = (await gateway.nobody("GET", "/actuator/gateway/routes")).json
    assert [route["route_id"] for route in routes][:2] == ["reservations", "seats"]
    assert {"route_id", "uri", "order", "predicate", "filters"} <= set(routes[0])
    one = await gateway.nobody("GET", "/actuator/gateway/routes/seats")
    assert one.json["route_id"] == "seats"
    assert (await gateway.nobody("GET", "/actuator/gateway/routes/none")).status == 404


async def test_reads_may_be_closed_but_for_the_bare_health(gateways: Gateways) -> None:
    gateway = await gateways.start(management_reads="token", management_token=TOKEN)
    for path in ("", "/info", "/gateway/routes", "/rooms", "/prometheus"):
        assert (await gateway.nobody("GET", "/actuator" + path)).status == 401, path
        assert (await gateway.with_token(TOKEN)("GET", "/actuator" + path)).status == 200, path
    assert (await gateway.nobody("GET", "/actuator/health")).json == {"status": "UP"}


async def test_closed_reads_show_the_components_to_the_management_token(gateways: Gateways) -> None:
    gateway = await gateways.start(management_reads="token", management_token=TOKEN)
    health = await gateway.with_token(TOKEN)("GET", "/actuator/health")
    assert health.status == 200
    assert {"redis", "livenessState", "readinessState"} <= set(health.json["components"])
    assert health.json["groups"] == ["liveness", "readiness"]
    # A probe is never refused for what it says besides.
    bare = {"status": "UP"}
    for token in ("wrong", TOKEN + "x", TOKEN[:-1], "", gateway.user("a").token):
        assert (await gateway.with_token(token)("GET", "/actuator/health")).json == bare
    for value in (f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}, Bearer {TOKEN}", "Bearer \u00e9"):
        answer = await gateway.nobody("GET", "/actuator/health", headers={"Authorization": value})
        assert (answer.status, answer.json) == (200, bare)
    for value in (f"bearer {TOKEN}", f"Bearer  {TOKEN}"):
        answer = await gateway.nobody("GET", "/actuator/health", headers={"Authorization": value})
        assert "components" in answer.json, value
    assert (await gateway.nobody("GET", "/actuator/health/redis")).status == 401
    assert (await gateway.with_token(TOKEN)("GET", "/actuator/health/redis")).json["status"] == "UP"
    gateway.app[HEALTH].draining = True
    health = await gateway.with_token(TOKEN)("GET", "/actuator/health")
    assert (health.status, health.json["status"]) == (503, "OUT_OF_SERVICE")
    assert "components" in health.json


async def test_without_a_management_token_closed_health_is_bare_for_every_caller(gateways: Gateways) -> None:
    gateway = await gateways.start(management_reads="token")
    for token in ("", "None", "null"):
        assert (await gateway.with_token(token)("GET", "/actuator/health")).json == {"status": "UP"}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=1.0.0", "text/plain; version=1.0.0; charset=utf-8"),
        (
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text; version=0.0.1; charset=utf-8",
        ),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ],
)
async def test_metrics_come_in_the_version_asked_for(
    gateways: Gateways, accept: str | None, content_type: str
) -> None:
    gateway = await gateways.start()
    headers = {"Accept": accept} if accept else {}
    for path in ("/metrics", "/actuator/prometheus"):
        answer = await gateway.nobody("GET", path, headers=headers)
        assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
        assert answer.body.endswith(b"# EOF\n") is ("openmetrics" in content_type)


async def test_changes_do_not_exist_while_no_token_is_set(gateways: Gateways) -> None:
    gateway = await gateways.start()
    answer = await gateway.with_token(TOKEN)("POST", "/actuator/rooms/default", json={"paused": True})
    assert answer.status == 404


async def test_changes_need_the_token(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    change = {"capacity": 5}
    assert (await gateway.nobody("POST", "/actuator/rooms/default", json=change)).code == "TOKEN_REQUIRED"
    wrong = await gateway.with_token("wrong")("POST", "/actuator/rooms/default", json=change)
    assert wrong.code == "TOKEN_INVALID"


async def test_an_operator_changes_limits_for_all_instances(gateways: Gateways) -> None:
    here, there = await gateways.start(management_token=TOKEN), await gateways.start()
    operator = here.with_token(TOKEN)
    users = [there.user(f"u{number}") for number in range(4)]
    for user in users:
        await user.lineup()
    changed = await operator("POST", "/actuator/rooms/default", json={"capacity": 3, "durationSeconds": 30})
    assert changed.json["data"] == {
        "room": "default",
        "capacity": 3,
        "durationSeconds": 30.0,
        "paused": False,
        "closed": False,
        "soldOut": False,
        "waiting": 1,
        "parked": 0,
        "registered": 0,
        "allowedIn": 3,
        "settings": {
            "capacity": {"value": 3, "from": "operator"},
            "duration": {"value": "30s", "from": "operator"},
            "absent": {"value": "60s", "from": "default"},
            "hold": {"value": "1800s", "from": "default"},
            "max_session": {"value": "0s", "from": "default"},
            "claim": {"value": "0s", "from": "default"},
            "rate": {"value": "off", "from": "default"},
            "history": {"value": "3600s", "from": "default"},
            "relineup": {"value": "back", "from": "default"},
            "lineup": {"value": "explicit", "from": "default"},
            "max_waiting": {"value": 0, "from": "default"},
            "lineups_per_minute": {"value": 0, "from": "default"},
            "mode": {"value": "on", "from": "default"},
            "opens_at": {"value": "off", "from": "default"},
            "closes_at": {"value": "off", "from": "default"},
            "prequeue": {"value": "0s", "from": "default"},
            "lanes": {"value": "none", "from": "default"},
            "stock": {"value": "off", "from": "default"},
        },
    } | {
        key: changed.json["data"][key]
        for key in changed.json["data"]
        if key.endswith(("Second", "WaitSeconds"))
    }
    assert (await users[2].status()).json["state"] == "ALLOWED_IN"
    await operator("POST", "/actuator/rooms/default", json={"paused": True})
    await users[0]("POST", "/api/v1/queue/leave")
    assert (await users[3].status()).json["state"] == "WAITING"
    await operator("POST", "/actuator/rooms/default", json={"paused": False})
    assert (await users[3].status()).json["state"] == "ALLOWED_IN"
    lifted = await operator("POST", "/actuator/rooms/default", json={"override": False})
    assert lifted.json["data"]["capacity"] == 1
    assert (await operator("GET", "/actuator/rooms/default")).json["data"]["allowedIn"] == 3


async def test_an_operators_settings_win_until_each_is_lifted(gateways: Gateways) -> None:
    here = await gateways.start(management_token=TOKEN, queue_absent_seconds=30)
    operator = here.with_token(TOKEN)

    async def settings() -> dict[str, tuple[str, str]]:
        shown = (await operator("GET", "/actuator/rooms/default")).json["data"]["settings"]
        return {name: (shown[name]["value"], shown[name]["from"]) for name in ("absent", "hold")}

    assert await settings() == {"absent": ("30s", "environment"), "hold": ("1800s", "default")}
    await operator("POST", "/actuator/rooms/default", json={"absent": "2m", "hold": 0})
    assert await settings() == {"absent": ("120s", "operator"), "hold": ("0s", "operator")}
    await operator("POST", "/actuator/rooms/default", json={"absent": None})
    assert await settings() == {"absent": ("30s", "environment"), "hold": ("0s", "operator")}
    await operator("POST", "/actuator/rooms/default", json={"override": False, "absent": 0.5})
    assert await settings() == {"absent": ("0.5s", "operator"), "hold": ("1800s", "default")}


async def test_an_operators_rate_holds_and_can_be_lifted(gateways: Gateways) -> None:
    here = await gateways.start(management_token=TOKEN, queue_rate="1/h", allowed_in_max_capacity=10)
    operator = here.with_token(TOKEN)
    users = [here.user(f"paced-{n}") for n in range(4)]

    async def rate() -> dict[str, str]:
        return (await operator("GET", "/actuator/rooms/default")).json["data"]["settings"]["rate"]

    assert await rate() == {"value": "1/h", "from": "environment"}
    states = [(await user.lineup()).json["state"] for user in users]
    assert states == ["ALLOWED_IN", "WAITING", "WAITING", "WAITING"]
    await operator("POST", "/actuator/rooms/default", json={"rate": "OFF"})
    assert await rate() == {"value": "off", "from": "operator"}
    assert (await users[3].status()).json["state"] == "ALLOWED_IN"
    await operator("POST", "/actuator/rooms/default", json={"rate": None})
    assert await rate() == {"value": "1/h", "from": "environment"}


async def test_an_operator_sets_numbers_and_words(gateways: Gateways) -> None:
    here = await gateways.start(management_token=TOKEN)
    operator = here.with_token(TOKEN)
    change = {
        "max_waiting": 5000.0,
        "lineups_per_minute": "12",
        "mode": False,
        "relineup": "KEEP",
        "lineup": "Implicit",
    }
    shown = (await operator("POST", "/actuator/rooms/default", json=change)).json["data"]["settings"]
    assert {name: shown[name] for name in change} == {
        "max_waiting": {"value": 5000, "from": "operator"},
        "lineups_per_minute": {"value": 12, "from": "operator"},
        "mode": {"value": "off", "from": "operator"},
        "relineup": {"value": "keep", "from": "operator"},
        "lineup": {"value": "implicit", "from": "operator"},
    }
    lifted = await operator("POST", "/actuator/rooms/default", json=dict.fromkeys(change))
    assert {lifted.json["data"]["settings"][name]["from"] for name in change} == {"default"}
    audit = (await operator("GET", "/actuator/rooms/default/audit?limit=10")).json["data"]
    noted = {(entry["act"], entry["setting"], entry["from"], entry["to"]) for entry in audit}
    assert ("set", "max_waiting", "0", "5000") in noted
    assert ("lift", "mode", "off", "on") in noted


async def test_users_in_line_are_admitted_as_fast_as_the_rate_says(gateways: Gateways) -> None:
    """Also between two sweeps of every second: the bucket holds one token only."""
    here = await gateways.start(queue_rate="90/m", allowed_in_max_capacity=10)
    users = [here.user(f"paced-{n}") for n in range(6)]
    began = time.monotonic()
    for user in users:
        await user.lineup()
    while (await users[-1].status()).json["state"] != "ALLOWED_IN":
        await asyncio.sleep(0.05)
    # A second's worth is one token and a half. Sweeps of every second alone would take five seconds.
    assert 2.9 < time.monotonic() - began < 4.5


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({"absent": "soon", "hold": -1}, ["absent", "hold"]),
        ({"absent": True, "hold": "1d"}, ["absent", "hold"]),
        ({"absent": [], "hold": 604_801}, ["absent", "hold"]),
        ({"capacity": -1}, ["capacity"]),
        ({"capacity": True, "durationSeconds": 0}, ["capacity", "durationSeconds"]),
        ({"paused": "yes"}, ["paused"]),
        ({"duration": "soon", "durationSeconds": "4m"}, ["duration", "durationSeconds", "duration"]),
        ({"duration": 0}, ["duration"]),
        ({"duration": "8d"}, ["duration"]),
        ({"duration": "169h"}, ["duration"]),
        ({"duration": False}, ["duration"]),
        ({"duration": 1, "durationSeconds": 1}, ["duration"]),
        ({"capacity": 1.5, "durationSeconds": 0.0009}, ["capacity", "durationSeconds"]),
        ({"rate": 0}, ["rate"]),
        ({"rate": "0/s", "hold": "120/m"}, ["rate", "hold"]),
        ({"rate": False, "absent": 1}, ["rate"]),
        ({"mode": "maybe", "relineup": True, "max_waiting": 1.5}, ["mode", "relineup", "max_waiting"]),
        (
            {"mode": 1, "lineups_per_minute": 1001, "max_waiting": -1},
            ["mode", "lineups_per_minute", "max_waiting"],
        ),
        ({"max_waiting": True, "lineups_per_minute": "x"}, ["max_waiting", "lineups_per_minute"]),
        ({"other": 1}, ["other"]),
        ({"": 1}, [""]),
        ({}, ["body"]),
    ],
)
async def test_a_wrong_change_names_every_fault(
    gateways: Gateways, body: dict[str, object], faults: list[str]
) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    answer = await gateway.with_token(TOKEN)("POST", "/actuator/rooms/default", json=body)
    assert answer.status == 400
    assert [fault["field"] for fault in answer.json["error"]["fields"]] == faults


@pytest.mark.parametrize(
    ("duration", "shown"), [("4m", "240s"), (90, "90s"), ("1.5", "1.5s"), ("1500ms", "1.5s")]
)
async def test_a_duration_has_the_forms_of_the_file(gateways: Gateways, duration: object, shown: str) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    answer = await gateway.with_token(TOKEN)("POST", "/actuator/rooms/default", json={"duration": duration})
    settings = answer.json["data"]["settings"]
    assert settings["duration"] == {"value": shown, "from": "operator"}
    assert settings["capacity"]["from"] != "operator"


@pytest.mark.parametrize("name", ["duration", "durationSeconds"])
async def test_null_lifts_one_limit(gateways: Gateways, name: str) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    operator = gateway.with_token(TOKEN)

    async def change(**values: object) -> dict[str, tuple[object, str]]:
        answer = await operator("POST", "/actuator/rooms/default", json=values)
        settings = answer.json["data"]["settings"]
        return {each: (settings[each]["value"], settings[each]["from"]) for each in ("capacity", "duration")}

    before = await change(paused=False)
    assert {source for _, source in before.values()} <= {"environment", "file", "default"}
    both = await change(capacity=7, duration="9m")
    assert both == {"capacity": (7, "operator"), "duration": ("540s", "operator")}
    assert await change(**{name: None}) == {"capacity": (7, "operator"), "duration": before["duration"]}
    assert await change(capacity=None) == before


async def test_a_whole_number_may_be_written_with_a_fraction_of_nothing(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    answer = await gateway.with_token(TOKEN)(
        "POST", "/actuator/rooms/default", data=b'{"capacity": 5.0, "durationSeconds": 0.001}'
    )
    assert (answer.json["data"]["capacity"], answer.json["data"]["durationSeconds"]) == (5, 0.001)


async def test_a_port_of_its_own_takes_management_off_the_public_one(gateways: Gateways) -> None:
    gateway = await gateways.start(management_server_port=0)
    assert (await gateway.nobody("GET", "/actuator/health")).status == 404


async def test_a_reload_swaps_the_whole_table_or_nothing(gateways: Gateways) -> None:
    gateway = await gateways.start()
    user = gateway.user("someone")
    good = gateway.routes_file.read_text()
    gateway.routes_file.write_text(good.replace("/nobody/**", "/new/**"))
    async with asyncio.timeout(15):
        while (await user("GET", "/new/x")).code != "NO_INSTANCE":
            await asyncio.sleep(0.05)
    gateway.routes_file.write_text("routes: [{id: broken}]")
    async with asyncio.timeout(15):
        while True:
            routes = (await gateway.nobody("GET", "/actuator/health")).json["components"]["routes"]
            if routes["details"]["faults"]:
                break
            await asyncio.sleep(0.05)
    assert (await user("GET", "/new/x")).code == "NO_INSTANCE"


async def test_health_and_log_name_each_fault_once_and_what_is_allowed_once(
    gateways: Gateways, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await gateways.start()
    unsupported = [name for name in NO_FILTERS if name != "Hystrix"][:12]
    route = "{id: a, uri: 'lb://a', predicates: [Path=/a], filters: [%s]}"
    gateway.routes_file.write_text(f"routes: [{route % ', '.join(unsupported)}]")
    async with asyncio.timeout(15):
        while True:
            routes = (await gateway.nobody("GET", "/actuator/health")).json["components"]["routes"]
            if faults := routes["details"]["faults"]:
                break
            await asyncio.sleep(0.05)
    logged = next(record.getMessage() for record in caplog.records if "not taken over" in record.getMessage())
    for text in (" ".join(faults), logged):
        assert [text.count(f"the filter {name!r}") for name in unsupported] == [1] * 12
        assert text.count("AddRequestHeader, SetRequestHeader") == 1


async def test_a_change_nested_deeply_is_not_valid(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN)
    for body in (b"[" * 4000, b'{"capacity":' * 300):
        answer = await gateway.nobody(
            "POST", "/actuator/rooms/default", data=body, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        assert (answer.status, answer.json["error"]["code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "path", ["/health", "/health/", "/health/liveness", "/health/readiness", "/health/redis"]
)
@pytest.mark.parametrize("version", ["HTTP/1.0\r\n", "HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"])
async def test_a_load_balancer_may_ask_by_options(gateways: Gateways, path: str, version: str) -> None:
    gateway = await gateways.start(management_reads="token", management_token="t" * 20)
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(gateway.base).port)
    try:
        writer.write(f"OPTIONS /actuator{path.rstrip('/')} {version}\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == b"200"
    assert b"\r\nAllow: GET, HEAD, OPTIONS\r\n" in head
    assert b"\r\nContent-Length: 0\r\n" in head + b"\r\n"
    assert body == b""


async def test_other_methods_are_told_of_options_and_other_calls_have_none(gateways: Gateways) -> None:
    gateway = await gateways.start()
    refused = await gateway.nobody("POST", "/actuator/health")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    for path in ("/actuator/info", "/metrics", "/api/v1/queue/lineup"):
        refused = await gateway.nobody("OPTIONS", path)
        assert refused.status == 405
        assert "OPTIONS" not in refused.headers["Allow"]
