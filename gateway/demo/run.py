"""``gateway demo``: puts stage, crowd, observer and view together, and ends them in order."""

from __future__ import annotations

import asyncio
import random
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from gateway.demo.auth import PASSWORD, Account
from gateway.demo.behaviour import draw
from gateway.demo.child import GatewayDied
from gateway.demo.crowd import Crowd
from gateway.demo.observer import Observer
from gateway.demo.plan import Plan, plan_by_hand, plan_run
from gateway.demo.sale import Sale
from gateway.demo.seen import Seen
from gateway.demo.snapshot import snapshot
from gateway.demo.stage import Stage, staged
from gateway.demo.stats import Stats
from gateway.demo.summary import Witnessed, failures, invitation, summary
from gateway.demo.view import View, open_view

SECONDS = 45.0
# How often the crowd's process looks whether it was held up, and from how many seconds on that counts.
PULSE, STALLED = 0.05, 0.1
JUDGED_EVERY = 1.0


class Options(Protocol):
    """The command line. ``seconds`` None: 45 with a crowd, until Ctrl-C without; ``seed`` None: any."""

    people: int
    capacity: int
    seconds: float | None
    seed: int | None
    no_crowd: bool


def main(options: Options) -> int:
    """Run the demo. 0: no rule was broken and nobody lost; 1: else, or it could not start; 130: interrupted."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    try:
        return asyncio.run(_run(options, console))
    except GatewayDied as died:
        console.print(str(died))
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


async def _run(options: Options, console: Console) -> int:
    seed = random.SystemRandom().randrange(10_000) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as folder, _Interrupts() as interrupts:
        console.print("Starting five services and the gateway …")
        if options.no_crowd:
            by_hand = plan_by_hand(options.capacity, seed)
            async with staged(by_hand, Path(folder), []) as stage:
                return await _by_hand(stage, options, console, interrupts)
        seconds = SECONDS if options.seconds is None else options.seconds
        plan = plan_run(options.people, options.capacity, seconds, seed)
        people = draw(plan)
        accounts = [Account(one.email, PASSWORD, one.user_id, "CUSTOMER") for one in people]
        async with staged(plan, Path(folder), accounts) as stage:
            _invite(stage, console)
            observer = Observer(plan.limits, {one.number: one.user_id for one in people})
            stats = Stats(plan.limits, {one.number: one.name for one in people}, time.monotonic())

            def see(fact: Seen) -> None:
                observer.see(fact)
                stats.see(fact)

            crowd = Crowd(people, plan.limits, stage.gateway.base, see)
            return await _hold_sale(_Show(plan, stage, crowd, observer, stats), console, interrupts)


def _invite(stage: Stage, console: Console) -> None:
    console.print(invitation(stage.gateway.base, stage.guest("you@demo.example"), stage.addresses))


async def _by_hand(stage: Stage, options: Options, console: Console, interrupts: _Interrupts) -> int:
    _invite(stage, console)
    friend = stage.guest("friend@demo.example")
    console.print(f'And a second person:\n\nFRIEND="Authorization: Bearer {friend}"')
    until = "Ctrl-C" if options.seconds is None else f"{options.seconds:g} s are over, or Ctrl-C"
    console.print(f"\nRoom for {options.capacity}. All this stays up until {until}.")
    stop = asyncio.Event()
    interrupts.first = stop.set
    async with _background(stage.gateway.died()) as died, _background(stop.wait()) as stopped:
        await asyncio.wait({died, stopped}, timeout=options.seconds, return_when=asyncio.FIRST_COMPLETED)
        if died.done():
            await died
    return 0


class _Show:
    """What a run with a crowd is made of."""

    def __init__(self, plan: Plan, stage: Stage, crowd: Crowd, observer: Observer, stats: Stats) -> None:
        self.plan = plan
        self.stage = stage
        self.crowd = crowd
        self.observer = observer
        self.stats = stats
        self._verdict = observer.verdict(0.0)
        self._judged = 0.0

    def paint(self, view: View) -> None:
        """Show how things are now; the verdict, the dearest part, once a second."""
        now = time.monotonic()
        if now - self._judged >= JUDGED_EVERY:
            self._verdict, self._judged = self.observer.verdict(now), now
        view.show(snapshot(self.plan, self.stats, self._verdict, now))


async def _hold_sale(show: _Show, console: Console, interrupts: _Interrupts) -> int:
    sale = Sale(show.plan.seconds)
    show.stats.opened = sale.opened
    interrupts.first = sale.close
    with open_view(console) as view:
        async with (
            _background(_watch_pulse(show.observer)),
            _background(_keep_painting(show, view)),
            _background(show.stage.gateway.died()) as died,
            _background(show.crowd.run(sale)) as crowd,
        ):
            await asyncio.wait({died, crowd}, return_when=asyncio.FIRST_COMPLETED)
            ended = crowd if crowd.done() else died
            await ended
        show.paint(view)
    now = time.monotonic()
    verdict = show.observer.verdict(now, final=True)
    business = show.stage.business
    witnessed = Witnessed(business.witness.most_in(), business.witness.nameless, business.hall.sold)
    console.print(summary(show.plan, show.stats, verdict, witnessed, now - sale.opened))
    return 1 if failures(show.plan, show.stats, verdict, witnessed) else 0


async def _keep_painting(show: _Show, view: View) -> None:
    while True:
        show.paint(view)
        await asyncio.sleep(view.every)


async def _watch_pulse(observer: Observer) -> None:
    """Tell the observer whenever this process itself was held up."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(PULSE)
        now = time.monotonic()
        late = now - before - PULSE
        if late > STALLED:
            observer.stalled(now, late)


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.Task[Any]]:
    """Run ``work`` beside the body; cancelled and awaited at its end."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, GatewayDied):
            await task


class _Interrupts:
    """Ctrl-C and its kin: the first one calls ``first`` (if set by then), the next one cancels everything."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.first: Callable[[], object] | None = None

    def __enter__(self) -> _Interrupts:
        task = asyncio.current_task()

        def interrupted() -> None:
            nonlocal task
            first, self.first = self.first, None
            if first is not None:
                first()
            elif task is not None:
                # Once: cancelling again would interrupt the cleaning up.
                task.cancel()
                task = None

        for number in self.SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, interrupted)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self.SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)
