"""What runs in a soak: a Redis with its append-only file, three gateways, the demo's services, all to be hurt."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.demo.deployment import SERVICES, gateway_settings, serve_app
from gateway.demo.inference import Occupancy
from gateway.demo.plan import Plan
from gateway.demo.services import Accounts, Backend, SeatInventory, Signer, auth_app
from gateway.settings.model import Settings
from tests.soak.watched_rooms import ROOMS_YAML
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.redis_server import RedisServer

GATEWAYS = 3
HOST = "gateways.example"
OPERATOR_TOKEN = "the-operator-of-the-soak"


class Mood:
    """How the services behind the gateways feel: ``well``, or they ``hang``, or they ``break`` off."""

    def __init__(self) -> None:
        self.now = "well"
        self.better = asyncio.Event()

    def turn(self, mood: str) -> None:
        self.now = mood
        if mood == "well":
            self.better.set()
            self.better = asyncio.Event()

    @web.middleware
    async def of(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if self.now == "hang":
            await self.better.wait()
        if self.now == "break" and request.transport is not None:
            request.transport.abort()
        return await handler(request)


class Fleet(AbstractResolver):
    """Three gateways, one of which may just be gone. As a resolver it is the load balancer: any that runs."""

    def __init__(self, settings: dict[str, str], folder: Path, rng: random.Random) -> None:
        self.running: list[GatewayProcess] = []
        self.ended: list[GatewayProcess] = []
        self._settings = settings
        self._folder = folder
        self._rng = rng
        self._stacks: dict[GatewayProcess, AsyncExitStack] = {}

    async def start_one(self) -> None:
        """Starts one more gateway."""
        stack = AsyncExitStack()
        gateway = await stack.enter_async_context(gateway_process(self._settings, self._folder))
        self._stacks[gateway] = stack
        self.running.append(gateway)

    async def end_one(self, number: signal.Signals) -> None:
        """Ends a gateway by a signal; nobody new comes to it from now on."""
        gateway = self._rng.choice(self.running)
        self.running.remove(gateway)
        self.ended.append(gateway)
        gateway.send(number)
        status = await gateway.ended()
        expected = 0 if number == signal.SIGTERM else -number
        if status != expected:
            raise AssertionError(f"a gateway ended with {status}:\n" + "\n".join(gateway.lines[-20:]))

    async def close(self) -> None:
        """Ends all of them."""
        await asyncio.gather(*(stack.aclose() for stack in self._stacks.values()))

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """Whatever the name: the gateways that run, in any order."""
        ports = [gateway.port for gateway in self.running]
        self._rng.shuffle(ports)
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=at, family=2, proto=0, flags=0)
            for at in ports
        ]

    def memory(self) -> float:
        """Megabytes of the largest."""
        page = os.sysconf("SC_PAGE_SIZE")
        return max(
            int(Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1]) * page / 1e6
            for gateway in self.running
        )

    def complaints(self) -> list[str]:
        """Lines of their logs that no fault explains."""
        return [
            line
            for gateway in (*self.running, *self.ended)
            for line in gateway.lines
            if "Traceback" in line or "Error" in line.split(":")[0] or "never retrieved" in line
        ]


class Site:
    """Everything a soak works on."""

    def __init__(
        self, redis: RedisServer, fleet: Fleet, accounts: Accounts, services: Mood, keys: Mood
    ) -> None:
        self.redis = redis
        self.fleet = fleet
        self.accounts = accounts
        self.services = services
        self.keys = keys
        self.occupancy: Occupancy | None = None


def _routes(folder: Path) -> Path:
    """The shipped routes, and the rooms in which single rules are watched."""
    file = folder / "routes.yaml"
    shipped = Path(__file__).parents[2] / "routes.yaml"
    file.write_text(shipped.read_text("utf-8") + ROOMS_YAML, "utf-8")
    return file


@asynccontextmanager
async def a_site(plan: Plan, folder: Path, rng: random.Random) -> AsyncIterator[Site]:
    """Starts everything, and ends it in reverse."""
    accounts = Accounts(await asyncio.to_thread(Signer))
    services, keys = Mood(), Mood()
    backend = Backend(
        SeatInventory(plan.seats, hold_seconds=2 * plan.limits.duration), Occupancy(plan.limits.duration), rng
    )
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(RedisServer("--appendonly", "yes"))
        addresses = {}
        apps = {"auth-service": auth_app(accounts)} | {name: make(backend) for name, make in SERVICES.items()}
        for name, app in apps.items():
            app.middlewares.append((keys if name == "auth-service" else services).of)
            addresses[name] = await stack.enter_async_context(serve_app(app))
        settings = gateway_settings(plan, addresses, "the-token-of-the-soak") | {
            "REDIS_URL": redis.url,
            "ACCESS_LOG": "false",
            "ROUTES_FILE": str(_routes(folder)),
            "MANAGEMENT_TOKEN": OPERATOR_TOKEN,
            "PROXY_RESPONSE_TIMEOUT_SECONDS": "1",
            # As shipped: what happens to people while the machine is busy is part of it.
            "OVERLOAD_LAG_MS": f"{Settings.from_env({}).overload_lag_ms:g}",
        }
        fleet = Fleet(settings, folder, rng)
        stack.push_async_callback(fleet.close)
        await asyncio.gather(*(fleet.start_one() for _ in range(GATEWAYS)))
        site = Site(redis, fleet, accounts, services, keys)
        site.occupancy = backend.occupancy
        yield site
        services.turn("well")
        keys.turn("well")
