"""A rolling update with the order and the delays of Kubernetes: the new pod is ready first, the old one is taken out of
the Service a while after it is told to go, waits in its preStop meanwhile, and then drains."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.deploy.cluster import PLAIN, Endpoints, container, management_of, manifests, only
from tests.support.gateway import ROUTES, Caller, a_service
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.tokens import Issuer, serving
from tests.support.waiting import eventually

PATH = container(only(manifests((PLAIN / "gateway.yaml").read_text()), "Deployment"))["readinessProbe"][
    "httpGet"
]["path"]
# The shipped 5 s, shortened. Proxies hear of a pod that goes within half of this time.
PRE_STOP = 0.6
WAITING = 12


@dataclass
class Cluster:
    """Pods, and the Service in front of them."""

    stack: AsyncExitStack
    environ: dict[str, str]
    folder: Path
    session: aiohttp.ClientSession
    service: Endpoints = field(default_factory=Endpoints)
    pods: list[GatewayProcess] = field(default_factory=list)

    async def ready(self, pod: GatewayProcess) -> int:
        """The status that a readiness probe gets."""
        async with self.session.get(await management_of(pod) + PATH) as response:
            return response.status

    async def add(self) -> None:
        """Starts a pod. It is in the Service once it is ready."""
        pod = await self.stack.enter_async_context(gateway_process(self.environ, self.folder))

        async def is_ready() -> bool:
            return await self.ready(pod) == 200

        await eventually(is_ready)
        self.pods.append(pod)
        self.service.ports.append(pod.port)

    async def remove_oldest(self) -> None:
        """Ends a pod. Its address goes from the Service only after a while, though the pod was told to end before."""
        pod = self.pods.pop(0)
        stopping = asyncio.create_task(self._stop(pod))
        await asyncio.sleep(PRE_STOP / 2)
        self.service.ports.remove(pod.port)
        await stopping

    async def _stop(self, pod: GatewayProcess) -> None:
        await asyncio.sleep(PRE_STOP)
        assert await self.ready(pod) == 200
        pod.send(signal.SIGTERM)
        assert await pod.ended() == 0, pod.lines


@pytest.fixture
async def cluster(tmp_path: Path, redis_url: str) -> AsyncIterator[tuple[Cluster, Issuer]]:
    """Two pods of a Deployment, with one slot in the room."""
    issuer = Issuer()
    async with AsyncExitStack() as stack:
        keys = await stack.enter_async_context(serving(issuer))
        service = await stack.enter_async_context(a_service())
        routes = tmp_path / "routes.yaml"
        routes.write_text(ROUTES % {"service": service.url})
        environ = {
            "REDIS_URL": redis_url,
            "JWT_JWKS_URI": keys.uri,
            "ROUTES_FILE": str(routes),
            "ALLOWED_IN_MAX_CAPACITY": "1",
            "MANAGEMENT_SERVER_PORT": "0",
            "QUEUE_STATUS_INTERVAL_SECONDS": "1",
            "SHUTDOWN_GRACE_SECONDS": "3",
        }
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=30),
            )
        )
        running = Cluster(stack, environ, tmp_path, session)
        await stack.enter_async_context(running.service.serving())
        await asyncio.gather(running.add(), running.add())
        yield running, issuer


@dataclass
class Waiting:
    """A user in line who keeps a stream open, and opens it again when it ends, as an EventSource does."""

    caller: Caller
    ticket: int
    openings: int = 0
    statuses: list[int] = field(default_factory=list)
    last: str = ""

    async def follow(self) -> None:
        """Until the user is admitted."""
        while self.last != "ALLOWED_IN":
            async with self.caller.stream() as stream:
                self.openings += 1
                self.statuses.append(stream.response.status)
                try:
                    while (event := await stream.next(20.0)) is not None:
                        self.last = event.name
                        if event.name == "STATUS_UPDATE":
                            assert event.data["ticket"] == self.ticket
                        if event.name == "ALLOWED_IN":
                            return
                except aiohttp.ClientPayloadError:
                    pass
            await asyncio.sleep(0.05)


async def test_a_rolling_update_loses_no_request_and_no_place(cluster: tuple[Cluster, Issuer]) -> None:
    running, issuer = cluster
    session, base = running.session, running.service.base

    def user(name: str) -> Caller:
        return Caller(session, base, issuer.token(name))

    inside = user("inside")
    await inside.lineup()
    line = []
    for number in range(WAITING):
        caller = user(f"waiting-{number}")
        line.append(Waiting(caller, (await caller.lineup()).json["data"]["ticket"]))
    seen: Counter[int] = Counter()
    stop = asyncio.Event()

    async def shop() -> None:
        """Gated calls, each over a connection of its own: any of them may meet a pod that goes."""
        while not stop.is_set():
            seen[(await inside("POST", "/api/v1/reservations", data=b"x")).status] += 1

    followers = [asyncio.create_task(each.follow()) for each in line]
    shoppers = [asyncio.create_task(shop()) for _ in range(4)]
    try:
        await eventually(lambda: all(each.last == "STATUS_UPDATE" for each in line))
        old = [pod.port for pod in running.pods]
        for _ in old:
            before = seen.total()
            await running.add()
            await running.remove_oldest()
            assert seen.total() > before
        assert not set(old) & set(running.service.ports)
        stop.set()
        await asyncio.gather(*shoppers)
        assert set(seen) == {200}, seen
        # Every stream has moved, at least once, and the order is what it was.
        await eventually(lambda: all(each.openings >= 2 for each in line))
        assert {status for each in line for status in each.statuses} == {200}
        for each in line:
            assert (await each.caller.status()).json["data"]["ticket"] == each.ticket
        await inside("POST", "/api/v1/queue/leave")
        await asyncio.wait_for(followers[0], 20.0)
        assert line[0].last == "ALLOWED_IN"
    finally:
        stop.set()
        for task in followers + shoppers:
            task.cancel()
        await asyncio.gather(*followers, *shoppers, return_exceptions=True)


async def test_without_the_wait_before_it_a_stop_refuses_what_still_comes(
    cluster: tuple[Cluster, Issuer],
) -> None:
    """Why there is a preStop: a pod that drains has closed its ports, and not every proxy knows yet."""
    running, issuer = cluster
    pod = running.pods[0]
    pod.send(signal.SIGTERM)
    assert await pod.ended() == 0
    caller = Caller(running.session, running.service.base, issuer.token("inside"))
    outcomes = set()
    for _ in range(4):
        try:
            # A POST, which aiohttp's client does not repeat.
            outcomes.add(str((await caller.lineup()).status))
        except aiohttp.ClientError:
            outcomes.add("refused")
    assert outcomes == {"200", "refused"}


async def test_readiness_goes_first_when_a_pod_is_told_to_end(cluster: tuple[Cluster, Issuer]) -> None:
    """A probe on a connection that is open already hears it; new ones are refused."""
    running, _ = cluster
    pod = running.pods[0]
    management = await management_of(pod)
    host, port = re.sub("^http://", "", management).split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"GET {PATH} HTTP/1.1\r\nHost: pod\r\n\r\n".encode()
    try:
        writer.write(head)
        assert b" 200 " in await reader.readline()
        while await reader.readline() != b"\r\n":
            pass
        await reader.readexactly(len(b'{"status":"UP"}'))
        pod.send(signal.SIGTERM)
        await eventually(lambda: any("stopping" in each or "draining" in each for each in pod.lines))
        writer.write(head)
        assert b" 503 " in await reader.readline()
    finally:
        writer.close()
    assert await pod.ended() == 0
