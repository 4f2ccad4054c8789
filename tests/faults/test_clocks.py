"""A gateway whose clock is wrong by an hour, beside one whose clock is right.

What must hold: everything of the room, whose only clock is Redis's; streams and proxied calls; and tokens that are
good by both clocks. What can't: whether a token has expired is judged by the gateway's own clock, so one that runs
ahead refuses tokens with less than that left (and one behind takes expired ones for as long), and the times it
writes into answers are its own.
"""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest

from tests.faults.site import Site, StartSite, preloaded

HOUR = 3600

# The clock goes wrong at once, or with SIGUSR1.
_SHIFTED = """
import signal, time
right, offset = time.time, %d
time.time = lambda: right() + offset
time.time_ns = lambda: int((right() + offset) * 1e9)
def jump(number, frame):
    global offset
    offset = %d
signal.signal(signal.SIGUSR1, jump)
"""


def wrong_clock(folder: Path, *, first: int, later: int = 0) -> dict[str, str]:
    return preloaded(folder, _SHIFTED % (first, later))


async def assert_room_does_not_care(site: Site) -> None:
    people = [site.person(f"person-{number:02d}", exp=int(time.time()) + 3 * HOUR) for number in range(14)]
    for person in people:
        assert (await person.lineup()).status == 200
    for person in people[2:]:
        person.watch()
    await asyncio.gather(*(person.updated(5.0) for person in people[2:]))
    await site.assert_truth(people)
    await site.assert_moves_on(people, 8)
    await site.assert_truth(people)
    seen = site.look()
    # Sessions are those of Redis's clock, whichever gateway made the call.
    seconds, _ = site.store.time()
    assert all(abs(float(since) - seconds) < 30 for since in seen.inside.values())
    for base in site.bases():
        insider = next(person for person in people if person.inside)
        answer = await insider.status(base=base)
        assert 30 < answer.json["expiresInSeconds"] <= 60
        assert (await insider.gated(base=base)).status == 200


@pytest.mark.parametrize("offset", [HOUR, -HOUR], ids=["ahead", "behind"])
async def test_the_room_does_not_care_for_a_gateways_clock(
    start_site: StartSite, tmp_path: Path, offset: int
) -> None:
    async with start_site(gateways=1) as site:
        wrong = await site.add_gateway(wrong_clock(tmp_path / "preload", first=offset))
        await assert_room_does_not_care(site)
        await site.room_is(lambda seen: not seen.idle, 1.0, "no idle slot")
        # What can't hold: the gateway's own clock judges tokens.
        short = site.person("short", exp=int(time.time()) + HOUR // 2)
        expired = site.person("expired", exp=int(time.time()) - HOUR // 2)
        right = site.gateways[0]
        assert (await short.status(base=right.base)).status == 404
        assert (await expired.status(base=right.base)).code == "TOKEN_EXPIRED"
        if offset > 0:
            assert (await short.status(base=wrong.base)).code == "TOKEN_EXPIRED"
        else:
            assert (await expired.status(base=wrong.base)).status == 404


async def test_sessions_end_in_time_whichever_gateway_sweeps(start_site: StartSite, tmp_path: Path) -> None:
    async with start_site(gateways=0, capacity=1, duration=2.0) as site:
        await site.add_gateway(wrong_clock(tmp_path / "preload", first=HOUR))
        people = [site.person(f"person-{number}", exp=int(time.time()) + 3 * HOUR) for number in range(3)]
        for person in people:
            assert (await person.lineup()).status == 200
        for person in people[1:]:
            person.watch()
        began = time.monotonic()
        for person in people[1:]:
            assert (await person.told(5.0)).name == "ALLOWED_IN"
            assert 0.8 < time.monotonic() - began < 4.5
            began = time.monotonic()
        site.assert_room()


@pytest.mark.parametrize("later", [HOUR, -HOUR], ids=["forward", "back"])
async def test_a_clock_that_jumps_stops_neither_streams_nor_sweeps(
    start_site: StartSite, tmp_path: Path, later: int
) -> None:
    async with start_site(gateways=0, capacity=1, duration=2.0) as site:
        jumping = await site.add_gateway(wrong_clock(tmp_path / "preload", first=0, later=later))
        people = [site.person(f"person-{number}", exp=int(time.time()) + 3 * HOUR) for number in range(4)]
        for person in people:
            assert (await person.lineup()).status == 200
        for person in people[1:]:
            person.watch()
        await asyncio.gather(*(person.updated(3.0) for person in people[1:]))
        jumping.send(signal.SIGUSR1)
        # Two sessions end, one after the other, by the sweep alone.
        for person in people[1:3]:
            assert (await person.told(5.0)).name == "ALLOWED_IN"
        await people[3].updated(2.0)
        site.assert_room()
