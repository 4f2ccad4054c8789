"""A sale with a waiting page: a gateway, a shop behind it, and a visitor who has the only slot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from gateway.context import HUBS
from tests.support.gateway import Gateways, Running
from tests.support.listening import listening
from tests.support.waiting import eventually

ROUTES = """
routes:
  - {id: shop, uri: "%(service)s", predicates: ["Path=/shop/**"]}
gates:
  - calls: [GET /shop/checkout, POST /shop/orders]
rooms:
  default: {identity: visitor, page: {title: Winter sale}SETTINGS}
access:
  public: ["GET /shop/**", "POST /shop/**"]
"""


@dataclass
class Shop:
    """The service behind the gateway: what it was asked for, and where a form is."""

    seen: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append(f"{request.method} {request.path_qs}")
        if request.path == "/shop/basket":
            text = (
                "<form method=post action=/shop/orders><button id=buy name=seats value=2>Buy</button></form>"
            )
        else:
            text = f"<!doctype html><title>Shop</title><h1 id=in>Pay here.</h1><p>{request.path_qs}"
        return web.Response(text=text, content_type="text/html")


@dataclass
class Sale:
    """A running gateway with its shop."""

    gateway: Running
    shop: Shop
    operators: str

    @property
    def checkout(self) -> str:
        return f"{self.gateway.base}/shop/checkout?seats=2"

    async def operate(self, act: str, **body: object) -> None:
        """An operator's act on the room."""
        async with self.gateway.session.post(
            f"{self.gateway.base}/actuator/rooms/default{act}",
            json=body,
            headers={"Authorization": f"Bearer {self.operators}"},
        ) as answer:
            assert answer.status == 200, await answer.text()

    @property
    def streams(self) -> int:
        """How many streams are open at the gateway."""
        return len(self.gateway.app[HUBS]["default"])


class Visitor:
    """A client of a visitors' room that keeps its cookie."""

    def __init__(self, gateway: Running) -> None:
        self._gateway = gateway
        self._cookies: dict[str, str] = {}

    async def post(self, call: str) -> int:
        """Makes a call of the queue API; its status."""
        async with self._gateway.session.post(
            f"{self._gateway.base}/api/v1/queue/{call}",
            cookies=self._cookies,
            headers={"Origin": self._gateway.base},
        ) as answer:
            self._cookies |= {name: morsel.value for name, morsel in answer.cookies.items()}
            return answer.status

    async def lineup(self) -> None:
        """Gets a cookie, and with it a slot or a place. A busy machine may need more than one try."""

        async def done() -> bool:
            return await self.post("lineup") == 200

        await eventually(done)

    async def leave(self) -> None:
        """Gives up the slot or the place."""
        assert await self.post("leave") == 204


@asynccontextmanager
async def a_sale(gateways: Gateways, settings: str = "", **changes: object) -> AsyncIterator[Sale]:
    """A sale in a room with these settings (``, claim: 20s``) and settings of the gateway."""
    shop = Shop()
    app = web.Application()
    app.router.add_route("*", "/shop/{path:.*}", shop.answer)
    operators = "t0p-secret-of-the-tests"
    async with listening(web.AppRunner(app, access_log=None, shutdown_timeout=1.0)) as gateways.service.url:
        routes = ROUTES.replace("SETTINGS", settings)
        gateway = await gateways.start(
            routes, management_token=operators, queue_status_interval_seconds=1, **changes
        )
        yield Sale(gateway, shop, operators)
