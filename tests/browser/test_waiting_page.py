"""The waiting page in a real browser, before a real gateway: it waits, enters, and says what happens."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.browser.chromium import Context, Page
from tests.browser.chromium import page as chromium_page
from tests.browser.waiting import ROUTES, Sale, Visitor, a_sale
from tests.support.gateway import Gateways
from tests.support.gateway_process import gateway_process
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(120)

STATE = "document.getElementById('queue')?.dataset.state"
POSITION = "document.querySelector('[data-fill=position]')?.textContent"
IN = "document.getElementById('in')?.textContent === 'Pay here.'"
# The bar is shown once the script knows where the person stands.
MOVES = "document.getElementById('progress').hidden === false"
JS = "document.getElementById('queue')?.classList.contains('js')"


def at(position: int) -> str:
    """True once the script shows this position."""
    title = f"document.title === '({position}) Winter sale'"
    return f"{STATE} === 'waiting' && {POSITION} === '{position}' && {title} && {MOVES}"


def state(name: str) -> str:
    """True once the page is in this state."""
    return f"{JS} && {STATE} === '{name}'"


def complaints(page: Page) -> list[str]:
    """What the page complains of, but for statuses that waiting has."""
    return [each for each in page.complaints if "Failed to load resource" not in each]


@pytest.fixture
async def sale(gateways: Gateways) -> AsyncIterator[Sale]:
    async with a_sale(gateways) as made:
        yield made


@asynccontextmanager
async def waiting(context: Context, sale: Sale) -> AsyncIterator[tuple[Page, Visitor]]:
    """A tab at place 1, and the visitor who has the slot."""
    first = Visitor(sale.gateway)
    await first.lineup()
    async with context.tab(sale.checkout) as page:
        await page.until(at(1))
        yield page, first


async def ticket(page: Page) -> int:
    """The ticket of the browser's visitor."""
    asked = "fetch('/api/v1/queue/status').then((answer) => answer.json()).then(({data}) => data.ticket)"
    return int(await page.evaluate(asked))


async def test_a_visitor_waits_and_enters_at_the_address_asked_for(context: Context, sale: Sale) -> None:
    async with waiting(context, sale) as (page, first):
        await eventually(lambda: sale.streams)
        assert sale.shop.seen == []
        await first.leave()
        await page.until(IN)
        assert await page.evaluate("location.href") == sale.checkout
        assert sale.shop.seen == ["GET /shop/checkout?seats=2"]
        assert complaints(page) == []


async def test_a_reload_keeps_the_place(context: Context, sale: Sale) -> None:
    async with waiting(context, sale) as (page, _):
        before = await ticket(page)
        await page.reload()
        await page.until(at(1))
        assert await ticket(page) == before


async def test_the_way_back_leads_to_the_same_place(context: Context, sale: Sale) -> None:
    async with waiting(context, sale) as (page, first):
        before = await ticket(page)
        await page.go(f"{sale.gateway.base}/shop/free")
        await page.until(IN)
        await page.evaluate("history.back()")
        await page.until(at(1))
        assert await ticket(page) == before
        await first.leave()
        await page.until(f"{IN} && location.pathname === '/shop/checkout'")


async def test_tabs_share_one_stream_and_any_of_them_may_be_closed(context: Context, sale: Sale) -> None:
    async with waiting(context, sale) as (page, first), context.tab(sale.checkout) as third:
        async with context.tab(sale.checkout) as second:
            for each in (page, second, third):
                await each.until(at(1))
            # The hidden tabs yield to the one in front, which now has the stream.
            await eventually(lambda: any("/stream" in each for each in second.requested))

            await eventually(lambda: sale.streams == 1)
        other = Visitor(sale.gateway)
        await other.lineup()
        await third.until("document.querySelector('[data-fill=behind]').textContent === '1'")
        await eventually(lambda: sale.streams == 1)
        await first.leave()
        await third.until(IN)
        await page.until(f"document.visibilityState === 'visible' ? {IN} : {STATE} === 'turn'")


async def test_without_web_locks_each_tab_polls(context: Context, sale: Sale) -> None:
    first = Visitor(sale.gateway)
    await first.lineup()
    async with context.tab() as page:
        missing = "Object.defineProperty(Navigator.prototype, 'locks', {value: undefined})"
        await page.ask("Page.addScriptToEvaluateOnNewDocument", source=missing)
        await page.go(sale.checkout)
        await page.until(at(1))
        await first.leave()
        await page.until(IN)
        assert not any("/stream" in each for each in page.requested)


async def test_a_computer_that_slept_asks_first(context: Context, sale: Sale) -> None:
    async with waiting(context, sale) as (page, first), context.tab() as other:
        await page.ask("Page.setWebLifecycleState", state="frozen")
        await first.leave()
        await page.ask("Page.setWebLifecycleState", state="active")
        await other.until("true")
        await page.until(state("turn"))
        await page.front()
        await page.until(IN)


async def test_a_lost_connection_is_told_and_comes_back(context: Context, sale: Sale) -> None:
    async with waiting(context, sale) as (page, first):
        offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        await page.ask("Network.emulateNetworkConditions", offline=True, **offline)
        await page.until(state("offline"))
        assert "Your place is safe" in await page.evaluate("document.body.innerText")
        live = "document.getElementById('live').textContent"
        assert await page.evaluate(live) == "The connection is lost. Your place is safe."
        await page.ask("Network.emulateNetworkConditions", offline=False, **offline)
        await page.until(at(1))
        assert await page.evaluate(live) == "The connection is back."
        await first.leave()
        await page.until(IN)


async def test_a_hidden_tab_says_that_it_is_the_turn_and_enters_when_it_is_seen(
    context: Context, sale: Sale
) -> None:
    async with waiting(context, sale) as (page, first), context.tab() as other:
        await page.until("document.hidden")
        await first.leave()
        await page.until(state("turn"))
        await page.until("/^[0-9]+:[0-9]{2} It is your turn! – Winter sale$/.test(document.title)")
        assert await page.evaluate("document.getElementById('live').textContent") == "It is your turn."
        assert sale.shop.seen == []
        await other.until("true")
        await page.front()
        await page.until(IN)


async def test_a_hidden_tab_that_misses_its_claim_waits_on_and_gets_another_turn(
    context: Context, gateways: Gateways
) -> None:
    async with (
        a_sale(gateways, ", claim: 20s") as sale,
        waiting(context, sale) as (page, first),
        context.tab(),
    ):
        second = Visitor(sale.gateway)
        await second.lineup()
        await page.until("document.hidden")
        before = await ticket(page)
        await first.leave()
        await page.until(state("turn"))
        # The second visitor has the slot now; this one is back at the head of the line with the same ticket.
        await page.until(at(1), seconds=60)
        assert await ticket(page) == before
        assert sale.shop.seen == []
        await second.leave()
        await page.until(state("turn"))
        await page.front()
        await page.until(IN)


async def test_a_refused_post_is_not_sent_again_and_its_page_stays(context: Context, sale: Sale) -> None:
    first = Visitor(sale.gateway)
    await first.lineup()
    async with context.tab(f"{sale.gateway.base}/shop/basket") as page:
        sale.shop.seen.clear()
        await page.click("#buy")
        await page.until("document.body?.innerText.includes('Nothing has been sent')")
        await page.reload()
        await page.until(f"{JS} && {POSITION} === '1'")
        await first.leave()
        await page.until(state("turn"))
        assert await page.evaluate("document.getElementById('enter').checkVisibility()") is False
        assert await page.evaluate("document.getElementById('back').getAttribute('href')") == "/shop/basket"
        await page.click("#claim")
        await eventually(lambda: any(each.endswith("/claim?room=default") for each in page.requested))
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        assert await page.evaluate(STATE) == "turn"
        assert sale.shop.seen == []
        await page.click("#back")
        await page.until("document.getElementById('buy') !== null")
        await page.click("#buy")
        await page.until(IN)
        assert sale.shop.seen == ["GET /shop/basket", "POST /shop/orders"]


async def test_the_pause_holds_changes_back_but_not_the_turn(context: Context, sale: Sale) -> None:
    first, second = Visitor(sale.gateway), Visitor(sale.gateway)
    await first.lineup()
    await second.lineup()
    async with context.tab(sale.checkout) as page:
        await page.until(at(2))
        await page.click("#pause")
        await second.leave()
        asked = len(page.requested)
        await page.until("performance.now() > 0")
        await page.evaluate("new Promise((resolve) => setTimeout(resolve, 2500))")
        assert await page.evaluate(POSITION) == "2"
        assert len(page.requested) == asked
        await page.click("#pause")
        await page.until(at(1))
        await page.click("#pause")
        await first.leave()
        await page.until(state("turn"))
        assert sale.shop.seen == []
        await page.click("#enter")
        await page.until(IN)


async def test_progress_and_milestones(context: Context, sale: Sale) -> None:
    ahead = [Visitor(sale.gateway) for _ in range(5)]
    for each in ahead:
        await each.lineup()
    bar = "document.getElementById('progress').value"
    async with context.tab(sale.checkout) as page:
        await page.until(at(5))
        values = [await page.evaluate(bar)]
        for position, gone in zip((4, 3), ahead[1:], strict=False):
            await gone.leave()
            await page.until(at(position))
            values.append(await page.evaluate(bar))
        await page.reload()
        await page.until(at(3))
        values.append(await page.evaluate(bar))
        assert values == sorted(values)
        assert values[0] < values[2] == values[3]
        await ahead[3].leave()
        await page.until(at(2))
        said = await page.evaluate("document.getElementById('live').textContent")
        assert said.startswith("Your place in line is 2.")


async def test_leaving_asks_and_the_other_tab_is_told(context: Context, sale: Sale) -> None:
    async with waiting(context, sale) as (page, _), context.tab(sale.checkout) as second:
        await second.until(at(1))
        await second.evaluate("window.confirm = () => false")
        await second.click("#leave button")
        assert await second.evaluate(STATE) == "waiting"
        await second.evaluate("window.confirm = () => true")
        await second.click("#leave button")
        await second.until("location.pathname === '/api/v1/queue/left' && document.body !== null")
        assert "You have left the line" in await second.evaluate("document.body.innerText")
        await page.until(state("removed"))


async def test_a_sold_out_room_says_so(context: Context, sale: Sale) -> None:
    async with waiting(context, sale) as (page, _):
        await sale.operate("/sold-out")
        await page.until(state("sold-out"))
        assert "Sold out" in await page.evaluate("document.body.innerText")
        await page.reload()
        await page.until(f"{STATE} === 'sold-out'")


async def test_a_closed_room_counts_down_on_the_servers_clock_and_opens(
    context: Context, gateways: Gateways
) -> None:
    opens = datetime.fromtimestamp(int(time.time()) + 8, UTC).isoformat()
    async with a_sale(gateways, f", opens_at: {opens}") as sale, context.tab() as page:
        wrong = "const real = Date.now; Date.now = () => real() - 3600000"
        await page.ask("Page.addScriptToEvaluateOnNewDocument", source=wrong)
        await page.go(sale.checkout)
        await page.until(state("closed"))
        await page.until("/^0:0[0-9]$/.test(document.querySelector('[data-fill=countdown]').textContent)")
        await page.until(IN, seconds=60)


async def test_it_is_told_live_that_there_will_probably_be_nothing_left(context: Context, sale: Sale) -> None:
    first, second = Visitor(sale.gateway), Visitor(sale.gateway)
    await first.lineup()
    await second.lineup()
    shown = "document.querySelector('#unlikely').checkVisibility()"
    said = "document.getElementById('live').textContent"
    async with context.tab(sale.checkout) as page:
        await page.until(at(2))
        assert await page.evaluate(shown) is False
        await sale.operate("", stock=0)
        await page.until(shown)
        words = "Everything will probably be gone before it is your turn."
        assert (await page.evaluate("document.querySelector('#unlikely').textContent")).startswith(words)
        assert (await page.evaluate(said)).startswith(words)
        await sale.operate("", stock=50)
        await page.until(f"!{shown}")
        assert complaints(page) == []


async def test_an_operators_notice_is_shown_at_once(context: Context, sale: Sale) -> None:
    async with waiting(context, sale) as (page, _):
        await sale.operate("/notice", text="Doors <b>open</b> at nine")
        shown = "document.querySelector('#notice:not([hidden]) [data-fill=notice]')?.textContent"
        await page.until(f"{shown} === 'Doors <b>open</b> at nine'")


async def test_it_works_without_javascript(context: Context, sale: Sale) -> None:
    first = Visitor(sale.gateway)
    await first.lineup()
    async with context.tab(sale.checkout, scripts=False) as page:
        await page.until(f"{STATE} === 'waiting' && {POSITION} === '1' && !({JS})")
        assert not any(".js" in each for each in page.requested)
        await first.leave()
        await page.until(IN)
        assert await page.evaluate("location.href") == sale.checkout


async def test_a_browser_that_keeps_no_cookies_is_told_so(sale: Sale, tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    (profile / "Default").mkdir(parents=True)
    blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (profile / "Default" / "Preferences").write_text(json.dumps(blocked))
    async with chromium_page(sale.checkout, profile) as page:
        await page.until(state("cookies-blocked"))
        assert "Cookies are blocked" in await page.evaluate("document.body.innerText")


async def test_the_menu_changes_the_language(context: Context, sale: Sale) -> None:
    async with waiting(context, sale) as (page, _):
        before = await ticket(page)
        await page.evaluate("document.getElementById('q-language').value = 'ar'")
        await page.click("#language button")
        await page.until(f"{JS} && {POSITION} === '1' && document.documentElement.dir === 'rtl'")
        assert await page.evaluate("location.href") == sale.checkout
        assert await ticket(page) == before


async def test_the_page_outlives_its_gateway(context: Context, tmp_path: Path, redis_url: str) -> None:
    shop = "http://127.0.0.1:1"
    (tmp_path / "routes.yaml").write_text(ROUTES.replace("SETTINGS", "") % {"service": shop})
    environ = {
        "REDIS_URL": redis_url,
        "ALLOWED_IN_MAX_CAPACITY": "0",
        "ROUTES_FILE": str(tmp_path / "routes.yaml"),
        "JWT_JWKS_URI": "http://127.0.0.1:1/",
        "ACCESS_LOG": "false",
    }
    async with gateway_process(environ, tmp_path) as gateway, context.tab() as page:
        await page.go(f"{gateway.base}/shop/checkout")
        await page.until(at(1))
        before = await ticket(page)
        gateway.send(signal.SIGKILL)
        await gateway.ended()
        await page.until(state("offline"))
        async with gateway_process(environ | {"SERVER_PORT": str(gateway.port)}, tmp_path):
            await page.until(at(1), seconds=60)
            assert await ticket(page) == before
