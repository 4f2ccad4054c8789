"""Everything behind the scenes of a run: the auth service, the ticketing services and the gateway."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from gateway.demo import auth, services
from gateway.demo.child import Child, gateway_process, ready
from gateway.demo.plan import Plan
from gateway.demo.services import Business, Hall
from gateway.demo.witness import Witness

# Which application stands behind which name of the shipped routes.yaml.
SERVICES = {
    "product-service": services.products_app,
    "reservation-seat-service": services.seats_app,
    "reservation-service": services.reservations_app,
    "payment-service": services.payments_app,
}


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs. ``addresses`` are those of the services behind the gateway, by name."""

    gateway: Child
    accounts: auth.Accounts
    business: Business
    addresses: dict[str, str]

    def guest(self, email: str) -> str:
        """A token for somebody at the keyboard."""
        account = auth.Account(email, auth.PASSWORD, f"guest-{email.partition('@')[0]}", "GUEST")
        self.accounts.add(account)
        return self.accounts.signer.token(account.user_id, account.user_type)


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[str]:
    """Serve ``app`` on a free loopback port; its base URL."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        # A backlog for a whole crowd: aiohttp's 128 would be a queue of its own.
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def gateway_settings(plan: Plan, addresses: dict[str, str]) -> dict[str, str]:
    """The gateway's environment: the shipped routes, short times, nothing outside this machine."""
    limits = plan.limits
    urls = {name.upper().replace("-", "_") + "_URLS": address for name, address in addresses.items()}
    return urls | {
        "ALLOWED_IN_MAX_CAPACITY": str(limits.capacity),
        "ALLOWED_IN_DURATION_SECONDS": str(limits.duration),
        "QUEUE_ABSENT_SECONDS": str(limits.absent),
        "QUEUE_STATUS_INTERVAL_SECONDS": str(limits.interval),
        "SSE_HEARTBEAT_SECONDS": "5",
        "JWT_JWKS_URI": addresses["auth-service"] + "/.well-known/jwks.json",
        "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "",
        "ZIPKIN_ENDPOINT": "",
        "MANAGEMENT_TOKEN": secrets.token_urlsafe(24),
        "DEFAULT_LOCALE": "en",
        "SHUTDOWN_GRACE_SECONDS": "2",
    }


@asynccontextmanager
async def staged(plan: Plan, folder: Path, accounts: Iterable[auth.Account]) -> AsyncIterator[Stage]:
    """Start everything, wait until it works, and stop it in reverse. Raises GatewayDied if it can't start."""
    # Making an RSA key takes a tenth of a second and more.
    signer = await asyncio.to_thread(auth.Signer)
    known = auth.Accounts(signer)
    for account in accounts:
        known.add(account)
    hall = Hall(plan.seats, hold_seconds=2 * plan.limits.duration)
    business = Business(hall, Witness(plan.limits.duration), random.Random(plan.seed))
    async with AsyncExitStack() as stack:
        addresses = {"auth-service": await stack.enter_async_context(listening(auth.make_app(known)))}
        for name, make_app in SERVICES.items():
            addresses[name] = await stack.enter_async_context(listening(make_app(business)))
        gateway = await stack.enter_async_context(gateway_process(gateway_settings(plan, addresses), folder))
        await ready(gateway, signer.token("stagehand", "GUEST"))
        yield Stage(gateway, known, business, addresses)
