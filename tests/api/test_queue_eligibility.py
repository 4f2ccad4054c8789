"""Rooms for some users alone, and invitations for others, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.cli.main import main
from gateway.context import OBSERVERS
from tests.api.test_queue_visitors import Browser
from tests.support.gateway import Caller, Gateways, Running

ROUTES = """
routes:
  - {id: all, uri: "%(service)s", predicates: ["Path=/**"]}
gates:
  - {room: presale, calls: [POST /buy]}
rooms:
  presale:
    capacity: 100
    eligible: {claim: presale, values: [gold, silver]}
"""
OPERATOR = "operator-token-of-the-test"
SECRETS = {"invite_secrets": "a-secret-of-the-test,another-secret-of-it", "management_token": OPERATOR}
INVITE = "/actuator/rooms/presale/invite"

fast_path = pytest.mark.parametrize("fast_path", [True, False])


async def invitation(gateway: Running, **asked: Any) -> str:
    answer = await gateway.with_token(OPERATOR)("POST", INVITE, json=asked)
    assert answer.status == 200, answer.json
    return str(answer.json["data"]["invite"])


async def refused(caller: Caller, **query: str) -> bool:
    answer = await caller.lineup(room="presale", **query)
    assert answer.status == 200 or (answer.status, answer.code) == (403, "NOT_ELIGIBLE")
    return answer.status == 403


@fast_path
async def test_only_users_with_the_claim_take_a_place(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(ROUTES, fast_path=fast_path)
    for claim, excluded in {
        "gold": False,
        "silver": False,
        "bronze": True,
        "Gold": True,
        ("bronze", "gold"): False,
        None: True,
        True: True,
    }.items():
        user = gateway.user(f"user-{claim}", presale=list(claim) if isinstance(claim, tuple) else claim)
        assert await refused(user) is excluded, claim
        status = await user.status(room="presale")
        assert (status.status == 404) is excluded
    # Other rooms are for everyone.
    assert (await gateway.user("any").lineup()).status == 200


@fast_path
async def test_a_user_who_has_a_place_keeps_it_with_another_token(
    gateways: Gateways, fast_path: bool
) -> None:
    gateway = await gateways.start(ROUTES, fast_path=fast_path)
    await gateway.user("ann", presale="gold").lineup(room="presale")
    answer = await gateway.user("ann").lineup(room="presale")
    assert (answer.status, answer.json["state"]) == (200, "ALLOWED_IN")
    assert (await gateway.user("ann")("POST", "/buy")).status == 200


@fast_path
async def test_invitations_let_in_as_many_as_they_say(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(ROUTES, fast_path=fast_path, **SECRETS)
    two = await invitation(gateway, uses=2)
    users = [gateway.user(f"user-{number}") for number in range(8)]
    outcomes = await asyncio.gather(*(refused(user, invite=two) for user in users))
    assert outcomes.count(False) == 2
    inside = [user for user, out in zip(users, outcomes, strict=True) if not out]
    # Who has a place needs no invitation any more, and spends none.
    assert not await refused(inside[0])
    assert not await refused(inside[1], invite=await invitation(gateway, user="user-99"))
    # An eligible user spends none.
    one = await invitation(gateway, uses=1)
    assert not await refused(gateway.user("gold", presale="gold"), invite=one)
    assert not await refused(gateway.user("guest"), invite=one)
    assert await refused(gateway.user("late"), invite=one)


@fast_path
async def test_an_invitation_is_for_its_user_room_and_time(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(ROUTES, fast_path=fast_path, **SECRETS)
    personal = await invitation(gateway, user="ann", expires="1h")
    assert await refused(gateway.user("bob"), invite=personal)
    assert not await refused(gateway.user("ann"), invite=personal)
    other = await gateway.with_token(OPERATOR)("POST", "/actuator/rooms/default/invite", json={"uses": 1})
    assert await refused(gateway.user("cid"), invite=other.json["data"]["invite"])
    short = await invitation(gateway, uses=1, expires="1ms")
    await asyncio.sleep(0.01)
    assert await refused(gateway.user("dan"), invite=short)
    for wrong in ("", "x", personal[:-1] + "A"):
        assert await refused(gateway.user("eve"), invite=wrong)
    twice = await gateway.user("eve")(
        "POST", f"/api/v1/queue/lineup?room=presale&invite={personal}&invite={personal}"
    )
    assert (twice.status, twice.code) == (400, "BAD_REQUEST")


async def test_secrets_are_replaced_without_ending_invitations(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, **SECRETS)
    old = await invitation(gateway, uses=5)
    rotated = SECRETS | {"invite_secrets": "a-new-secret-of-the-test,a-secret-of-the-test"}
    after = await gateways.start(ROUTES, **rotated)
    assert not await refused(after.user("ann"), invite=old)
    new = await invitation(after, uses=5)
    assert await refused(gateway.user("bob"), invite=new)


async def test_nothing_shows_an_invitation(
    gateways: Gateways, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    lines: list[dict[str, Any]] = []
    for fast in (True, False):
        gateway = await gateways.start(ROUTES, fast_path=fast, **SECRETS)
        text = await invitation(gateway, uses=1)
        log = gateway.app[OBSERVERS].access_log
        log.enabled, log.write = True, lambda **facts: lines.append(facts)  # type: ignore[method-assign]
        answers = [await gateway.user(f"ann-{fast}").lineup(room="presale", invite=text)]
        answers.append(await gateway.user("bob").lineup(room="presale", invite=text))
        answers.append(await gateway.user("bob").lineup(room="nowhere", invite=text))
        answers.append(await gateway.nobody("POST", f"/api/v1/queue/lineup?room=presale&invite={text}"))
        assert [answer.status for answer in answers] == [200, 403, 404, 401]
        told = [
            caplog.text,
            *capsys.readouterr(),
            *map(str, lines),
            *(str(answer.json) for answer in answers),
        ]
        assert len(lines) >= 4
        assert not any(text in each or text[:20] in each for each in told)
        lines.clear()


async def test_what_redis_keeps_ends_with_the_invitation(gateways: Gateways, redis: Redis) -> None:
    gateway = await gateways.start(ROUTES, **SECRETS)
    await refused(gateway.user("ann"), invite=await invitation(gateway, uses=3, expires="1h"))
    keys = [key async for key in redis.scan_iter("gw:{presale}:invitation:*")]
    assert len(keys) == 1
    assert 3_500 < await redis.ttl(keys[0]) <= 3_600


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["body"]),
        ({"user": "ann", "uses": 1}, ["body"]),
        ({"user": ""}, ["user"]),
        ({"user": "x" * 256}, ["user"]),
        ({"user": 7}, ["user"]),
        ({"uses": 0}, ["uses"]),
        ({"uses": 1_000_001}, ["uses"]),
        ({"uses": True}, ["uses"]),
        ({"uses": 1.5}, ["uses"]),
        ({"uses": 1, "expires": "32d"}, ["expires"]),
        ({"uses": 1, "expires": 0}, ["expires"]),
        ({"uses": 1, "expires": "745h"}, ["expires"]),
        ({"uses": 1, "reason": "a\nb"}, ["reason"]),
        ({"uses": 1, "until": "1h"}, ["until"]),
    ],
)
async def test_a_wrong_request_says_what_is_allowed(
    gateways: Gateways, body: dict[str, Any], fields: list[str]
) -> None:
    gateway = await gateways.start(ROUTES, **SECRETS)
    answer = await gateway.with_token(OPERATOR)("POST", INVITE, json=body)
    assert answer.status == 400
    assert [field["field"] for field in answer.json["error"]["fields"]] == fields
    assert all(
        "allowed is" in field["reason"] or "unknown" in field["reason"]
        for field in answer.json["error"]["fields"]
    )


async def test_only_operators_invite_and_only_with_secrets(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, management_token=OPERATOR)
    answer = await gateway.with_token(OPERATOR)("POST", INVITE, json={"uses": 1})
    assert answer.status == 400
    assert answer.json["error"]["fields"][0]["field"] == "INVITE_SECRETS"
    assert (await gateway.user("ann")("POST", INVITE, json={"uses": 1})).status == 401
    with_secrets = await gateways.start(ROUTES, **SECRETS)
    unknown = await with_secrets.with_token(OPERATOR)(
        "POST", INVITE.replace("presale", "x"), json={"uses": 1}
    )
    assert (unknown.status, unknown.code) == (404, "ROOM_NOT_FOUND")
    broken = await with_secrets.with_token(OPERATOR)("POST", INVITE, data=b"[")
    assert broken.status == 400


async def test_the_command_line_invites_and_the_audit_knows(
    gateways: Gateways, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = await gateways.start(ROUTES, **SECRETS)

    async def run(*words: str) -> tuple[int, str]:
        arguments = ["room", *words, "--room", "presale", "--url", gateway.nobody.base]
        status = await asyncio.to_thread(main, arguments, {"OPERATOR_TOKEN": OPERATOR})
        return status, capsys.readouterr().out

    status, out = await run("invite", "--user", "ann", "--expires", "1h", "--reason", "a guest")
    assert status == 0
    assert not await refused(gateway.user("ann"), invite=out.strip())
    before = time.time() * 1000
    status, out = await run("invite", "--uses", "3", "--json")
    data = json.loads(out)
    assert (data["room"], data["uses"]) == ("presale", 3)
    assert 0 <= data["expiresAt"] - before - 86_400_000 < 60_000
    assert not await refused(gateway.user("bob"), invite=data["invite"])
    status, out = await run("audit", "--json")
    entries = json.loads(out)
    assert [(each["act"], each.get("user"), each["to"], each["reason"]) for each in entries] == [
        ("invite", None, "3 uses", None),
        ("invite", "ann", "1 use", "a guest"),
    ]
    assert data["invite"] not in out


@fast_path
async def test_visitors_need_an_invitation_too(gateways: Gateways, fast_path: bool) -> None:
    routes = ROUTES.replace("    capacity: 100\n", "    capacity: 100\n    identity: either\n")
    gateway = await gateways.start(routes, fast_path=fast_path, **SECRETS)
    lineup = "/api/v1/queue/lineup?room=presale"
    ann, bob = Browser(gateway), Browser(gateway)
    for browser in (ann, bob):
        assert (await browser("POST", lineup)).code == "COOKIE_REQUIRED"
        assert (await browser("POST", lineup)).code == "NOT_ELIGIBLE"
    personal = await invitation(gateway, user=f"visitor:{ann.id}")
    assert (await bob("POST", f"{lineup}&invite={personal}")).code == "NOT_ELIGIBLE"
    assert (await ann("POST", f"{lineup}&invite={personal}")).json["state"] == "ALLOWED_IN"
    # The place moves to the user who signs in, and with it the right to it.
    token = {"Authorization": f"Bearer {gateways.issuer.token('kim')}"}
    assert (await ann("POST", lineup, headers=token)).json["state"] == "ALLOWED_IN"
    assert not await refused(gateway.user("kim"))
    audit = await gateway.with_token(OPERATOR)("GET", "/actuator/rooms/presale/audit")
    assert audit.json["data"][0]["user"] == f"visitor:{ann.id}"
