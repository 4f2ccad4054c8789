"""Makes the calls at a gateway and writes down what came of them, in a form that two runs share."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from tests.original.calls import CALLS, SLOW, Call
from tests.original.site import Seen, Site

FOLDER = Path(__file__).parent / "recorded"
Record = dict[str, Any]

_OF_THE_CONNECTION = {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"}
_TEXTS_KEPT = {"code", "message", "status", "service"}
_NUMBERS_KEPT = {"status", "userQueuePosition", "totalQueueSize", "usersBehind"}
_STREAM_SECONDS = 10.0


def _shape(value: Any, depth: int, key: str = "") -> Any:
    """A JSON value with texts and numbers as the names of their types, except those that clients decide by."""
    match value:
        case dict():
            plain = {re.sub(r"@[0-9a-f]+", "", at): one for at, one in sorted(value.items())}
            return {at: _shape(one, depth - 1, at) for at, one in plain.items()} if depth else "object"
        case list():
            return _list(value, depth) if depth else "list"
        case bool() | None:
            return value
        case int() | float():
            return value if key in _NUMBERS_KEPT else "number"
        case str():
            return value if key in _TEXTS_KEPT else "text"
    return type(value).__name__


def _list(value: list[Any], depth: int) -> list[Any]:
    """The different shapes of a list's items."""
    found: list[Any] = []
    for one in value:
        if (shape := _shape(one, depth - 1)) not in found:
            found.append(shape)
    return sorted(found, key=json.dumps)


class Recorder:
    """Makes calls at one gateway with ``site`` around it."""

    def __init__(self, site: Site, base: str) -> None:
        self._site = site
        self._base = base
        self._kinds: dict[str, str] = {}

    def _plain(self, text: str) -> str:
        """A header's value without what differs between runs: ports, tokens, traces."""
        for token, kind in self._kinds.items():
            text = text.replace(token, f"{{token {kind}}}")
        for name, port in self._site.ports.items():
            text = f"{{{name}}}" if text == str(port) else text.replace(f":{port}", f":{{{name}}}")
        text = re.sub(r"(127\.0\.0\.1|localhost|192\.0\.2\.\d+):\d{2,5}", r"\1:{port}", text)
        text = re.sub(r"\b[0-9a-f]{32}-[0-9a-f]{16}\b", "{trace}-{span}", text)
        return re.sub(r"^[0-9a-f]{16}(?:[0-9a-f]{16})?$", "{trace}", text)

    def _headers(self, headers: list[tuple[str, str]]) -> list[list[str]]:
        return sorted(
            [name.lower(), self._plain(value)]
            for name, value in headers
            if name.lower() not in _OF_THE_CONNECTION
        )

    def _received(self, seen: list[Seen]) -> list[Record]:
        return [asdict(one) | {"headers": self._headers(one.headers)} for one in seen]

    async def call(self, session: aiohttp.ClientSession, call: Call) -> Record:
        """One call; what came of it, without what the services saw."""
        headers: dict[str, str] = {**call.headers}
        if (token := self._site.token(call.token)) is not None:
            self._kinds[token] = call.token
            headers["Authorization"] = token
        async with session.request(
            call.method,
            URL(self._base + call.path, encoded=True),
            headers=headers,
            data=call.body.encode() if call.body else None,
            allow_redirects=False,
        ) as response:
            received = {
                "status": response.status,
                "headers": self._headers(
                    [(key.decode(), value.decode("latin-1")) for key, value in response.raw_headers]
                ),
                "body": await self._body(call, response),
            }
        sent = {
            key: value
            for key, value in asdict(call).items()
            if key in {"method", "path", "token", "headers", "body"}
        }
        return {"name": call.name, "sent": sent, **received}

    async def _body(self, call: Call, response: aiohttp.ClientResponse) -> Any:
        if response.content_type == "text/event-stream":
            return await self._event(response)
        body = await response.read()
        if not body:
            return None
        if "json" in response.headers.get("Content-Type", ""):
            return _shape(json.loads(body), call.depth)
        return "text"

    async def _event(self, response: aiohttp.ClientResponse) -> Any:
        """The first event of a stream."""
        event: dict[str, Any] = {}
        async with asyncio.timeout(_STREAM_SECONDS):
            async for raw in response.content:
                name, _, value = raw.decode().rstrip("\r\n").partition(":")
                if name == "event":
                    event["event"] = value.strip()
                elif name == "data":
                    event["data"] = _shape(json.loads(value), 3)
                elif not name and event:
                    break
        return event

    async def all(self) -> dict[str, list[Record]]:
        """Every call, by group."""
        found: dict[str, list[Record]] = {}
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=60),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as session:
            slow = asyncio.create_task(self.call(session, SLOW))
            for call in CALLS:
                before = len(self._site.seen)
                record = await self.call(session, call)
                received = [one for one in self._site.seen[before:] if not one.target.endswith("/slow")]
                found.setdefault(call.group, []).append(record | {"service": self._received(received)})
            found[SLOW.group].append(await slow | {"service": []})
        return found

    async def routes(self) -> list[Record]:
        """The routes as ``/actuator/gateway/routes`` has them."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self._base}/actuator/gateway/routes") as response,
        ):
            return sorted((_route(route) for route in await response.json()), key=lambda one: one["id"])


def _route(route: Mapping[str, Any]) -> Record:
    """A route without what is a class's address in memory."""
    paths = re.search(r"Paths: \[([^\]]*)\]", str(route.get("predicate", "")))
    return {
        "id": route["route_id"],
        "uri": route["uri"].lower(),
        "order": route["order"],
        "paths": paths[1] if paths else "",
        "filters": [re.sub(r", order = -?\d+\]$", "", each)[2:].rstrip("]") for each in route["filters"]],
    }


def write(calls: Mapping[str, list[Record]], routes: list[Record], folder: Path = FOLDER) -> None:
    """Into one file for each group."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in {**calls, "table": routes}.items():
        lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in records)
        (folder / f"{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read(folder: Path = FOLDER) -> dict[str, list[Record]]:
    """What ``write`` wrote."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
