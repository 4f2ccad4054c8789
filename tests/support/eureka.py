"""A small Eureka server for faults that a real one doesn't have on demand; what it says otherwise real ones say too."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.listening import listening


def entry(id_: str, app: str = "ORDERS", **changes: Any) -> dict[str, Any]:
    """An instance as a server lists it."""
    return {
        "instanceId": id_,
        "app": app,
        "hostName": f"{id_}.internal",
        "ipAddr": "10.0.0.1",
        "status": "UP",
        "overriddenStatus": "UNKNOWN",
        "port": {"$": 8080, "@enabled": "true"},
        "securePort": {"$": 443, "@enabled": "false"},
        "vipAddress": app.lower(),
        "metadata": {"@class": "java.util.Collections$EmptyMap"},
        "lastUpdatedTimestamp": "1795422541807",
        "actionType": "ADDED",
    } | changes


def listing(*entries: dict[str, Any], hash_: str | None = None) -> bytes:
    """The answer to ``/apps``; ``hash_`` overrides the hash of these entries."""
    apps: dict[str, list[dict[str, Any]]] = {}
    for each in entries:
        apps.setdefault(each["app"], []).append(each)
    counts = Counter(each["status"] for each in entries if each["actionType"] != "DELETED")
    own = "".join(f"{status}_{count}_" for status, count in sorted(counts.items()))
    return json.dumps(
        {
            "applications": {
                "versions__delta": "1",
                "apps__hashcode": own if hash_ is None else hash_,
                "application": [{"name": name, "instance": found} for name, found in apps.items()],
            }
        }
    ).encode()


@dataclass
class FakeEureka:
    """``requests`` holds method and path with query of each call, ``heads`` its headers, ``bodies`` what was posted."""

    url: str = ""
    entries: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """What to answer instead, by the beginning of ``METHOD /path`` below ``/eureka``."""
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """While it is not set, calls hang."""
    asked: asyncio.Condition = field(default_factory=asyncio.Condition)

    def deregister(self, id_: str) -> None:
        """Takes it out, and says so in deltas."""
        for each in [each for each in self.entries if each["instanceId"] == id_]:
            self.entries.remove(each)
            self.changes.append(each | {"actionType": "DELETED"})

    def register(self, *entries: dict[str, Any]) -> None:
        """Puts them in, and says so in deltas."""
        self.entries += entries
        self.changes += entries

    async def until(self, beginning: str, count: int = 1) -> None:
        """Waits until so many calls began so."""
        async with self.asked:
            await self.asked.wait_for(lambda: self.count(beginning) >= count)

    def count(self, beginning: str) -> int:
        return sum(each.startswith(beginning) for each in self.requests)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        call = f"{request.method} {request.raw_path.removeprefix('/eureka')}"
        body = await request.read()
        async with self.asked:
            self.requests.append(call)
            self.heads.append(dict(request.headers))
            if body:
                self.bodies.append(json.loads(body)["instance"])
            self.asked.notify_all()
        await self.open.wait()
        for beginning, (status, answer) in self.answers.items():
            if call.startswith(beginning):
                location = {"Location": "http://127.0.0.1:1/"} if status in {301, 302} else {}
                return web.Response(status=status, body=answer, headers=location)
        if call == "GET /apps/delta":
            whole = json.loads(listing(*self.entries))["applications"]["apps__hashcode"]
            return web.Response(body=listing(*self.changes, hash_=whole))
        if call == "GET /apps":
            return web.Response(body=listing(*self.entries))
        return web.Response(status=204 if request.method == "POST" else 200)


@asynccontextmanager
async def fake_eureka() -> AsyncIterator[FakeEureka]:
    """A running one."""
    fake = FakeEureka()
    fake.open.set()
    async with listening(
        web.ServerRunner(web.Server(fake.handle, access_log=None), shutdown_timeout=0.1)
    ) as base:
        fake.url = f"{base}/eureka/"
        yield fake
        fake.open.set()
