"""What 0 means, for each number that can be set: it is refused, or does what docs/reference/settings.md says.

It never means "for ever" by accident.
"""

from __future__ import annotations

import ast
import asyncio
import re
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import regex

from gateway.auth.tokens import LEEWAY_SECONDS
from gateway.composition import limits
from gateway.errors import SettingsError
from gateway.proxy.websocket import Tunnel
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.spec.loader import parse
from gateway.server.deadlines import Deadlines
from gateway.server.limits import UNLIMITED_FILES
from gateway.server.listener import Server, max_descriptors
from gateway.settings.fields import Setting
from gateway.settings.model import TABLE, Settings
from tests.proxy.rig import gateway_to, keeping
from tests.support.gateway import Gateways
from tests.support.raw_http import raw_upstream, request

ROOT = Path(__file__).parents[2]
NUMBERS = [row for row in TABLE if re.match(r"a (whole )?number", row.kind.allowed)]
TEXT = (
    (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8").partition("## What 0 means")[2]
)
ROWS = {
    name: (meaning.strip(), file, test)
    for name, meaning, file, test in re.findall(
        r"^\| `([^`]+)` \| ([^|]+) \| `(tests/[\w/]+\.py)::(\w+)` \|$", TEXT, re.MULTILINE
    )
}
ROUTE = "routes:\n  - {id: a, uri: 'http://a', predicates: [Path=/a]%s}\n"


def takes_zero(row: Setting) -> bool:
    try:
        row.kind.parse("0")
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("row", NUMBERS, ids=lambda row: row.name)
def test_a_setting_takes_the_bounds_that_it_names_and_no_more(row: Setting) -> None:
    named = re.search(r"number from (\d+) to (\d+)", row.kind.allowed)
    if named is None or "per s, m or h" in row.kind.allowed:
        return
    low, high = map(int, named.groups())
    assert (row.kind.parse(str(low)), row.kind.parse(str(high))) == (low, high)
    with pytest.raises(ValueError, match=f"{high}|{high + 1}"):
        row.kind.parse(str(high + 1))


@pytest.mark.parametrize("row", NUMBERS, ids=lambda row: row.name)
def test_a_setting_that_takes_0_says_what_it_means_and_which_test_holds_it(row: Setting) -> None:
    assert takes_zero(row) == ("(0 = " in row.allowed) == (row.name in ROWS)
    if row.name in ROWS:
        _, file, test = ROWS[row.name]
        assert re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_table_names_numbers_alone() -> None:
    assert set(ROWS) <= {row.name for row in NUMBERS}


@pytest.mark.parametrize("row", NUMBERS, ids=lambda row: row.name)
@pytest.mark.parametrize("text", ["-1", "0.0001", "1e-9", "nan", "inf", "00000000000000", "-0"])
def test_nothing_else_becomes_0_or_endless(row: Setting, text: str) -> None:
    """Not by rounding either: Redis counts in milliseconds."""
    if row.kind.allowed.startswith("a number from 0 to 1,") and text == "0.0001":
        return
    with pytest.raises(SettingsError):
        Settings.from_env({row.name: text})


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        (", metadata: {response-timeout: 0}", "above 0"),
        (", metadata: {connect-timeout: 0}", "above 0"),
        (", filters: [RequestSize=0]", "greater than 0"),
        (", filters: [RequestSize=0MB]", "greater than 0"),
        (", filters: [RequestHeaderSize=0]", "greater than 0"),
        (", metadata: {response-timeout: -1}", ""),
        (", metadata: {response-timeout: 1}", ""),
        (", filters: [RequestSize=1]", ""),
    ],
)
def test_numbers_of_a_route(fields: str, allowed: str) -> None:
    check((ROUTE % fields), allowed)


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("{duration: 0}", "from 0.001"),
        ("{duration: 0s}", "from 0.001"),
        ("{duration: 0.4ms}", "from 0.001"),
        ("{duration: 0.0001}", "from 0.001"),
        ("{duration: 1ms}", ""),
        ("{capacity: 0}", ""),
        ("{capacity: -1}", "from 0"),
    ],
)
def test_numbers_of_a_room(room: str, allowed: str) -> None:
    check((ROUTE % "") + f"rooms:\n  default: {room}\n", allowed)


def check(text: str, allowed: str) -> None:
    """Whether a route file loads, or is refused with what is allowed."""
    if not allowed:
        parse(text.encode(), "routes.yaml", {})
        return
    with pytest.raises(RouteFileError, match=allowed):
        parse(text.encode(), "routes.yaml", {})


async def test_no_limit_of_bodies() -> None:
    async with (
        raw_upstream(keeping) as upstream,
        gateway_to(upstream.base, body_limit=0) as gateway,
        gateway.client() as client,
    ):
        client.send(request("POST", "/", "Content-Length: 3000000") + b"a" * 3_000_000)
        assert (await client.answer()).status == 200


async def test_no_streams_at_all(gateways: Gateways) -> None:
    gateway = await gateways.start(sse_max_streams=0)
    user = gateway.user("a")
    await user.lineup()
    async with user.stream() as stream:
        assert stream.status == 200
        async with asyncio.timeout(10):
            while (event := await stream.next()) is not None:
                last = event
        assert last.retry


async def test_no_websockets_at_all(gateways: Gateways) -> None:
    gateway = await gateways.start(websocket_max=0)
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    answer = await gateway.user("a")("GET", "/api/v1/products", headers=headers)
    assert (answer.status, answer.code) == (503, "OVERLOADED")


async def test_no_grace_for_tokens_of_streams(gateways: Gateways) -> None:
    late = int(time.time()) - int(LEEWAY_SECONDS) - 5
    for grace, status in ((0, 401), (3600, 200)):
        gateway = await gateways.start(stream_token_grace_seconds=grace)
        await gateway.user("a").lineup()
        await gateway.user("b").lineup()
        async with gateway.user("b", exp=late).stream() as stream:
            assert stream.status == status


async def test_silence_ends_no_tunnel() -> None:
    class Silent:
        transport = None
        writing_paused = False

        def pause_reading(self) -> None: ...
        def resume_reading(self) -> None: ...

    tunnel = Tunnel(cast(Any, Silent()), cast(Any, Silent()), 0.0)
    running = asyncio.create_task(tunnel.run())
    await asyncio.sleep(0.3)
    assert not running.done()
    tunnel.end("shutdown")
    assert await running == "shutdown"


async def test_a_port_that_is_free(gateways: Gateways) -> None:
    gateway = await gateways.start(management_server_port=0)
    assert int(gateway.base.rpartition(":")[2]) > 0


async def test_no_replica_is_waited_for(gateways: Gateways) -> None:
    """The Redis of the tests has none."""
    gateway = await gateways.start(redis_wait_replicas=0)
    assert (await gateway.user("a").lineup()).status == 200


async def test_a_deadline_of_0_is_at_once() -> None:
    deadlines = Deadlines()
    over = asyncio.Event()
    deadlines.set("a", 0.0, over.set)
    async with asyncio.timeout(10):
        await over.wait()
    deadlines.close()


@pytest.mark.parametrize("derived", [limits.max_streams, limits.max_tunnels])
@pytest.mark.parametrize("soft", [resource.RLIM_INFINITY, 1 << 62, 2048])
def test_files_without_limit_are_many_and_not_none(
    monkeypatch: pytest.MonkeyPatch, derived: Callable[[Settings], int], soft: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, soft))
    assert 300 < derived(Settings.from_env({})) <= UNLIMITED_FILES
    assert 1000 < max_descriptors() <= UNLIMITED_FILES


async def test_a_server_with_no_time_to_stop_stops_at_once() -> None:
    async def never(_request: object) -> object:
        await asyncio.Event().wait()
        raise AssertionError

    server = Server(never)  # type: ignore[arg-type]
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(server, "127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname()[:2])
        writer.write(request())
        while not server.guards or not server.requests_count:
            await asyncio.sleep(0.01)
        server.pre_shutdown()
        async with asyncio.timeout(10):
            await server.shutdown(0.0)
            assert await reader.read() == b""
        writer.close()
    finally:
        listening.close()


# Every time-out that is handed to a library and is no constant, and why it is no 0, or what 0 is.
TIMES = {
    ("observability/zipkin.py", "HTTPConnection timeout=seconds"): "one of two constants",
    ("observability/zipkin.py", "HTTPSConnection timeout=seconds"): "one of two constants",
    ("proxy/pool.py", "ClientTimeout connect=connect"): "a setting or a route's, which both are above 0",
    ("proxy/pool.py", "ClientTimeout sock_connect=connect"): "the same",
    ("routing/matcher.py", "search timeout=min(_meter.left, ROUTE_MICROSECONDS) / 1000000.0"): "0 is at once",
    (
        "discovery/config_server/fetch.py",
        "ClientTimeout connect=wanted.connect_seconds",
    ): "a setting, which is above 0",
    ("waiting_room/events.py", "read_response timeout=self._ping"): "a constant",
}
_TAKE_TIMES = {
    "ClientTimeout",
    "HTTPConnection",
    "HTTPSConnection",
    "ServerRunner",
    "read_response",
    "__init__",
}


def timeouts_of_libraries() -> set[tuple[str, str]]:
    """File and expression of each time-out that is computed or set. Those of asyncio are left out: there 0 is at
    once."""
    found = set()
    for file in sorted((ROOT / "gateway").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or file.parent.name == "demo":
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            assert name != "settimeout", "0 is no waiting at all there: add it here"
            for keyword in node.keywords:
                if name == "ClientTimeout" or (
                    name in (*_TAKE_TIMES, "search", "match", "fullmatch")
                    and "timeout" in (keyword.arg or "")
                ):
                    text = ast.unparse(keyword.value)
                    if not re.fullmatch(r"None|math\.inf|[0-9.]+|[A-Z_]+|.*ClientTimeout\(.*\)", text):
                        found.add((str(file.relative_to(ROOT / "gateway")), f"{name} {keyword.arg}={text}"))
    return found


def test_no_library_is_handed_a_time_that_may_have_run_out_and_takes_it_for_none() -> None:
    assert timeouts_of_libraries() == set(TIMES)


async def test_no_time_left_is_at_once() -> None:
    """What asyncio and the bounded matcher make of 0, which is what is left of a time that has run out."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError):
        regex.search("(a|aa)+$", "a" * 40 + "b", timeout=0.0)
