"""The operator's desk in Chromium, before the demo's gateway with a crowd in line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.demo.crowd import Crowd, Sale
from gateway.demo.deployment import Deployment, deploy
from gateway.demo.plan import draw_crowd, plan_run
from gateway.demo.services import PASSWORD, Account
from tests.browser.chromium import Page, page

PEOPLE, CAPACITY = 300, 10


async def look(opened: Page, width: int, *, dark: bool = False, height: int = 900) -> None:
    """Makes the window so wide, and light or dark."""
    await opened.ask(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=width < 500,
    )
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    await opened.ask("Emulation.setScrollbarsHidden", hidden=True)
    await opened.ask("Emulation.setEmulatedMedia", features=[scheme, still])


@asynccontextmanager
async def sale(folder: Path, capacity: int = CAPACITY) -> AsyncIterator[Deployment]:
    """The demo's services, gateway and crowd; nobody leaves before the tests are over."""
    plan = plan_run(PEOPLE, capacity, 150.0, seed=11)
    people = draw_crowd(plan)
    accounts = [Account(one.email, PASSWORD, one.user_id, "CUSTOMER") for one in people]
    async with deploy(plan, folder, accounts) as deployment:
        crowd = Crowd(people, plan.limits, deployment.gateway.base, lambda observation: None)
        opened = Sale(plan.seconds)
        task = asyncio.create_task(crowd.run(opened))
        try:
            yield deployment
        finally:
            opened.close()
            await asyncio.gather(task, return_exceptions=True)


async def sign_in(opened: Page, token: str) -> None:
    await opened.until("document.querySelector('#sign-in') && !document.querySelector('#sign-in').hidden")
    await opened.evaluate(f"document.querySelector('#token').value = {json.dumps(token)}")
    await opened.click("#sign-in-form button")
    await opened.until("document.querySelectorAll('.number').length >= 7")


def number(name: str) -> str:
    """The expression for one of the numbers at the top."""
    digits = "replace(/[^0-9]/g, '')"
    return f"Number(document.querySelector('[data-number={name}] dd').textContent.{digits})"


@asynccontextmanager
async def desk(deployment: Deployment, profile: Path) -> AsyncIterator[Page]:
    """The desk in a Chromium of its own. Its last processes may still write into ``profile`` afterwards."""
    async with page(f"{deployment.gateway.base}/desk", profile) as opened:
        await look(opened, 1280)
        await opened.until("document.querySelector('#sign-in') && !document.querySelector('#sign-in').hidden")
        yield opened
