"""A gateway that sends its spans to the OTLP receiver of OpenTelemetry's own collector.

Skipped where it is not built: ``go build`` in otel_collector, or GATEWAY_TEST_COLLECTOR names the program.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from gateway import __version__
from gateway.context import OBSERVERS
from gateway.observability import span_queue
from gateway.observability.span_queue import MAX_SPANS_PER_POST, MAX_WAITING
from gateway.observability.tracing import TraceContext
from tests.support.authority import Authority
from tests.support.gateway import Answer, Gateways, Running
from tests.support.waiting import eventually

PROGRAM = Path(
    os.environ.get("GATEWAY_TEST_COLLECTOR") or Path(__file__).parent / "otel_collector" / "otel_collector"
)
START_SECONDS = 20.0
MAX_LINE_BYTES = 1 << 24

T = "4bf92f3577b34da6a3ce929d0e0e4736"
S = "00f067aa0ba902b7"
SERVER, CLIENT, INTERNAL, ERROR = 2, 3, 1, 2
"""Kinds of spans and a status, as OTLP's JSON has them."""

pytestmark = pytest.mark.skipif(
    not PROGRAM.is_file(), reason="no collector is built (GATEWAY_TEST_COLLECTOR says where)"
)


class Collector:
    """A receiver that can be killed, frozen and started again, always on the same port. ``http``: its settings.
    ``spans``: those that it has passed on, with the attributes of span and resource as dicts."""

    def __init__(self, port: int, http: dict[str, Any]) -> None:
        self.address = f"127.0.0.1:{port}"
        self.spans: list[dict[str, Any]] = []
        self._settings = json.dumps({"protocols": {"http": {"endpoint": self.address, **http}}})

    async def start(self) -> bool:
        """Starts it; False if it has ended instead, as when another process has the port."""
        self._said: asyncio.Queue[str] = asyncio.Queue()
        self._process = await asyncio.create_subprocess_exec(
            PROGRAM, self._settings, stdout=asyncio.subprocess.PIPE, limit=MAX_LINE_BYTES
        )
        self._reader = asyncio.create_task(self._read())
        return await self._next_word() == "ready"

    async def kill(self) -> None:
        """Ends it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._reader
        await self._process.wait()

    @asynccontextmanager
    async def refusing(self) -> AsyncIterator[None]:
        """Refuses what arrives until the block ends, which waits for the first batch that is refused."""
        self.send(signal.SIGUSR1)
        assert await self._next_word() == "refusing"
        yield
        assert await self._next_word() == "refused"
        self.send(signal.SIGUSR1)
        while (word := await self._next_word()) == "refused":
            pass
        assert word == "taking"

    @asynccontextmanager
    async def killed(self) -> AsyncIterator[None]:
        """Ends the collector, and starts it again after the block and the first call that found it gone."""
        await self.kill()
        called = asyncio.Event()

        def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            called.set()
            writer.transport.abort()

        # In its place, something that only shows when a call comes.
        host, _, port = self.address.partition(":")
        async with await asyncio.start_server(hang_up, host, int(port)):
            yield
            await called.wait()
        assert await self.start()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def until_it_has(self, count: int, trace: str) -> list[dict[str, Any]]:
        """Waits for so many spans of a trace; that of the request is the first, then the first begun.

        When a request began is computed when it ends, and may be after its parts if the machine is busy.
        """
        await eventually(lambda: len(self._of(trace)) >= count, what=f"{count} spans of {trace}")
        return sorted(
            self._of(trace), key=lambda span: (span["kind"] != SERVER, int(span["startTimeUnixNano"]))
        )

    def _of(self, trace: str) -> list[dict[str, Any]]:
        return [span for span in self.spans if span["traceId"] == trace]

    async def _next_word(self) -> str:
        async with asyncio.timeout(START_SECONDS):
            return await self._said.get()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.startswith(b"{"):
                self.spans += _spans(json.loads(line))
            else:
                self._said.put_nowait(line.decode().strip())
        self._said.put_nowait("")


def _spans(batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for of_resource in batch["resourceSpans"]:
        for of_scope in of_resource["scopeSpans"]:
            for span in of_scope["spans"]:
                yield span | {
                    "attributes": _attributes(span),
                    "resource": _attributes(of_resource["resource"]),
                    "scope": of_scope["scope"]["name"],
                }


def _attributes(of: dict[str, Any]) -> dict[str, Any]:
    """OTLP's JSON has integers as texts."""
    values = ((each["key"], *each["value"].items()) for each in of.get("attributes", ()))
    return {key: int(value) if kind == "intValue" else value for key, (kind, value) in values}


@asynccontextmanager
async def collecting(**http: Any) -> AsyncIterator[Collector]:
    """A running collector. Another process may take the port that is free; then it gets another one."""
    for _ in range(5):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        collector = Collector(port, http)
        try:
            if await collector.start():
                yield collector
                return
        finally:
            await collector.kill()
    raise AssertionError("the collector does not start")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans are sent fifty times a second."""
    monkeypatch.setattr(span_queue, "EVERY_SECONDS", 0.02)


async def traced(gateways: Gateways, collector: Collector, **changes: object) -> Running:
    """A gateway that records each request."""
    settings: dict[str, object] = {
        "otel_exporter_otlp_endpoint": f"http://{collector.address}",
        "tracing_sampling_probability": 1,
    }
    return await gateways.start(**(settings | changes))


def counted(gateway: Running) -> dict[str, int]:
    """What became of the spans, as the gateway counts them."""
    value = gateway.app[OBSERVERS].metrics.registry.get_sample_value
    outcomes = ("sent", "failed", "dropped")
    found = {
        outcome: value("gateway_trace_spans_total", {"receiver": "otlp", "outcome": outcome})
        for outcome in outcomes
    }
    return {outcome: int(count) for outcome, count in found.items() if count}


def trace_of(answer: Answer) -> str:
    return answer.headers["X-Trace-Id"]


@pytest.mark.parametrize(("fast_path", "compression"), [(True, "gzip"), (False, "none")])
async def test_spans_arrive_with_names_kinds_parents_and_resource(
    gateways: Gateways, fast_path: bool, compression: str
) -> None:
    # No other coding of a body is taken.
    only = ["gzip" if compression == "gzip" else ""]
    async with collecting(compression_algorithms=only) as collector:
        gateway = await traced(
            gateways,
            collector,
            fast_path=fast_path,
            otel_exporter_otlp_compression=compression,
            otel_service_name="edge",
            otel_resource_attributes="deployment.environment.name=test%20floor",
        )
        ann, bob = gateway.user("ann"), gateway.user("bob")
        await ann.lineup()
        lineup = await bob.lineup()
        assert lineup.json["state"] == "WAITING"
        gated = await ann("POST", "/api/v1/reservations", headers={"traceparent": f"00-{T}-{S}-01"})
        assert (gated.status, trace_of(gated)) == (200, T)
        failed = await ann("GET", "/refusing/a")
        assert failed.status == 502
        await ann("DELETE", "/api/v1/queue/allowed-in-token")
        server, redis, call = await collector.until_it_has(3, T)
        waited = await collector.until_it_has(3, trace_of(lineup))
        failures = await collector.until_it_has(2, trace_of(failed))

    assert [(span["name"], span["kind"]) for span in (server, redis, call)] == [
        ("POST reservations", SERVER),
        ("redis gate", CLIENT),
        ("POST reservations", CLIENT),
    ]
    assert [span["parentSpanId"] for span in (server, redis, call)] == [S, server["spanId"], server["spanId"]]
    assert server["attributes"] == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "gateway.route": "reservations",
    }
    assert call["attributes"] == server["attributes"] | {
        "peer.service": "reservations",
        "server.address": "127.0.0.1",
        "server.port": URL(gateways.service.url).port,
    }
    assert [event["name"] for event in call["events"]] == ["response head"]
    assert all(
        int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"]) for span in (server, redis, call)
    )
    assert {span["name"]: span["kind"] for span in waited} == {
        "POST queue.lineup": SERVER,
        "redis lineup": CLIENT,
        "queue.admission": INTERNAL,
    }
    asked, *others = waited
    assert {span["parentSpanId"] for span in others} == {asked["spanId"]}
    assert "parentSpanId" not in asked
    assert [span["status"] for span in failures] == [{"message": "UPSTREAM_UNREACHABLE", "code": ERROR}] * 2
    assert {span["scope"] for span in collector.spans} == {"gateway"}
    assert all(
        span["resource"]
        == {
            "service.name": "edge",
            "service.version": __version__,
            "deployment.environment.name": "test floor",
        }
        for span in collector.spans
    )


async def test_both_sides_show_certificates_that_the_other_one_checks(
    gateways: Gateways, tmp_path: Path
) -> None:
    authority = Authority("collectors")
    own, client = authority.issue("127.0.0.1").write(tmp_path, "own"), authority.issue("gateway")
    certificate, key = client.write(tmp_path, "gateway")
    ca = authority.write(tmp_path)
    tls = {"cert_file": str(own[0]), "key_file": str(own[1]), "client_ca_file": str(ca)}
    async with collecting(tls=tls) as collector:
        endpoint = f"https://{collector.address}"
        files = {
            "otel_exporter_otlp_certificate": ca,
            "otel_exporter_otlp_client_certificate": certificate,
            "otel_exporter_otlp_client_key": key,
        }
        gateway = await traced(gateways, collector, otel_exporter_otlp_endpoint=endpoint, **files)
        answer = await gateway.nobody("GET", "/api/v1/products/1")
        await collector.until_it_has(2, trace_of(answer))
        assert counted(gateway).keys() <= {"sent"}


@pytest.mark.parametrize("away", ["killed", "refusing"])
async def test_spans_of_a_time_without_collector_arrive_when_it_is_back(
    gateways: Gateways, away: str
) -> None:
    async with collecting() as collector:
        gateway = await traced(gateways, collector)
        traces = [trace_of(await gateway.nobody("GET", "/api/v1/products/1"))]
        # A batch that has arrived, and whose answer has not, would be sent again.
        await eventually(lambda: counted(gateway) == {"sent": 2})
        async with collector.killed() if away == "killed" else collector.refusing():
            traces += [trace_of(await gateway.nobody("GET", "/api/v1/products/1")) for _ in range(20)]
        for trace in traces:
            await collector.until_it_has(2, trace)
        await eventually(lambda: counted(gateway) == {"sent": 2 * len(traces)})
        assert len(collector.spans) == 2 * len(traces)


async def test_a_collector_that_hangs_costs_only_the_batch_under_way_and_what_found_the_queue_full(
    gateways: Gateways,
) -> None:
    made = 2 * MAX_WAITING
    async with collecting() as collector:
        gateway = await traced(gateways, collector, otel_exporter_otlp_timeout=500)
        collector.send(signal.SIGSTOP)
        tracer = gateway.app[OBSERVERS].tracer
        for _ in range(made):
            tracer.admitted(TraceContext(T, S, None, True), "default", 1.0)
        await eventually(lambda: counted(gateway).get("failed"))
        collector.send(signal.SIGCONT)
        await eventually(lambda: sum(counted(gateway).values()) == made)
        count = counted(gateway)
        # Batches that leave the queue while it is being filled make room in it.
        assert 0 < count["dropped"] <= made - MAX_WAITING
        # The machine may be slow to wake the collector up.
        assert count["failed"] <= 3 * MAX_SPANS_PER_POST
        await collector.until_it_has(count["sent"], T)
        # A collector that wakes up also reads what its machine had received meanwhile.
        arrived = {span["spanId"] for span in collector.spans}
        assert count["sent"] <= len(arrived) <= count["sent"] + count["failed"]
