"""The operator's desk in a real browser, with a crowd of 300 in line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.demo.deployment import Deployment
from tests.browser.axe import axe_of, faults, lost_in, zoom
from tests.browser.chromium import Page, page
from tests.browser.desk import CAPACITY, PEOPLE, desk, look, number, sale, sign_in
from tests.client.conftest import installed_client  # noqa: F401 - a fixture
from tests.support.gateway import ROUTES, Gateways
from tests.support.waiting import eventually

pytestmark = [pytest.mark.redis, pytest.mark.timeout(240)]


async def act(opened: Page, name: str, fill: str = "", *, forecast: bool = True) -> str:
    """Opens the dialog of an act, fills it in, waits for the forecast, and confirms. Returns what was foretold."""
    await opened.click(f'#acts [data-act="{name}"]')
    await opened.until("document.querySelector('#dialog').open")
    if fill:
        await opened.evaluate(fill)
    told = ""
    if forecast:
        told = await opened.until(
            "(box => !box.hidden && box.textContent)(document.querySelector('#dialog .forecast'))"
        )
    await opened.click(f'#dialog [data-confirm="{name}"]')
    await opened.until("!document.querySelector('#dialog').open")
    return str(told)


async def someone_in_line(deployment: Deployment) -> tuple[str, int]:
    """A user who waits, and not at the head of the line; and the position."""
    headers = {"Authorization": f"Bearer {deployment.operator_token}"}
    room = f"{deployment.gateway.base}/actuator/rooms/default/users?id="
    async with aiohttp.ClientSession(headers=headers) as session:
        for at in range(PEOPLE):
            async with session.get(f"{room}person-{at}") as answer:
                found = (await answer.json())["data"]
            if found["state"] == "WAITING" and found["position"] > 1:
                return f"person-{at}", int(found["position"])
    raise AssertionError("nobody waits")


async def status_of(deployment: Deployment, user: str) -> dict[str, Any]:
    """The user's own status; empty without a place."""
    token = deployment.accounts.signer.token(user, "CUSTOMER")
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.get(f"{deployment.gateway.base}/api/v1/queue/status") as answer,
    ):
        return dict((await answer.json()).get("data") or {})


def fill(**values: Any) -> str:
    steps = (
        f"((i) => {{ i.value = {json.dumps(str(value))}; i.dispatchEvent(new Event('input', {{bubbles: true}})) }})"
        f"(document.querySelector('#field-{name}'))"
        for name, value in values.items()
    )
    return ";".join(steps)


TOKEN = "operator-token-of-the-test"
LANES = f"""{ROUTES}
rooms:
  default: {{capacity: 0, lanes: [{{name: members, share: 0.3, claim: tier, values: [gold]}}]}}
"""
FOUND = "document.querySelector('#found').textContent"
PLACE = (
    "Number([...document.querySelectorAll('#found dt')].find((each) => each.textContent === 'Position')"
    "?.nextElementSibling.textContent ?? 0)"
)
TITLE = "document.querySelector('#verdict-title').textContent"


async def test_an_operator_steers_a_sale(tmp_path: Path, installed_client: Path) -> None:  # noqa: F811
    axe = axe_of(installed_client)
    async with sale(tmp_path) as deployment, desk(deployment, tmp_path / "profile") as opened:
        await sign_in(opened, deployment.operator_token)
        await opened.until(f"{number('inLine')} > 200 && {number('inside')} === {CAPACITY}")
        # Signed in, the operator sees the verdict, and not what is below it.
        hidden = "document.querySelector('#verdict').getBoundingClientRect().top < "
        hidden += "document.querySelector('.top').getBoundingClientRect().bottom"
        assert await opened.evaluate(hidden) is False
        assert await faults(opened, axe) == []
        # Its own scripts, styles and icon, and nothing of any other host.
        assert {each.split("/")[2] for each in opened.requested if each.startswith("http")} == {
            deployment.gateway.base.removeprefix("http://")
        }

        # A larger capacity: the dialog foretells, the room follows, the audit tells.
        told = await act(opened, "set", fill(capacity=20, reason="<b>more</b> servers"))
        assert "→" in told
        await opened.until(f"{number('inside')} > {CAPACITY}")
        await opened.until("document.querySelector('#audit').textContent.includes('<b>more</b> servers')")
        assert await opened.evaluate("document.querySelector('#audit b')") is None

        await act(opened, "pause")
        await opened.until(f"{TITLE} === 'Paused: no admissions'")

        # A user by id, who stays where the user is, since the room is paused: where the user stands, and to the front.
        user, behind = await someone_in_line(deployment)
        await opened.evaluate(f"document.querySelector('#find-id').value = '{user}'")
        await opened.click("#find-form button")
        await opened.until(f"{FOUND}.includes('JOINED') && {PLACE} === {behind}")
        assert await faults(opened, axe) == []
        await opened.click('#found [data-act="front"]')
        await opened.click('#dialog [data-confirm="front"]')
        await opened.until(f"{FOUND}.includes('FRONT') && {PLACE} === 1")

        # A notice: each user's status has it, as text, until it is taken away.
        for text in ("<i>Doors</i> open at nine", ""):
            await act(opened, "notice", fill(text=text), forecast=False)
            assert (await status_of(deployment, user)).get("notice", "") == text
        await opened.until("document.querySelector('#audit').textContent.includes('<i>Doors</i>')")
        assert await opened.evaluate("document.querySelector('#audit i')") is None

        await opened.click('#found [data-act="remove"]')
        await opened.click('#dialog [data-confirm="remove"]')
        await opened.until(f"{FOUND}.includes('REMOVED')")
        assert await status_of(deployment, user) == {}

        await opened.click('#verdict [data-act="resume"]')
        await opened.click('#dialog [data-confirm="resume"]')
        await opened.until(f"!{TITLE}.startsWith('Paused')")

        await act(opened, "close", forecast=False)
        await opened.until("document.querySelector('#audit').textContent.includes('close')")
        await act(opened, "reopen", forecast=False)

        told = await act(opened, "sold-out")
        assert "lose their places" in told
        await opened.until(f"{TITLE} === 'Sold out' && {number('inLine')} === 0")
        assert not [each for each in opened.complaints if "/desk/session" not in each]


async def test_lanes_are_counted_and_named(tmp_path: Path, gateways: Gateways) -> None:
    gateway = await gateways.start(LANES, desk=True, management_token=TOKEN)
    await gateway.user("ann", tier="gold").lineup()
    await gateway.user("bob").lineup()
    async with page(f"{gateway.base}/desk", tmp_path / "profile") as opened:
        await sign_in(opened, TOKEN)
        note = "document.querySelector('[data-number=inLine] .note').textContent"
        await opened.until(f"{note}.endsWith('members 1 · default 1')")
        await opened.evaluate("document.querySelector('#find-id').value = 'ann'")
        await opened.click("#find-form button")
        lane = "[...document.querySelectorAll('#found dt')].find((each) => each.textContent === 'Lane')"
        await opened.until(f"{lane}?.nextElementSibling.textContent === 'members'")


async def test_the_page_of_a_room_is_previewed_in_a_tab_of_its_own(tmp_path: Path) -> None:
    async with sale(tmp_path) as deployment, desk(deployment, tmp_path / "profile") as opened:
        await sign_in(opened, deployment.operator_token)
        await opened.evaluate("document.querySelector('#preview-form [name=state]').value = 'sold-out'")
        await opened.evaluate("document.querySelector('#preview-form [name=lang]').value = 'es'")
        click = "document.querySelector('#preview-form button').click()"
        await opened.ask("Runtime.evaluate", expression=click, userGesture=True)

        async def shown() -> bool:
            titles = [
                each["title"] for each in await opened.tabs() if "/page?state=sold-out&lang=es" in each["url"]
            ]
            return titles == ["Agotado – One night only"]

        await eventually(shown)
        assert not [each for each in opened.complaints if "/desk/session" not in each]


async def test_the_desk_fits_a_phone_and_speaks_korean_and_is_dark_at_night(
    tmp_path: Path,
    installed_client: Path,  # noqa: F811
) -> None:
    """Each state is kept as a picture below the test's folder."""
    axe = axe_of(installed_client)
    wrong = {}

    async def check(state: str) -> None:
        for width, dark in ((width, dark) for width in (360, 1440) for dark in (False, True)):
            await look(opened, width, dark=dark)
            name = f"{state}-{width}-{'dark' if dark else 'light'}"
            if found := await lost_in(opened) + await faults(opened, axe):
                wrong[name] = found
            await opened.picture(tmp_path / f"{name}.png", whole="dialog" not in state)
        await zoom(opened, 1280, 200)
        if found := await lost_in(opened):
            wrong[f"{state} at 200 %"] = found
        await look(opened, 1440)

    async with sale(tmp_path) as deployment, desk(deployment, tmp_path / "profile") as opened:
        await check("sign-in")
        await sign_in(opened, deployment.operator_token)
        await opened.until(f"{number('inLine')} > 200 && {TITLE} !== ''")
        await opened.until("document.querySelectorAll('#charts path').length >= 4")
        await check("sale")
        await opened.click('#acts [data-act="set"]')
        await opened.until("!document.querySelector('#dialog .forecast').hidden")
        await check("dialog")
        await _key(opened, "Escape", 27)
        await opened.evaluate("document.querySelector('#find-id').value = 'person-290'")
        await opened.click("#find-form button")
        await opened.until("document.querySelector('#found').textContent.includes('JOINED')")
        await act(opened, "pause", fill(reason="Checkout is slow"))
        await opened.until(f"{TITLE} === 'Paused: no admissions'")
        await check("paused")
        await opened.evaluate(
            "(s => { s.value = 'ko'; s.dispatchEvent(new Event('change')) })(document.querySelector('#language'))"
        )
        await opened.until("document.documentElement.lang === 'ko'")
        # A user who was found is asked for again.
        await opened.until(
            "![...document.querySelectorAll('h2,button,figcaption,dt,th[scope=col]')]"
            ".some(({textContent}) => /^[A-Z][a-z]+ [a-z]/.test(textContent))"
        )
        await opened.until("document.querySelector('#found').textContent.includes('JOINED · 줄을 섬')")
        await check("korean")
        # By keyboard alone: the act's control, its dialog, and away again.
        await opened.evaluate("document.querySelector('#acts [data-act=\"pause\"]').focus()")
        await _key(opened, "Enter", 13)
        await opened.until(
            "(dialog => dialog.open && dialog.contains(document.activeElement))(document.querySelector('#dialog'))"
        )
        assert await faults(opened, axe) == []
        await _key(opened, "Escape", 27)
        await opened.until(
            "!document.querySelector('#dialog').open && document.activeElement.dataset.act === 'pause'"
        )
        await act(opened, "sold-out")
        await opened.until(f"{number('inLine')} === 0")
        await check("sold-out")
    assert wrong == {}


async def _key(opened: Page, name: str, code: int) -> None:
    text = {"text": "\r"} if name == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        await opened.ask(
            "Input.dispatchKeyEvent",
            type=kind,
            key=name,
            code=name,
            windowsVirtualKeyCode=code,
            **(text if kind == "keyDown" else {}),
        )
