"""What a stream is told, and in which order, on real connections."""

from __future__ import annotations

import asyncio

import pytest

from gateway.sse.hub import StreamTimings
from tests.sse.rig import ALLOWED_IN, NONE, STILL, Block, Event, State, Tab, World, world
from tests.support.waiting import eventually


async def waiting(here: World, user: str = "kim", ticket: int = 5, *, locale: str = "ko") -> Tab:
    """A stream of a waiting user that has had its first event."""
    here.room.states[user] = State(ticket=ticket)
    subscriber = await here.subscriber(user, locale=locale)
    block = await subscriber.next()
    assert block is not None
    assert block.event == "STATUS_UPDATE"
    return subscriber


def short(blocks: list[Block]) -> list[tuple[str, object]]:
    """Events with the one fact that tells them apart."""
    return [
        (block.event, (block.data or {}).get("reason") or (block.data or {}).get("code")) for block in blocks
    ]


class TestOpening:
    async def test_the_first_event_is_the_state_and_carries_a_spread_reconnection_time(self) -> None:
        async with world() as here:
            here.room.states["kim"] = State(ticket=5)
            block = await (await here.subscriber()).next()

        assert block is not None
        assert (block.event, block.data and block.data["ticket"]) == ("STATUS_UPDATE", 5)
        assert block.retry is not None
        assert 2000 <= block.retry <= 6000

    @pytest.mark.parametrize(
        ("state", "told", "retry"),
        [(ALLOWED_IN, ("ALLOWED_IN", None), 240_000), (NONE, ("ERROR", "NOT_IN_QUEUE"), 600_000)],
    )
    async def test_a_user_who_is_not_waiting_gets_an_event_and_the_stream_ends(
        self, state: State, told: tuple[str, object], retry: int
    ) -> None:
        async with world() as here:
            here.room.states["kim"] = state
            blocks = await (await here.subscriber()).rest()
            await here.gone()

        assert short(blocks) == [told]
        assert (blocks[0].last_id, blocks[0].retry) == ("end", retry)

    async def test_texts_are_in_the_streams_language(self) -> None:
        async with world() as here:
            here.room.states["kim"] = ALLOWED_IN
            (korean,) = await (await here.subscriber()).rest()
            (english,) = await (await here.subscriber(locale="en")).rest()

        assert korean.data == {"message": "입장 가능합니다.", "room": "default", "expiresInSeconds": 240}
        assert english.data == {"message": "You may enter.", "room": "default", "expiresInSeconds": 240}

    async def test_without_a_room_to_ask_the_stream_lives_on(self) -> None:
        async with world() as here:
            here.room.away = True
            subscriber = await here.subscriber()
            await here.room.asked.wait()
            here.room.away = False
            here.room.states["kim"] = State(ticket=5)
            await here.hub.reconcile()

            assert (await subscriber.next()).event == "STATUS_UPDATE"


class TestEventBeforeTheState:
    """The room's reply is held back while the event comes: subscribe first, then read."""

    @pytest.mark.parametrize(
        ("read", "event", "told"),
        [
            (State(ticket=5), Event("kim", 5), [("ALLOWED_IN", None)]),
            (ALLOWED_IN, Event("kim", 5), [("ALLOWED_IN", None)]),
            (State(ticket=5), Event("kim", 5, "REMOVED", "ABSENT"), [("ERROR", "ABSENT")]),
            (NONE, Event("kim", 5, "REMOVED", "OPERATOR"), [("ERROR", "OPERATOR")]),
            (NONE, Event("kim", 5), [("ERROR", "NOT_IN_QUEUE")]),
        ],
    )
    async def test_it_is_neither_lost_nor_told_twice(
        self, read: State, event: Event, told: list[tuple[str, object]]
    ) -> None:
        async with world() as here:
            here.room.states["kim"] = read
            here.room.open.clear()
            subscriber = await here.subscriber()
            await here.room.asked.wait()
            here.hub.deliver(event)
            here.hub.deliver(event)
            here.room.open.set()

            assert short(await subscriber.rest()) == told

    @pytest.mark.parametrize("ticket", [4, None])
    async def test_one_about_an_older_place_is_ignored(self, ticket: int | None) -> None:
        async with world() as here:
            here.room.states["kim"] = State(ticket=5)
            here.room.open.clear()
            subscriber = await here.subscriber()
            await here.room.asked.wait()
            here.hub.deliver(Event("kim", ticket, "REMOVED", "LEFT"))
            here.room.open.set()
            assert (await subscriber.next()).event == "STATUS_UPDATE"
            here.hub.deliver(Event("kim", 5))

            assert short(await subscriber.rest()) == [("ALLOWED_IN", None)]

    async def test_an_old_one_after_a_new_one_does_not_hide_it(self) -> None:
        async with world() as here:
            here.room.states["kim"] = State(ticket=5)
            here.room.open.clear()
            subscriber = await here.subscriber()
            await here.room.asked.wait()
            here.hub.deliver(Event("kim", 5))
            here.hub.deliver(Event("kim", 3, "REMOVED", "LEFT"))
            here.room.open.set()

            assert short(await subscriber.rest()) == [("ALLOWED_IN", None)]


class TestEvents:
    @pytest.mark.parametrize(
        ("event", "told"),
        [
            (Event("kim", 5), ("ALLOWED_IN", None)),
            (Event("kim", 6), ("ALLOWED_IN", None)),
            (Event("kim", 5, "REMOVED", "LEFT"), ("ERROR", "LEFT")),
            (Event("kim", 5, "REMOVED", "ABSENT"), ("ERROR", "ABSENT")),
            (Event("kim", 5, "REMOVED", "OPERATOR"), ("ERROR", "OPERATOR")),
        ],
    )
    async def test_one_about_this_place_ends_the_stream(self, event: Event, told: tuple[str, object]) -> None:
        async with world() as here:
            subscriber = await waiting(here)
            here.hub.deliver(event)

            assert short(await subscriber.rest()) == [told]

    @pytest.mark.parametrize("event", [Event("kim", 4), Event("lee", 5), Event("kim", None)])
    async def test_an_event_about_another_ticket_or_user_does_not(self, event: Event) -> None:
        async with world() as here:
            subscriber = await waiting(here)
            here.hub.deliver(event)
            here.hub.deliver(Event("kim", 5, "REMOVED", "LEFT"))

            assert short(await subscriber.rest()) == [("ERROR", "LEFT")]

    async def test_nothing_follows_a_last_frame(self) -> None:
        async with world() as here:
            subscriber = await waiting(here)
            here.hub.deliver(Event("kim", 5))
            here.hub.deliver(Event("kim", 6, "REMOVED", "LEFT"))
            await here.hub.reconcile()

            assert short(await subscriber.rest()) == [("ALLOWED_IN", None)]

    async def test_a_state_read_before_the_event_and_answered_after_it_says_nothing(self) -> None:
        async with world() as here:
            subscriber = await waiting(here)
            here.room.open.clear()
            here.room.asked.clear()
            reconciling = asyncio.create_task(here.hub.reconcile())
            await here.room.asked.wait()
            here.hub.deliver(Event("kim", 5))
            here.room.open.set()
            await reconciling

            assert short(await subscriber.rest()) == [("ALLOWED_IN", None)]

    async def test_a_state_read_before_a_stream_opened_is_not_sent_to_that_stream(self) -> None:
        async with world() as here:
            old = await waiting(here)
            here.room.states["kim"] = NONE
            here.room.asked.clear()
            here.room.open.clear()
            stale = asyncio.create_task(here.hub.reconcile())
            await here.room.asked.wait()
            here.room.states["kim"] = State(ticket=9)
            new = await here.subscriber()
            await eventually(lambda: len(here.hub) == 2)
            here.room.open.set()
            await stale

            assert (await new.next()).event == "STATUS_UPDATE"
            here.hub.deliver(Event("kim", 9))
            assert short(await new.rest()) == [("ALLOWED_IN", None)]
            assert short(await old.rest())[-1] == ("ERROR", "NOT_IN_QUEUE")

    async def test_a_room_that_lost_its_memory_and_counts_anew_is_followed(self) -> None:
        async with world() as here:
            subscriber = await waiting(here, ticket=500)
            here.room.states["kim"] = State(ticket=3)
            await here.hub.reconcile()
            here.hub.deliver(Event("kim", 3))

            assert short(await subscriber.rest()) == [("ALLOWED_IN", None)]


class TestTabs:
    async def test_all_streams_of_a_user_get_every_event(self) -> None:
        async with world() as here:
            subscribers = [await waiting(here), await waiting(here, locale="en")]
            here.hub.deliver(Event("kim", 5))
            ends = [(await subscriber.rest())[-1] for subscriber in subscribers]

        assert [block.event for block in ends] == ["ALLOWED_IN", "ALLOWED_IN"]
        assert [block.data and block.data["message"] for block in ends] == [
            "입장 가능합니다.",
            "You may enter.",
        ]

    async def test_a_state_is_rendered_once_however_many_streams(self) -> None:
        async with world() as here:
            for _ in range(3):
                await waiting(here)
            before = here.words.rendered
            for entry in next(here.hub._registry.slots()):
                await here.hub._reader.read_each([entry], here.hub._send_status)

            assert here.words.rendered == before + 1

    async def test_presence_counts_users_and_not_streams(self) -> None:
        async with world() as here:
            first, second = await waiting(here), await waiting(here)
            first.close()
            await here.gone(1)
            assert here.told.log == ["+kim", "closed"]
            second.close()
            await here.gone()

            assert here.told.log == ["+kim", "closed", "closed", "-kim"]
            assert here.told.counts == [("kim", 2), ("kim", 1)]

    async def test_closing_one_stream_leaves_the_others_alone(self) -> None:
        async with world() as here:
            first, second = await waiting(here), await waiting(here)
            first.close()
            await here.gone(1)
            here.hub.deliver(Event("kim", 5))

            assert short(await second.rest())[-1] == ("ALLOWED_IN", None)

    async def test_one_stream_too_many_ends_the_oldest(self) -> None:
        async with world() as here:
            subscribers = [await waiting(here, locale="en") for _ in range(STILL.streams_per_user + 1)]
            oldest = (await subscribers[0].rest())[-1]

            assert (oldest.data, oldest.last_id) == ({"code": "TOO_MANY_STREAMS", "message": "en"}, "end")
            await here.gone(STILL.streams_per_user)
            assert len(here.hub) == STILL.streams_per_user
            assert here.told.log == ["+kim", "closed"]
            assert here.told.counts[-1] == ("kim", STILL.streams_per_user)

    async def test_a_lost_connection_is_noticed_by_the_next_write_even_without_cancellation(self) -> None:
        async with world(
            StreamTimings(status_interval=3600.0, heartbeat=0.02), handler_cancellation=False
        ) as here:
            subscriber = await waiting(here)
            subscriber.close()
            await here.gone()

            assert here.told.log == ["+kim", "closed", "-kim"]


class TestFull:
    @pytest.mark.parametrize(
        ("state", "told", "retries"),
        [
            (State(ticket=5), ("STATUS_UPDATE", None), (5000, 15_000)),
            (ALLOWED_IN, ("ALLOWED_IN", None), (240_000, 240_000)),
            (NONE, ("ERROR", "NOT_IN_QUEUE"), (600_000, 600_000)),
        ],
    )
    async def test_a_full_instance_tells_the_state_once_and_ends(
        self, state: State, told: tuple[str, object], retries: tuple[int, int]
    ) -> None:
        async with world(stream_limit=1) as here:
            await waiting(here, "lee")
            assert here.hub.full
            here.room.states["kim"] = state
            subscriber = await here.subscriber()
            (block,) = await subscriber.rest()

            assert subscriber.status == 200
            assert short([block]) == [told]
            assert block.retry is not None
            assert retries[0] <= block.retry <= retries[1]
            assert len(here.hub) == 1
            assert here.told.log == ["+lee"]

    async def test_a_full_instance_without_a_room_to_ask_says_come_back(self) -> None:
        async with world(stream_limit=0) as here:
            here.room.away = True
            (block,) = await (await here.subscriber()).rest()

        assert (block.event, block.last_id, block.comments) == ("", None, ("no room here",))
        assert block.retry is not None
        assert 5000 <= block.retry <= 15_000

    async def test_a_seat_that_becomes_free_is_taken_again(self) -> None:
        async with world(stream_limit=1) as here:
            await waiting(here)
            here.hub.deliver(Event("kim", 5))

            assert not here.hub.full
            await waiting(here, "lee")


class TestReconcile:
    async def test_reconciling_ends_streams_that_should_have_ended_and_no_others(self) -> None:
        async with world() as here:
            kim, lee, park = [await waiting(here, user) for user in ("kim", "lee", "park")]
            here.room.states |= {"kim": ALLOWED_IN, "lee": NONE}
            await here.hub.reconcile()
            assert short(await kim.rest()) == [("ALLOWED_IN", None)]
            assert short(await lee.rest()) == [("ERROR", "NOT_IN_QUEUE")]
            here.hub.deliver(Event("park", 5))

            assert short(await park.rest()) == [("ALLOWED_IN", None)]

    async def test_it_begins_at_once_when_events_come_again(self) -> None:
        async with world() as here:
            subscriber = await waiting(here)
            for state in (State(ticket=5), ALLOWED_IN):
                here.room.states["kim"] = state
                here.room.asked.clear()
                here.hub.restored()
                await here.room.asked.wait()

            assert short(await subscriber.rest()) == [("ALLOWED_IN", None)]

    async def test_a_stream_still_waiting_for_its_first_state_gets_it_from_there(self) -> None:
        async with world() as here:
            here.room.states["kim"] = State(ticket=5)
            here.room.open.clear()
            subscriber = await here.subscriber()
            await here.room.asked.wait()
            reconciling = asyncio.create_task(here.hub.reconcile())
            await eventually(lambda: len(here.room.calls) == 2)
            here.room.open.set()
            await reconciling

            assert (await subscriber.next()).event == "STATUS_UPDATE"


class TestEstimates:
    async def test_the_first_estimate_shown_is_compared_with_the_real_wait_once_for_all_streams(self) -> None:
        async with world() as here:
            here.room.states["kim"] = State(ticket=5, estimated_wait=40.0)
            subscribers = [await here.subscriber(), await here.subscriber()]
            for subscriber in subscribers:
                await subscriber.next()
            here.room.states["kim"] = State(ticket=5, estimated_wait=20.0)
            await here.hub.reconcile()
            here.hub.deliver(Event("kim", 5))
            for subscriber in subscribers:
                await subscriber.rest()
        ((first_estimate, real),) = here.kept
        assert first_estimate == 40.0
        assert 0 < real < 30

    async def test_with_a_new_ticket_another_one_counts(self) -> None:
        async with world() as here:
            here.room.states["kim"] = State(ticket=5, estimated_wait=40.0)
            subscriber = await here.subscriber()
            await subscriber.next()
            here.room.states["kim"] = State(ticket=9, estimated_wait=90.0)
            await here.hub.reconcile()
            here.hub.deliver(Event("kim", 9))
            await subscriber.rest()
        assert [first_estimate for first_estimate, _ in here.kept] == [90.0]

    @pytest.mark.parametrize(
        ("estimate", "event"),
        [
            pytest.param(None, Event("kim", 5), id="nothing was shown"),
            pytest.param(40.0, Event("kim", 5, "REMOVED", "LEFT"), id="not admitted"),
            pytest.param(40.0, Event("kim", 4), id="an older ticket"),
        ],
    )
    async def test_what_says_nothing_of_an_estimate_is_left_out(
        self, estimate: float | None, event: Event
    ) -> None:
        async with world() as here:
            here.room.states["kim"] = State(ticket=5, estimated_wait=estimate)
            await (await here.subscriber()).next()
            here.hub.deliver(event)
        assert here.kept == []


class TestPasses:
    async def test_an_admission_names_the_user_and_the_ticket(self) -> None:
        async with world() as here:
            here.words.personal = True
            subscriber = await waiting(here, ticket=5)
            here.hub.deliver(Event("kim", 5))
            (admitted,) = await subscriber.rest()
            here.room.states["lee"] = ALLOWED_IN
            (found,) = await (await here.subscriber("lee")).rest()

        assert admitted.data is not None
        assert admitted.data["pass"] == "kim:5"
        assert found.data is not None
        assert found.data["pass"] == "lee:0"
