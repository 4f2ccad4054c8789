"""The processes of a run: the services in this process, and the gateway in a process of its own."""

from __future__ import annotations

import asyncio
import os
import random
import re
import secrets
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NoReturn

import aiohttp
import yaml
from aiohttp import web

from gateway.demo.inference import Occupancy
from gateway.demo.plan import Plan
from gateway.demo.services import (
    PASSWORD,
    Account,
    Accounts,
    Backend,
    SeatInventory,
    Signer,
    auth_app,
    box_office_app,
    payments_app,
    products_app,
    reservations_app,
    seats_app,
)

START_SECONDS = 30.0
STOP_SECONDS = 15.0
LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")
# The variables that the gateway's process inherits: only what any process needs. Exported settings of another gateway
# must not reach this one.
KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PYTHONHASHSEED",
    "VIRTUAL_ENV",
)


# Applications by the name that the route file has for the service.
SERVICES = {
    "box-office": box_office_app,
    "product-service": products_app,
    "reservation-seat-service": seats_app,
    "reservation-service": reservations_app,
    "payment-service": payments_app,
}


class GatewayFailed(Exception):
    """The gateway's process ended by itself, or was not ready in time. The message holds the end of its log."""


def child_environment(settings: Mapping[str, str], around: Mapping[str, str]) -> dict[str, str]:
    """``settings``, and of ``around`` the variables in KEPT."""
    return {name: around[name] for name in KEPT if name in around} | dict(settings)


class GatewayProcess:
    """A started gateway. ``base``: its URL ("" until its log says it). ``log``: the file that it writes to."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.base = ""
        self.log = log
        self._process = process

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.returncode is None

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def raise_on_exit(self) -> NoReturn:
        """Wait for the process to end, and raise GatewayFailed then."""
        status = await self._process.wait()
        raise GatewayFailed(f"the gateway ended with status {status}; its last lines:\n{self.log_tail()}")

    def find_address(self) -> bool:
        """Look for the URL in the log, since the gateway chooses a free port. Returns whether it is there."""
        said = LISTENING.search(self.log.read_text(errors="replace"))
        self.base = said[1] if said else ""
        return said is not None

    async def stop(self) -> int:
        """Terminate the process, or kill it after STOP_SECONDS. Returns the exit status."""
        if self.running:
            with suppress(ProcessLookupError):
                self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                return await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            return await self._process.wait()


@asynccontextmanager
async def start_gateway(settings: Mapping[str, str], folder: Path) -> AsyncIterator[GatewayProcess]:
    """Run ``python -m gateway serve`` with ``settings``, data and log in ``folder``; stop it on leaving.

    The gateway may not be ready yet: see :func:`wait_until_ready`.
    """
    here = {
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": "0",
        "REDIS_URL": "embedded",
        "EMBEDDED_REDIS_DIR": str(folder / "redis"),
        "TMPDIR": str(folder),
    }
    log = folder / "gateway.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway",
            "serve",
            env=child_environment(here | dict(settings), os.environ),
            # Not the caller's folder, which may have another routes.yaml.
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C in the terminal is for the demo, which stops the gateway when it is done.
            start_new_session=True,
        )
    gateway = GatewayProcess(process, log)
    try:
        yield gateway
    finally:
        await gateway.stop()


async def wait_until_ready(gateway: GatewayProcess, token: str) -> None:
    """Wait until a call that needs routes, keys and Redis succeeds: the leave of a user without a place.

    Raises GatewayFailed if the process ends first, or after START_SECONDS.
    """
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=5)) as http:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        answer = "no answer"
        while asyncio.get_running_loop().time() < deadline:
            if not gateway.running:
                await gateway.raise_on_exit()
            try:
                if gateway.base or gateway.find_address():
                    async with http.post(f"{gateway.base}/api/v1/queue/leave") as response:
                        if response.status == 204:
                            return
                        answer = f"{response.status} {(await response.text())[:200]}"
            except (aiohttp.ClientError, TimeoutError) as error:
                answer = str(error)
            await asyncio.sleep(0.05)
    raise GatewayFailed(
        f"the gateway was not ready after {START_SECONDS:g} s ({answer}); its log:\n{gateway.log_tail()}"
    )


@dataclass(frozen=True, slots=True)
class Deployment:
    """What runs. ``addresses``: the services behind the gateway, URL by name."""

    gateway: GatewayProcess
    accounts: Accounts
    backend: Backend
    addresses: dict[str, str]
    operator_token: str
    """Signs in to the operator's desk."""

    def guest_token(self, email: str) -> str:
        """A token for a user with curl."""
        account = Account(email, PASSWORD, f"guest-{email.partition('@')[0]}", "GUEST")
        self.accounts.add(account)
        return self.accounts.signer.token(account.user_id, account.user_type)


@asynccontextmanager
async def serve_app(app: web.Application) -> AsyncIterator[str]:
    """Serve ``app`` on a free loopback port; yields its base URL."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        # A backlog for a whole crowd: aiohttp's default of 128 would be one more queue.
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def route_file() -> str:
    """The shipped routes, and a page for browsers behind the gate: people wait for it in the room that the crowd is in,
    without a login."""
    file = yaml.safe_load(resources.files("gateway").joinpath("routes.yaml").read_text(encoding="utf-8"))
    file["routes"].append({"id": "box-office", "uri": "lb://box-office", "predicates": ["Path=/box-office"]})
    file["services"]["box-office"] = "${BOX_OFFICE_URLS:}"
    file["gates"][0]["calls"].append("GET /box-office")
    file["access"]["public"].append("GET /box-office")
    file["rooms"] = {"default": {"identity": "either", "page": {"title": "One night only"}}}
    text: str = yaml.safe_dump(file, sort_keys=False)
    return text


def gateway_settings(plan: Plan, addresses: dict[str, str], operator_token: str) -> dict[str, str]:
    """The gateway's environment: short times, nothing outside this machine."""
    limits = plan.limits
    urls = {name.upper().replace("-", "_") + "_URLS": address for name, address in addresses.items()}
    return urls | {
        "GATEWAY_PROFILE": "spring",
        "ALLOWED_IN_MAX_CAPACITY": str(limits.capacity),
        "ALLOWED_IN_DURATION_SECONDS": str(limits.duration),
        "QUEUE_ABSENT_SECONDS": str(limits.absent),
        # The sale takes a minute, so the room keeps no tickets of users who went away.
        "QUEUE_HOLD_SECONDS": "0",
        "QUEUE_STATUS_INTERVAL_SECONDS": str(limits.interval),
        "SSE_HEARTBEAT_SECONDS": "5",
        "JWT_JWKS_URI": addresses["auth-service"] + "/.well-known/jwks.json",
        "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "",
        "ZIPKIN_ENDPOINT": "",
        "MANAGEMENT_TOKEN": operator_token,
        "DESK": "true",
        "DEFAULT_LOCALE": "en",
        "SHUTDOWN_GRACE_SECONDS": "2",
    }


@asynccontextmanager
async def deploy(plan: Plan, folder: Path, accounts: Iterable[Account]) -> AsyncIterator[Deployment]:
    """Start everything, wait until it works, and stop it in reverse. Raises GatewayFailed if it can't start."""
    # In a thread: an RSA key takes a tenth of a second or more.
    signer = await asyncio.to_thread(Signer)
    known = Accounts(signer)
    for account in accounts:
        known.add(account)
    inventory = SeatInventory(plan.seats, hold_seconds=2 * plan.limits.duration)
    backend = Backend(inventory, Occupancy(plan.limits.duration), random.Random(plan.seed))
    async with AsyncExitStack() as stack:
        addresses = {"auth-service": await stack.enter_async_context(serve_app(auth_app(known)))}
        for name, service_app in SERVICES.items():
            addresses[name] = await stack.enter_async_context(serve_app(service_app(backend)))
        operator_token = secrets.token_urlsafe(9)
        routes = folder / "routes.yaml"
        routes.write_text(route_file(), encoding="utf-8")
        settings = gateway_settings(plan, addresses, operator_token) | {"ROUTES_FILE": str(routes)}
        gateway = await stack.enter_async_context(start_gateway(settings, folder))
        await wait_until_ready(gateway, signer.token("stagehand", "GUEST"))
        yield Deployment(gateway, known, backend, addresses, operator_token)
