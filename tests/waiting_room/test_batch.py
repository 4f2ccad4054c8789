"""Coalescing of calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.errors import QueueFailed, QueueUnavailable
from gateway.waiting_room.batch import TOLD_PER_TURN, Batcher, Outcome
from tests.support.loop_turns import counted_turns


class Sender:
    """Takes batches down; answers when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.free = asyncio.Event()
        self.free.set()
        self.failing: Exception | None = None
        self.called = asyncio.Event()

    async def __call__(self, batch: list[int]) -> list[int]:
        self.batches.append(batch)
        self.called.set()
        await self.free.wait()
        if self.failing:
            error, self.failing = self.failing, None
            raise error
        return [item * 10 for item in batch]


@pytest.fixture
async def sender() -> Sender:
    return Sender()


async def test_each_caller_gets_its_own_result(sender: Sender) -> None:
    batcher: Batcher[int, int] = Batcher(sender, patience=10)
    async with batcher.running():
        assert await asyncio.gather(*(batcher.submit(n) for n in range(1000))) == [
            n * 10 for n in range(1000)
        ]


async def test_what_arrives_during_a_call_forms_the_next_in_order_and_bounded(sender: Sender) -> None:
    sender.free.clear()
    batcher: Batcher[int, int] = Batcher(sender, patience=10, max_batch=4)
    async with batcher.running():
        first = batcher.submit(0)
        await sender.called.wait()
        rest = [batcher.submit(n) for n in range(1, 11)]
        sender.free.set()
        await asyncio.gather(first, *rest)
    assert sender.batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


async def test_what_arrives_in_one_turn_of_the_loop_is_one_call(sender: Sender) -> None:
    batcher: Batcher[int, int] = Batcher(sender, patience=10)
    async with batcher.running():
        await asyncio.gather(*(batcher.submit(n) for n in range(256)))
    assert [len(batch) for batch in sender.batches] == [256]


async def test_calls_that_can_wait_begin_a_little_apart_unless_there_is_a_full_one(sender: Sender) -> None:
    batcher: Batcher[int, int] = Batcher(sender, patience=10, gather=0.1, max_batch=4)
    loop = asyncio.get_running_loop()
    async with batcher.running():
        # Calls that come alone, one after the other, do not wait: meanwhile the loop has only a few turns.
        async with counted_turns() as turns:
            assert [await batcher.submit(n) for n in range(3)] == [0, 10, 20]
            await asyncio.gather(batcher.submit(3), batcher.submit(4))
        assert turns.count < 100
        began = loop.time()
        few = [batcher.submit(5)]
        await asyncio.sleep(0.02)
        few.append(batcher.submit(6))
        await asyncio.gather(*few)
        # uvloop and asyncio count in milliseconds.
        assert loop.time() - began >= 0.098
        await asyncio.gather(*(batcher.submit(n) for n in range(7, 15)))
    assert sender.batches == [[0], [1], [2], [3, 4], [5, 6], [7, 8, 9, 10], [11, 12, 13, 14]]


@pytest.mark.parametrize(
    ("error", "expected"),
    # A fault of the gateway's own is never taken for a Redis that is away: such a call would pass the gate unchecked.
    [
        (QueueUnavailable("away", 7.0), QueueUnavailable),
        (ValueError("?"), QueueFailed),
        (TypeError("?"), QueueFailed),
    ],
)
async def test_a_failing_batch_fails_its_callers_only_and_each_with_an_exception_of_its_own(
    sender: Sender, error: Exception, expected: type[Exception]
) -> None:
    batcher: Batcher[int, int] = Batcher(sender, patience=10, max_batch=3)
    sender.failing = error
    async with batcher.running():
        results = await asyncio.gather(*(batcher.submit(n) for n in range(5)), return_exceptions=True)
    failed = results[:3]
    assert results[3:] == [30, 40]
    assert [type(result) for result in failed] == [expected] * 3
    if isinstance(error, QueueUnavailable):
        assert {(result.reason, result.retry_after) for result in failed} == {("away", 7.0)}
    assert len({id(result) for result in failed}) == 3


@pytest.mark.parametrize("given", [[], [1], [1, 2, 3]])
async def test_a_wrong_number_of_results_fails_the_batch_and_not_the_batcher(given: list[int]) -> None:
    answers = [given, [7]]

    async def send(batch: list[int]) -> list[int]:
        return answers.pop(0)

    batcher: Batcher[int, int] = Batcher(send, patience=10)
    async with batcher.running():
        failed = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
        assert {type(result) for result in failed} == {QueueFailed}
        assert await asyncio.wait_for(batcher.submit(3), 5) == 7


async def test_a_caller_too_many_is_refused_at_once(sender: Sender) -> None:
    sender.free.clear()
    batcher: Batcher[int, int] = Batcher(sender, patience=10, max_batch=1, most_pending=2)
    async with batcher.running():
        first = batcher.submit(0)
        await sender.called.wait()
        waiting = [batcher.submit(1), batcher.submit(2)]
        with pytest.raises(QueueUnavailable, match="too many"):
            batcher.submit(3)
        assert len(batcher) == 2
        sender.free.set()
        assert await asyncio.gather(first, *waiting) == [0, 10, 20]


async def test_a_cancelled_call_is_not_sent(sender: Sender) -> None:
    sender.free.clear()
    batcher: Batcher[int, int] = Batcher(sender, patience=10)
    async with batcher.running():
        first = batcher.submit(0)
        await sender.called.wait()
        gone, stays = batcher.submit(1), batcher.submit(2)
        gone.cancel()
        sender.free.set()
        assert await asyncio.gather(first, stays) == [0, 20]
    assert sender.batches == [[0], [2]]


async def test_cancelling_a_sent_call_affects_no_other(sender: Sender) -> None:
    sender.free.clear()
    batcher: Batcher[int, int] = Batcher(sender, patience=10)
    async with batcher.running():
        gone, stays = batcher.submit(1), batcher.submit(2)
        await sender.called.wait()
        gone.cancel()
        sender.free.set()
        assert await stays == 20


async def test_unsent_calls_fail_after_max_wait(sender: Sender) -> None:
    sender.free.clear()
    batcher: Batcher[int, int] = Batcher(sender, patience=0.01)
    async with batcher.running():
        first = batcher.submit(0)
        await sender.called.wait()
        late = batcher.submit(1)
        await asyncio.sleep(0.02)
        fresh = batcher.submit(2)
        sender.free.set()
        with pytest.raises(QueueUnavailable, match="in time"):
            await late
        assert await first == 0
        assert await fresh == 20
    assert sender.batches == [[0], [2]]


async def test_at_the_end_pending_calls_fail_as_closing(sender: Sender) -> None:
    sender.free.clear()
    batcher: Batcher[int, int] = Batcher(sender, patience=10, max_batch=1)
    async with batcher.running():
        sent = batcher.submit(0)
        await sender.called.wait()
        pending = batcher.submit(1)
    for future in (sent, pending):
        with pytest.raises(QueueUnavailable, match="closing"):
            await future
    with pytest.raises(QueueUnavailable, match="closed"):
        batcher.submit(2)


async def test_before_it_runs_submitting_is_refused(sender: Sender) -> None:
    batcher: Batcher[int, int] = Batcher(sender, patience=10)
    with pytest.raises(QueueUnavailable, match="closed"):
        batcher.submit(1)


class Watching:
    """A batch observer that says who calls, and keeps what it is told."""

    def __init__(self) -> None:
        self.now: str | None = None
        self.told: list[tuple[str, str, list[str], int, bool]] = []

    def caller(self) -> str | None:
        return self.now

    def on_batch(
        self, room: str, script: str, callers: Sequence[str], size: int, seconds: float, failed: bool, /
    ) -> None:
        assert seconds >= 0
        self.told.append((room, script, list(callers), size, failed))


async def test_an_observer_hears_of_the_calls_of_those_it_wants_to_hear_of(sender: Sender) -> None:
    watching = Watching()
    batcher: Batcher[int, int] = Batcher(
        sender, patience=10, room="default", script="gate", observer=watching
    )
    async with batcher.running():
        await batcher.submit(0)
        futures = []
        for number, caller in enumerate([None, "a", None, "b"]):
            watching.now = caller
            futures.append(batcher.submit(number))
        await asyncio.gather(*futures)
        sender.failing = QueueUnavailable("away")
        with pytest.raises(QueueUnavailable):
            await batcher.submit(9)
    assert watching.told == [("default", "gate", ["a", "b"], 4, False), ("default", "gate", ["b"], 1, True)]


async def test_an_outcome_is_told_in_the_same_turn_of_the_loop(sender: Sender) -> None:
    batcher: Batcher[int, int] = Batcher(sender, patience=10)
    told: list[object] = []
    outcomes = [
        Outcome[int](lambda number=number: told.append((number, outcomes[number].result())))
        for number in range(3)
    ]
    async with batcher.running():
        for number, outcome in enumerate(outcomes):
            assert not outcome.done()
            batcher.submit_to(number, outcome)
        last = batcher.submit(3)
        last.add_done_callback(lambda _: told.append("the future"))
        assert await last == 30
    # The callback of a future comes a turn later.
    assert told == [(0, 0), (1, 10), (2, 20), "the future"]
    assert all(outcome.done() for outcome in outcomes)


async def test_an_outcome_of_a_failed_batch_raises_its_error(sender: Sender) -> None:
    batcher: Batcher[int, int] = Batcher(sender, patience=10)
    sender.failing = QueueUnavailable("away")
    outcomes = [Outcome[int](lambda: None) for _ in range(2)]
    async with batcher.running():
        for outcome in outcomes:
            batcher.submit_to(1, outcome)
        with pytest.raises(QueueUnavailable):
            await batcher.submit(1)
    errors = []
    for outcome in outcomes:
        with pytest.raises(QueueUnavailable) as caught:
            outcome.result()
        errors.append(caught.value)
    assert errors[0] is not errors[1]


async def test_a_cancelled_outcome_is_not_sent_and_not_told(sender: Sender) -> None:
    sender.free.clear()
    batcher: Batcher[int, int] = Batcher(sender, patience=10)
    told: list[int] = []
    sent, unsent = Outcome[int](lambda: told.append(1)), Outcome[int](lambda: told.append(2))
    async with batcher.running():
        batcher.submit_to(1, sent)
        await sender.called.wait()
        batcher.submit_to(2, unsent)
        sent.cancel()
        unsent.cancel()
        sender.free.set()
        assert await batcher.submit(3) == 30
    assert sender.batches == [[1], [3]]
    assert told == []


async def test_a_caller_that_fails_costs_the_others_nothing(
    sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    batcher: Batcher[int, int] = Batcher(sender, patience=10)
    async with batcher.running():
        batcher.submit_to(1, Outcome[int](fail))
        assert await batcher.submit(2) == 20
        assert await batcher.submit(3) == 30
    assert "a caller failed" in caplog.text


class Iterations:
    """How many callers went on in each iteration of the event loop."""

    def __init__(self) -> None:
        self.told = 0
        self.most = 0

    def outcome(self) -> Outcome[int]:
        def then() -> None:
            self.told += 1

        return Outcome(then)

    async def until(self, told: int) -> None:
        while self.told < told:
            before = self.told
            await asyncio.sleep(0)
            self.most = max(self.most, self.told - before)


async def test_the_callers_of_a_batch_go_on_over_several_iterations_of_the_loop(sender: Sender) -> None:
    iterations = Iterations()
    batcher: Batcher[int, int] = Batcher(sender, patience=10)
    async with batcher.running():
        outcomes = [iterations.outcome() for _ in range(256)]
        for number, outcome in enumerate(outcomes):
            batcher.submit_to(number, outcome)
        await iterations.until(256)
    assert iterations.most <= TOLD_PER_TURN
    assert [outcome.result() for outcome in outcomes] == [number * 10 for number in range(256)]


async def test_so_do_thousands_of_callers_whom_a_redis_that_is_away_refuses_at_once() -> None:
    async def refuse(batch: list[int]) -> list[int]:
        raise QueueUnavailable("Redis is away")

    iterations = Iterations()
    batcher: Batcher[int, int] = Batcher(refuse, patience=10)
    async with batcher.running():
        outcomes = [iterations.outcome() for _ in range(2000)]
        for number, outcome in enumerate(outcomes):
            batcher.submit_to(number, outcome)
        await iterations.until(2000)
    assert iterations.most <= TOLD_PER_TURN
    for outcome in outcomes:
        with pytest.raises(QueueUnavailable):
            outcome.result()


async def test_and_those_that_have_waited_too_long_while_others_get_their_results(sender: Sender) -> None:
    iterations = Iterations()
    sender.free.clear()
    batcher: Batcher[int, int] = Batcher(sender, patience=0.05)
    async with batcher.running():
        first = batcher.submit(0)
        await sender.called.wait()
        outcomes = [iterations.outcome() for _ in range(2000)]
        for number, outcome in enumerate(outcomes):
            batcher.submit_to(number, outcome)
        await asyncio.sleep(0.06)
        fresh = batcher.submit(7)
        sender.free.set()
        assert await first == 0
        assert await fresh == 70
        assert iterations.told < 2000
        await iterations.until(2000)
    assert sender.batches == [[0], [7]]
    assert iterations.most <= TOLD_PER_TURN


@pytest.mark.parametrize("failing", [False, True])
async def test_at_the_end_all_callers_are_told_at_once(sender: Sender, failing: bool) -> None:
    iterations = Iterations()
    sender.failing = QueueUnavailable("Redis is away") if failing else None
    batcher: Batcher[int, int] = Batcher(sender, patience=10)
    async with batcher.running():
        for number in range(256):
            batcher.submit_to(number, iterations.outcome())
        await iterations.until(1)
        assert iterations.told < 256
    assert iterations.told == 256


async def test_at_the_end_those_that_have_waited_too_long_are_told_at_once(sender: Sender) -> None:
    iterations = Iterations()
    sender.free.clear()
    batcher: Batcher[int, int] = Batcher(sender, patience=0.05)
    async with batcher.running():
        batcher.submit(0)
        await sender.called.wait()
        for number in range(2000):
            batcher.submit_to(number, iterations.outcome())
        await asyncio.sleep(0.06)
        sender.free.set()
        await iterations.until(1)
        assert iterations.told < 2000
    assert iterations.told == 2000
