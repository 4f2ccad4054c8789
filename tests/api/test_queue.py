"""The waiting room over HTTP, as a client sees it."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.context import ROOMS
from tests.support.gateway import ROUTES, Gateways


async def test_the_first_is_admitted_at_once_and_the_next_waits(gateways: Gateways) -> None:
    gateway = await gateways.start()
    first, second = gateway.user("first"), gateway.user("second")
    admitted = await first.lineup()
    assert admitted.status == 200
    assert admitted.json["state"] == "ALLOWED_IN"
    assert admitted.json["room"] == "default"
    assert admitted.json["expiresInSeconds"] == 240
    assert "data" not in admitted.json
    waiting = await second.lineup()
    assert waiting.json["state"] == "WAITING"
    assert waiting.json["data"] == {
        "room": "default",
        "ticket": 1,
        "userQueuePosition": 1,
        "totalQueueSize": 1,
        "usersBehind": 0,
    }
    assert (await first.lineup()).json["message"] == "You are already allowed in."


@pytest.mark.parametrize(
    ("accept_language", "message"),
    [
        ("", "바로 입장 가능합니다."),
        ("en-GB,en;q=0.9", "You may enter now."),
        ("it, *;q=0.1", "바로 입장 가능합니다."),
        ("en;q=0.2, ko-KR;q=0.8", "바로 입장 가능합니다."),
    ],
)
async def test_the_text_follows_the_language_asked_for(
    gateways: Gateways, accept_language: str, message: str
) -> None:
    gateway = await gateways.start(default_locale="ko")
    user = gateway.user("someone")
    answer = await user("POST", "/api/v1/queue/lineup", headers={"Accept-Language": accept_language})
    assert answer.json["message"] == message


async def test_the_older_clients_compare_these_korean_texts(gateways: Gateways) -> None:
    gateway = await gateways.start(default_locale="ko")
    first, second, stranger = (gateway.user(name) for name in ("first", "second", "stranger"))
    assert (await first.lineup()).json["message"] == "바로 입장 가능합니다."
    assert (await first.lineup()).json["message"] == "이미 입장 가능한 상태입니다."
    assert (await second.lineup()).json["message"] == "대기열에 등록되었습니다."
    assert (await first.status()).json["message"] == "입장 가능합니다."
    assert (await second("POST", "/api/v1/reservations")).json["message"] == "대기 중입니다."
    refused = await stranger("POST", "/api/v1/reservations")
    assert refused.json["message"] == "대기열에 등록되지 않은 사용자입니다."
    left = await second("DELETE", "/api/v1/queue/waiting-token")
    assert left.json["message"] == "대기열 토큰이 무효화되었습니다."
    left = await first("DELETE", "/api/v1/queue/allowed-in-token")
    assert left.json["message"] == "입장 토큰이 무효화되었습니다."


async def test_status_tells_where_the_caller_stands(gateways: Gateways) -> None:
    gateway = await gateways.start()
    users = [gateway.user(f"u{number}") for number in range(4)]
    for user in users:
        await user.lineup()
    status = await users[2].status()
    assert status.json["state"] == "WAITING"
    assert status.json["data"]["userQueuePosition"] == 2
    assert status.json["data"]["totalQueueSize"] == 3
    assert status.json["data"]["usersBehind"] == 1
    assert (await users[0].status()).json["state"] == "ALLOWED_IN"
    unknown = await gateway.user("nobody").status()
    assert (unknown.status, unknown.code) == (404, "NOT_IN_QUEUE")


async def test_a_slot_given_up_goes_to_the_next_at_once(gateways: Gateways) -> None:
    gateway = await gateways.start()
    first, second = gateway.user("first"), gateway.user("second")
    await first.lineup()
    await second.lineup()
    assert (await first("DELETE", "/api/v1/queue/allowed-in-token")).status == 200
    assert (await second.status()).json["state"] == "ALLOWED_IN"
    again = await first("DELETE", "/api/v1/queue/allowed-in-token")
    assert (again.status, again.code) == (404, "NOT_ALLOWED_IN")
    nothing = await first("DELETE", "/api/v1/queue/waiting-token")
    assert (nothing.status, nothing.code) == (404, "NOT_IN_QUEUE")


async def test_leaving_answers_204_whether_or_not_there_was_anything_to_leave(gateways: Gateways) -> None:
    gateway = await gateways.start()
    user = gateway.user("someone")
    assert (await user("POST", "/api/v1/queue/leave")).status == 204
    await user.lineup()
    assert (await user("POST", "/api/v1/queue/leave")).status == 204
    assert (await user.status()).status == 404


async def test_a_beacon_may_bring_its_token_in_a_form(gateways: Gateways) -> None:
    gateway = await gateways.start()
    user = gateway.user("someone")
    await user.lineup()
    beacon = gateway.nobody
    wrong = await beacon("POST", "/api/v1/queue/leave", data={"access_token": "x"})
    assert (wrong.status, wrong.code) == (401, "TOKEN_INVALID")
    assert (await beacon("POST", "/api/v1/queue/leave", data={"access_token": user.token})).status == 204
    assert (await user.status()).status == 404
    too_long = await beacon("POST", "/api/v1/queue/leave", data=b"x" * 20_000)
    assert (too_long.status, too_long.code) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_cookie_leaves_only_from_an_own_page(gateways: Gateways) -> None:
    gateway = await gateways.start(jwt_cookie_name="session")
    user = gateway.user("someone")
    await user.lineup()
    cookie = {"Cookie": f"session={user.token}"}
    foreign = await gateway.nobody(
        "POST", "/api/v1/queue/leave", headers=cookie | {"Origin": "https://evil.example"}
    )
    assert (foreign.status, foreign.code) == (403, "CSRF_REJECTED")
    assert (await gateway.nobody("GET", "/api/v1/queue/status", headers=cookie)).status == 200
    assert (await gateway.nobody("POST", "/api/v1/queue/lineup", headers=cookie)).status == 401
    own = cookie | {"Sec-Fetch-Site": "same-origin"}
    assert (await gateway.nobody("POST", "/api/v1/queue/leave", headers=own)).status == 204


async def test_a_call_without_a_token_is_refused(gateways: Gateways) -> None:
    gateway = await gateways.start()
    for method, path in [
        ("POST", "lineup"),
        ("GET", "status"),
        ("GET", "stream"),
        ("DELETE", "allowed-in-token"),
        ("DELETE", "waiting-token"),
        ("POST", "leave"),
    ]:
        answer = await gateway.nobody(method, f"/api/v1/queue/{path}")
        assert (answer.status, answer.code) == (401, "TOKEN_REQUIRED"), path
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_what_does_not_exist_below_the_queue_is_answered_here(gateways: Gateways) -> None:
    routes = """
routes:
  - {id: everything, uri: "%(service)s", predicates: ["Path=/**"]}
"""
    gateway = await gateways.start(routes)
    user = gateway.user("someone")
    for path in ("/api/v1/queue", "/api/v1/queue/", "/api/v1/queue/other", "/API/v1/Queue/lineup"):
        answer = await user("POST", path)
        assert (answer.status, answer.code) == (404, "ROUTE_NOT_FOUND"), path
    wrong = await user("PUT", "/api/v1/queue/lineup")
    assert (wrong.status, wrong.code) == (405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["Allow"] == "POST"
    assert gateways.service.seen == []


async def test_rooms_are_separate_and_an_unknown_one_is_said_to_be(gateways: Gateways) -> None:
    routes = """
routes: []
rooms:
  vip: {capacity: 2, duration: 60}
"""
    gateway = await gateways.start(routes)
    user, other = gateway.user("one"), gateway.user("two")
    assert (await user.lineup()).json["room"] == "default"
    vip = await user.lineup(room="vip")
    assert (vip.json["room"], vip.json["expiresInSeconds"]) == ("vip", 60)
    assert (await other.lineup(room="vip")).json["state"] == "ALLOWED_IN"
    assert (await other.lineup()).json["state"] == "WAITING"
    unknown = await user.lineup(room="none")
    assert (unknown.status, unknown.code) == (404, "ROOM_NOT_FOUND")
    twice = await user("GET", "/api/v1/queue/status?room=vip&room=default")
    assert (twice.status, twice.code) == (400, "BAD_REQUEST")


async def test_every_answer_has_the_envelope(gateways: Gateways) -> None:
    gateway = await gateways.start()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = await gateway.user("someone")(
        "GET",
        "/api/v1/queue/status?room=default",
        headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"},
    )
    assert answer.json["success"] is False
    assert answer.json["traceId"] == trace
    assert answer.json["timestamp"].endswith("Z")
    assert answer.json["error"] == {
        "code": "NOT_IN_QUEUE",
        "message": "You are not in line.",
        "status": 404,
        "path": "/api/v1/queue/status",
    }
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("instances", [1, 2])
async def test_two_thousand_lineups_from_two_hundred_connections_admit_exactly_the_capacity(
    gateways: Gateways, instances: int
) -> None:
    # Gateways, clients and the signing of tokens share one loop here: an answer that waits for it is not late.
    limits = {"allowed_in_max_capacity": 100, "redis_timeout_seconds": 15.0}
    started = [await gateways.start(**limits) for _ in range(instances)]
    numbers = iter(range(2000))
    states: list[str] = []

    async def connection(index: int) -> None:
        gateway = started[index % instances]
        for number in numbers:
            answer = await gateway.user(f"user-{number}").lineup()
            assert answer.status == 200
            states.append(answer.json["state"])

    async with asyncio.TaskGroup() as group:
        for index in range(200):
            group.create_task(connection(index))
    assert len(states) == 2000
    assert states.count("ALLOWED_IN") == 100
    overview = await started[0].app[ROOMS]["default"].overview()
    assert (overview.allowed_in, overview.waiting) == (100, 1900)


async def test_a_promoted_user_is_told_until_when_to_claim_the_slot_and_claims_it(gateways: Gateways) -> None:
    gateway = await gateways.start(queue_claim_seconds=2)
    first, second, third = (gateway.user(name) for name in ("first", "second", "third"))
    for user in (first, second, third):
        await user.lineup()
    assert "claimBy" not in (await first.status()).json
    waits = await second("POST", "/api/v1/queue/claim")
    assert (waits.status, waits.code) == (404, "NOT_ALLOWED_IN")
    await first("DELETE", "/api/v1/queue/allowed-in-token")
    told = (await second.status()).json
    assert told["state"] == "ALLOWED_IN"
    assert 0 < told["claimBy"] - time.time() * 1000 < 2_100
    claimed = await second("POST", "/api/v1/queue/claim")
    assert (claimed.status, claimed.json["state"]) == (200, "ALLOWED_IN")
    assert "claimBy" not in claimed.json
    await asyncio.sleep(2.2)
    assert (await second.status()).json["state"] == "ALLOWED_IN"
    await second("DELETE", "/api/v1/queue/allowed-in-token")
    # The third one does not claim.
    await asyncio.sleep(3.2)
    room = await gateway.app[ROOMS]["default"].overview()
    assert (room.allowed_in, room.parked) == (0, 1)
    nobody = await gateway.user("nobody")("POST", "/api/v1/queue/claim")
    assert (nobody.status, nobody.code) == (404, "NOT_ALLOWED_IN")


@pytest.mark.parametrize("fast", [True, False])
async def test_a_call_that_no_service_answered_does_not_use_up_the_window(
    gateways: Gateways, fast: bool
) -> None:
    routes = ROUTES.replace("calls: [", "calls: [GET /refusing/**, GET /nobody/**, ")
    gateway = await gateways.start(routes, queue_claim_seconds=30, fast_path=fast)
    first, second = gateway.user("first"), gateway.user("second")
    await first.lineup()
    await second.lineup()
    await first("DELETE", "/api/v1/queue/allowed-in-token")
    before = (await second.status()).json["claimBy"]
    for path, code in (("/refusing/x", 502), ("/nobody/x", 503)):
        await asyncio.sleep(0.01)
        assert (await second("GET", path)).status == code
    async with asyncio.timeout(5):
        while "claimBy" not in (status := (await second.status()).json):
            await asyncio.sleep(0.02)
    assert status["claimBy"] > before
