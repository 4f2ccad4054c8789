"""The report over HTTP and from the command line."""

from __future__ import annotations

import asyncio
import csv
import io
import time

import pytest

from gateway.cli.main import main
from gateway.waiting_room import presence
from tests.support.gateway import Gateways
from tests.support.waiting import eventually

REPORT, SLOT = "/actuator/rooms/default/report", "/api/v1/queue/allowed-in-token"


async def test_the_report_counts_each_user_once_over_all_instances(gateways: Gateways) -> None:
    here, there = await gateways.start(), await gateways.start()
    for at in range(10):
        await (here, there)[at % 2].user(f"u{at}").lineup()
    await here.user("u0")("DELETE", SLOT)
    answers = [(await gateway.nobody("GET", REPORT)).json["data"] for gateway in (here, there)]
    for minutes in answers:
        assert sum(minute["arrivals"] for minute in minutes) == 10
        assert sum(minute["admissions"] for minute in minutes) == 2
        assert sum(minute["left"] for minute in minutes) == 1
        assert minutes[-1]["waiting"] == 8
        assert abs(minutes[-1]["minute"] - time.time() * 1000) < 180_000


async def test_the_error_of_an_estimate_comes_into_the_report(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(presence.Presence.__init__.__kwdefaults__, "beat", 0.05)
    gateway = await gateways.start(queue_status_interval_seconds=0.05)
    for name in ("first", "second", "third"):
        await gateway.user(name).lineup()
    await gateway.user("first")("DELETE", SLOT)
    async with gateway.user("third").stream() as stream:
        while "estimatedWaitSeconds" not in (await stream.until("STATUS_UPDATE")).data:
            pass
        await gateway.user("second")("DELETE", SLOT)
        await stream.until("ALLOWED_IN")

    async def told() -> bool:
        minutes = (await gateway.nobody("GET", REPORT)).json["data"]
        return any(minute["estimateError"] is not None for minute in minutes)

    await eventually(told)


async def test_the_command_line_prints_columns_and_csv(
    gateways: Gateways, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = await gateways.start()
    await gateway.user("u").lineup()

    async def run(*words: str) -> str:
        command = ["room", "report", *words, "--url", gateway.nobody.base]
        assert await asyncio.to_thread(main, command, {}) == 0
        return capsys.readouterr().out

    text = await run("--csv")
    header = "minute,arrivals,admissions,wait_p50,wait_p95,left,parked,evicted,estimate_error"
    assert text.splitlines()[0] == header
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [sum(int(row[name]) for row in rows) for name in ("arrivals", "admissions")] == [1, 1]
    assert all(row["minute"].endswith(":00Z") and row["wait_p50"] == "" for row in rows)
    assert (await run("--minutes", "1")).splitlines()[0].split() == header.split(",")


@pytest.mark.parametrize("minutes", ["0", "1441", "-1", "x", "", "1&minutes=1", "٣"])
async def test_a_wrong_number_of_minutes_is_refused(gateways: Gateways, minutes: str) -> None:
    gateway = await gateways.start()
    assert (await gateway.nobody("GET", f"{REPORT}?minutes={minutes}")).status == 400


async def test_the_report_is_open_as_other_reads_are(gateways: Gateways) -> None:
    token = "operator-token-of-the-test"
    closed = await gateways.start(management_reads="token", management_token=token)
    assert (await closed.nobody("GET", REPORT)).code == "TOKEN_REQUIRED"
    assert (await closed.with_token(token)("GET", REPORT)).status == 200
    assert (await closed.with_token(token)("GET", "/actuator/rooms/none/report")).code == "ROOM_NOT_FOUND"
