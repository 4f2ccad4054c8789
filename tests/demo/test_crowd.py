"""Opening hours."""

from __future__ import annotations

import asyncio

import pytest

from gateway.demo.crowd import Sale


async def test_all_visits_are_interrupted_when_the_sale_closes() -> None:
    sale = Sale(0.02)
    with sale.hours() as hours, pytest.raises(TimeoutError):
        async with hours:
            await asyncio.Event().wait()


async def test_closing_early_interrupts_all_visits_at_once() -> None:
    sale = Sale(3600)
    arrived = asyncio.Event()

    async def visit() -> str:
        try:
            with sale.hours() as hours:
                async with hours:
                    arrived.set()
                    await asyncio.Event().wait()
        except TimeoutError:
            pass
        return "sent home"

    async with asyncio.TaskGroup() as group:
        visits = [group.create_task(visit()) for _ in range(3)]
        await arrived.wait()
        sale.close()
    assert [one.result() for one in visits] == ["sent home"] * 3


async def test_a_visit_after_closing_is_interrupted() -> None:
    sale = Sale(3600)
    sale.close()
    with sale.hours() as hours, pytest.raises(TimeoutError):
        async with hours:
            await asyncio.Event().wait()


async def test_a_visit_that_ended_before_is_not_interrupted() -> None:
    sale = Sale(3600)
    with sale.hours() as hours:
        async with hours:
            await asyncio.sleep(0)
    sale.close()
