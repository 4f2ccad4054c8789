"""One run of ``gateway demo``: starts deployment, crowd, observer and display, and ends them in order."""

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

from gateway.demo.crowd import Crowd, Sale
from gateway.demo.deployment import Deployment, GatewayFailed, deploy
from gateway.demo.display import Display, ServiceTotals, failures, instructions, open_display, summary
from gateway.demo.observations import Observation
from gateway.demo.observer import Observer
from gateway.demo.plan import Plan, draw_crowd, plan_by_hand, plan_run
from gateway.demo.services import PASSWORD, Account
from gateway.demo.statistics import Statistics, snapshot

SECONDS = 45.0
# How often the crowd's process checks whether it was held up, and the shortest delay that counts as a stall.
PULSE_SECONDS, STALL_SECONDS = 0.05, 0.1
VERDICT_SECONDS = 1.0


class Options(Protocol):
    """The command line. ``seconds`` None: 45 with a crowd, until Ctrl-C without one; ``seed`` None: any."""

    people: int
    capacity: int
    seconds: float | None
    seed: int | None
    no_crowd: bool
    stay: bool


def main(options: Options) -> int:
    """Run the demo. Returns the exit status.

    0: no rule was broken and no one was lost; 1: otherwise, or the gateway failed; 130: interrupted.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    try:
        return asyncio.run(_run(options, console))
    except GatewayFailed as error:
        console.print(str(error))
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


async def _run(options: Options, console: Console) -> int:
    seed = random.SystemRandom().randrange(10_000) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as folder, _Interrupts() as interrupts:
        console.print("Starting six services and the gateway …")
        if options.no_crowd:
            plan = plan_by_hand(options.capacity, seed)
            async with deploy(plan, Path(folder), []) as deployment:
                return await _run_without_crowd(deployment, options, console, interrupts)
        seconds = SECONDS if options.seconds is None else options.seconds
        plan = plan_run(options.people, options.capacity, seconds, seed)
        people = draw_crowd(plan)
        accounts = [Account(one.email, PASSWORD, one.user_id, "CUSTOMER") for one in people]
        async with deploy(plan, Path(folder), accounts) as deployment:
            _print_instructions(deployment, console)
            observer = Observer(plan.limits, {one.number: one.user_id for one in people})
            statistics = Statistics(plan.limits, {one.number: one.name for one in people}, time.monotonic())

            def observe(observation: Observation) -> None:
                observer.observe(observation)
                statistics.observe(observation)

            crowd = Crowd(people, plan.limits, deployment.gateway.base, observe)
            run = _Run(plan, deployment, crowd, observer, statistics)
            status = await _hold_sale(run, console, interrupts)
            if options.stay:
                console.print("\nThe crowd has gone. All this stays up until Ctrl-C.")
                await _stay(deployment, None, interrupts)
            return status


def _print_instructions(deployment: Deployment, console: Console) -> None:
    console.print(
        instructions(
            deployment.gateway.base,
            deployment.guest_token("you@demo.example"),
            deployment.operator_token,
            deployment.addresses,
        )
    )


async def _run_without_crowd(
    deployment: Deployment, options: Options, console: Console, interrupts: _Interrupts
) -> int:
    _print_instructions(deployment, console)
    friend = deployment.guest_token("friend@demo.example")
    console.print(f'And a second person:\n\nFRIEND="Authorization: Bearer {friend}"')
    until = "Ctrl-C" if options.seconds is None else f"{options.seconds:g} s are over, or Ctrl-C"
    console.print(f"\nRoom for {options.capacity}. All this stays up until {until}.")
    await _stay(deployment, options.seconds, interrupts)
    return 0


async def _stay(deployment: Deployment, seconds: float | None, interrupts: _Interrupts) -> None:
    """Wait for an interrupt, or for so many seconds. Raises GatewayFailed if the gateway ends before."""
    stop = asyncio.Event()
    interrupts.first = stop.set
    async with _background(deployment.gateway.raise_on_exit()) as exited, _background(stop.wait()) as stopped:
        await asyncio.wait({exited, stopped}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if exited.done():
            await exited


class _Run:
    """The parts of a run with a crowd."""

    def __init__(
        self, plan: Plan, deployment: Deployment, crowd: Crowd, observer: Observer, statistics: Statistics
    ) -> None:
        self.plan = plan
        self.deployment = deployment
        self.crowd = crowd
        self.observer = observer
        self.statistics = statistics
        self._verdict = observer.verdict(0.0)
        self._verdict_at = 0.0

    def refresh(self, display: Display) -> None:
        """Show the present figures. The verdict costs most, so it is made once a second only."""
        now = time.monotonic()
        if now - self._verdict_at >= VERDICT_SECONDS:
            self._verdict, self._verdict_at = self.observer.verdict(now), now
        display.show(snapshot(self.plan, self.statistics, self._verdict, now))


async def _hold_sale(run: _Run, console: Console, interrupts: _Interrupts) -> int:
    sale = Sale(run.plan.seconds)
    run.statistics.opened = sale.opened
    interrupts.first = sale.close
    with open_display(console) as display:
        async with (
            _background(_watch_stalls(run.observer)),
            _background(_refresh_periodically(run, display)),
            _background(run.deployment.gateway.raise_on_exit()) as exited,
            _background(run.crowd.run(sale)) as crowd,
        ):
            await asyncio.wait({exited, crowd}, return_when=asyncio.FIRST_COMPLETED)
            ended = crowd if crowd.done() else exited
            await ended
        run.refresh(display)
    now = time.monotonic()
    verdict = run.observer.verdict(now, final=True)
    backend = run.deployment.backend
    service_totals = ServiceTotals(
        backend.occupancy.peak(), backend.occupancy.without_user, backend.inventory.sold
    )
    console.print(summary(run.plan, run.statistics, verdict, service_totals, now - sale.opened))
    return 1 if failures(run.plan, run.statistics, verdict, service_totals) else 0


async def _refresh_periodically(run: _Run, display: Display) -> None:
    while True:
        run.refresh(display)
        await asyncio.sleep(display.every)


async def _watch_stalls(observer: Observer) -> None:
    """Tell the observer when this process itself was held up."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(PULSE_SECONDS)
        now = time.monotonic()
        late = now - before - PULSE_SECONDS
        if late > STALL_SECONDS:
            observer.stalled(now, late)


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.Task[Any]]:
    """Run ``work`` beside the body, and cancel and await it at the end."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, GatewayFailed):
            await task


class _Interrupts:
    """SIGINT, SIGTERM and SIGHUP: the first one calls ``first`` (if set by then), the next one cancels the run."""

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
                # Only once: a second cancellation would interrupt the cleanup.
                task.cancel()
                task = None

        for number in self.SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, interrupted)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self.SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)
