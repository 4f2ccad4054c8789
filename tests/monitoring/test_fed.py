"""Everything that is measured is really measured: a sale over HTTP, and what ``/actuator/prometheus`` says of it."""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from tests.monitoring.scene import SETTINGS, Scene, Scrape, scene
from tests.support.gateway import Caller
from tests.support.gateway_process import gateway_process

# Metric, labels: each must have counted something.
COUNTED: list[tuple[str, dict[str, str]]] = [
    ("gateway_requests_seconds_count", {"route": "products", "method": "GET", "status": "2xx"}),
    ("gateway_requests_seconds_sum", {"route": "products"}),
    ("gateway_requests_seconds_count", {"route": "refusing", "status": "5xx"}),
    ("gateway_requests_seconds_count", {"route": "reservations", "status": "4xx"}),
    ("gateway_requests_seconds_count", {"route": "queue.lineup", "method": "POST"}),
    ("gateway_requests_in_flight", {}),
    ("gateway_upstream_seconds_count", {"route": "products"}),
    ("gateway_upstream_seconds_sum", {"route": "products"}),
    ("gateway_upstream_errors_total", {"route": "refusing", "code": "UPSTREAM_UNREACHABLE"}),
    ("gateway_upstream_errors_total", {"route": "nobody", "code": "NO_INSTANCE"}),
    *(
        ("gateway_rejections_total", {"code": code})
        for code in (
            "TOKEN_REQUIRED",
            "TOKEN_EXPIRED",
            "TOKEN_INVALID",
            "NOT_IN_QUEUE",
            "QUEUE_WAITING",
            "ROUTE_NOT_FOUND",
            "NO_INSTANCE",
        )
    ),
    *(
        ("gateway_tokens_total", {"outcome": outcome})
        for outcome in ("ok", "cached", "late", "TOKEN_REQUIRED", "TOKEN_EXPIRED", "TOKEN_INVALID")
    ),
    ("gateway_jwks_fetches_total", {"outcome": "ok"}),
    *(
        (f"gateway_room_{name}", {"room": "default"})
        for name in (
            "capacity",
            "allowed_in",
            "waiting",
            "lineups_total",
            "admissions_total",
            "promotions_total",
            "expiries_total",
            "evictions_total",
            "parked",
            "parkings_total",
            "returns_total",
            "leaves_total",
            "removals_total",
            "wait_seconds_count",
            "wait_seconds_sum",
            "session_seconds_count",
            "session_seconds_sum",
            "admissions_per_second",
            "estimated_wait_seconds",
            "estimate_error_ratio_count",
        )
    ),
    ("gateway_streams_open", {}),
    ("gateway_stream_frames_total", {}),
    ("gateway_stream_readers_cut_off_total", {}),
    *(
        (f"gateway_script_{name}", {"script": script})
        for name in ("seconds_count", "seconds_sum", "batch_users_sum")
        for script in ("lineup", "gate", "status", "leave", "presence")
    ),
    ("gateway_loop_lag_seconds_count", {}),
    ("gateway_sweeps_total", {"room": "default", "outcome": "ok"}),
    ("gateway_routes_up_to_date", {}),
    ("gateway_redis_up", {}),
    ("process_resident_memory_bytes", {}),
]
SEEN_AT_ONCE = {
    "gateway_streams_open",
    "gateway_room_allowed_in",
    "gateway_room_waiting",
    "gateway_room_parked",
    "gateway_room_estimated_wait_seconds",
    "gateway_room_admissions_per_second",
}
"""Gauges that are something only while it lasts."""


def of_room(name: str) -> dict[str, str]:
    return {"room": "default"} if name.startswith("gateway_room_") else {}


def missing(scrape: Scrape, seen: set[str]) -> list[tuple[str, dict[str, str]]]:
    """What has counted nothing so far; gauges in ``seen`` have had something at another time."""

    def counted(name: str, labels: dict[str, str]) -> bool:
        value = scrape.value(name, **labels)
        return (value > 0 and not math.isnan(value)) or name in seen

    return [(name, labels) for name, labels in COUNTED if not counted(name, labels)]


async def still_missing(sale: Scene, seen: set[str]) -> list[tuple[str, dict[str, str]]]:
    """``missing``, after a while in which it may be counted."""
    lacking = missing(await sale.scrape(), seen)
    with suppress(TimeoutError):
        async with asyncio.timeout(15):
            while lacking:
                await asyncio.sleep(0.1)
                lacking = missing(await sale.scrape(), seen)
    return lacking


@pytest.mark.timeout(120)
async def test_every_metric_is_fed_by_what_really_happens(tmp_path: Path, redis_url: str) -> None:
    async with scene(tmp_path, redis_url) as sale:
        seen: set[str] = set()

        async def look() -> None:
            while True:
                scrape = await sale.scrape()
                seen.update(name for name in SEEN_AT_ONCE if scrape.value(name, **of_room(name)) > 0)
                await asyncio.sleep(0.05)

        watcher = asyncio.create_task(look())
        try:
            await sale.play()
            sales = 1
            lacking = await still_missing(sale, seen)
            if lacking:
                # On a slow machine users may be admitted before they are parked.
                await sale.sell()
                sales = 2
                lacking = await still_missing(sale, seen)
            assert not lacking, "nothing was counted for these"
        finally:
            watcher.cancel()
        after = await sale.scrape("/metrics")
        assert after.value("gateway_room_estimate_error_ratio_count", room="default") > 0
        # Latency and batch size go together, and nobody waited longer than the sale lasted.
        assert after.value("gateway_script_seconds_count") == after.value("gateway_script_batch_users_count")
        waits = after.value("gateway_room_wait_seconds_count")
        assert 0 < waits <= after.value("gateway_room_promotions_total")
        assert after.value("gateway_room_wait_seconds_sum") < waits * 120
        lines = [json.loads(line) for line in sale.gateway.lines if line.startswith("{")]
        _hold_spring_names(after, sales)
    _hold_access_log(lines, sales)


def _hold_spring_names(scrape: Scrape, sales: int) -> None:
    server = {"method": "GET", "outcome": "SUCCESS", "status": "200", "error": "none", "exception": "none"}
    # Two calls before the first sale, and 13 in each.
    calls = 2 + 13 * sales
    assert scrape.value("http_server_requests_seconds_count", uri="products", **server) == calls
    assert scrape.value("http_server_requests_seconds_max", uri="products", **server) > 0
    gateway = {"httpMethod": "GET", "httpStatusCode": "200", "status": "OK", "outcome": "SUCCESSFUL"}
    routed = scrape.value(
        "spring_cloud_gateway_requests_seconds_count",
        routeId="products",
        routeUri="lb://reservations",
        **gateway,
    )
    assert routed == calls
    assert scrape.value("spring_cloud_gateway_routes_count") == 6


def _hold_access_log(lines: list[dict[str, object]], sales: int) -> None:
    access = [line for line in lines if line["logger"] == "access"]
    assert len({line["traceId"] for line in access}) > 50
    assert all(len(str(line["traceId"])) == 32 for line in access)
    lined_up = [line for line in access if line["route"] == "queue.lineup"]
    names = {str(line["user"]) for line in lined_up}
    assert len(names) > 10
    assert not any("crowd" in name or "waiting" in name for name in names)
    assert not any("eyJ" in json.dumps(line) for line in lines)
    refused = [line for line in access if line.get("code") == "QUEUE_WAITING"]
    assert [(line["status"], line["route"]) for line in refused] == [(429, "reservations")] * sales


async def test_two_instances_report_which_one_sweeps_and_one_without_keys_says_so(
    tmp_path: Path, redis_url: str
) -> None:
    async with scene(tmp_path, redis_url) as first:
        environ = {"REDIS_URL": redis_url, "JWT_JWKS_URI": "http://127.0.0.1:1/keys"} | SETTINGS
        async with (
            gateway_process(environ | {"METRICS_SPRING_NAMES": "false"}, tmp_path) as second,
            aiohttp.ClientSession() as session,
        ):
            there = Caller(session, second.base, None)
            async with asyncio.timeout(40):
                while True:
                    one = await first.scrape()
                    other = Scrape((await there("GET", "/metrics")).body.decode())
                    did, left = (
                        one.value("gateway_sweeps_total", room="default", outcome=outcome)
                        + other.value("gateway_sweeps_total", room="default", outcome=outcome)
                        for outcome in ("ok", "elsewhere")
                    )
                    if did >= 3 and left >= 3:
                        break
                    await asyncio.sleep(0.1)
            assert other.value("gateway_jwks_fetches_total", outcome="failed") > 0
            assert not other.labels("http_server_requests_seconds_count")


async def test_without_an_access_log_there_is_none(tmp_path: Path, redis_url: str) -> None:
    async with scene(tmp_path, redis_url, {"ACCESS_LOG": "false"}) as sale:
        await sale.user("someone").lineup()
        lines = list(sale.gateway.lines)
    assert lines
    assert not any('"access"' in line for line in lines)
