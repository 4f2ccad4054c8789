"""A gateway that dies without a word in the middle of a storm of lineups."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp

from tests.faults.people import Person
from tests.faults.site import KEYS, StartSite, memory, quick_to_judge
from tests.support.gateway import Answer

STORM = 300


async def test_no_user_is_lost_when_a_gateway_is_killed_in_a_storm_of_lineups(
    start_site: StartSite, tmp_path: Path
) -> None:
    async with start_site(gateways=0, capacity=2) as site:
        quick = quick_to_judge(tmp_path / "preload")
        killed, survivor = await asyncio.gather(site.add_gateway(quick), site.add_gateway(quick))
        early = await site.crowd(12, "early")
        used = memory(survivor)
        storm = [site.person(f"storm-{number:03d}") for number in range(STORM)]
        answered: dict[str, int] = {}
        unanswered: list[Person] = []
        enough = asyncio.Event()

        async def line_up(person: Person) -> None:
            try:
                answer: Answer = await person.lineup()
            except aiohttp.ClientError:
                unanswered.append(person)
                return
            assert answer.status == 200, answer.body
            answered[person.name] = answer.json["data"]["ticket"]
            if len(answered) >= STORM // 4:
                enough.set()

        async with asyncio.TaskGroup() as group:
            for person in storm:
                group.create_task(line_up(person))
            await enough.wait()
            killed.send(signal.SIGKILL)
        assert await killed.ended() == -signal.SIGKILL
        # Whoever was answered has that very place; whoever was not has one or none, and asks which.
        seen = site.assert_room()
        assert {name: seen.line[name] for name in answered} == answered
        for person in unanswered:
            answer = await person.status()
            assert (answer.status == 200) == (person.name in seen.line)
            if answer.status == 404:
                assert (await person.lineup()).status == 200
        assert len(site.assert_room().line) == STORM + 10
        # The streams of the dead instance find another one, with their places; and count at one instance each
        # as soon as the dead one has been cleared up after.
        await site.assert_truth([*early, *storm[:1]][:12])
        await site.room_is(
            lambda now: (
                set(now.streams.values()) == {1}
                and len(now.streams) == 10
                and len(site.store.keys(f"{KEYS.here('')}*")) == 1
            ),
            5.0,
            "one each, at one instance",
        )
        await site.assert_gate(early)
        replacement = await site.add_gateway(quick)
        assert (await early[-1].status(base=replacement.base)).status == 200
        await site.assert_moves_on(early)
        assert memory(survivor) < used + 40
