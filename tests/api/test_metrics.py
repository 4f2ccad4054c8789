"""``/actuator/metrics`` over real HTTP, as Spring's tools ask for it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.api.metrics import MAX_TAGS
from gateway.api.spring_json import MEDIA_TYPE
from tests.support.gateway import Gateways

TOKEN = "operator-token-of-the-test"
REQUESTS = "/actuator/metrics/http.server.requests"


async def test_every_name_leads_to_a_metric(gateways: Gateways) -> None:
    gateway = await gateways.start(metrics_spring_names=True)
    await gateway.user("a").lineup()
    answer = await gateway.nobody("GET", "/actuator/metrics")
    assert (answer.status, answer.headers["Content-Type"]) == (200, MEDIA_TYPE)
    names = answer.json["names"]
    assert {
        "http.server.requests",
        "spring.cloud.gateway.routes.count",
        "process.cpu.usage",
        "system.cpu.count",
        "gateway.requests",
        "gateway.room.waiting",
    } <= set(names)
    assert names == sorted(names)
    for name in names:
        one = await gateway.nobody("GET", f"/actuator/metrics/{name}")
        assert (one.status, one.json["name"]) == (200, name)
        assert one.json["measurements"]


async def test_tags_choose_what_is_counted(gateways: Gateways) -> None:
    gateway = await gateways.start(metrics_spring_names=True)
    for path in ("/api/v1/products", "/api/v1/products", "/actuator/info"):
        assert (await gateway.nobody("GET", path)).status == 200

    async def counted(query: str) -> float:
        answer = await gateway.nobody("GET", f"{REQUESTS}{query}")
        assert (answer.status, answer.headers["Content-Type"]) == (200, MEDIA_TYPE)
        return next(each["value"] for each in answer.json["measurements"] if each["statistic"] == "COUNT")

    assert await counted("") == 3
    assert await counted("?tag=uri:products") == 2
    assert await counted("?tag=uri:products&tag=status:200&tag=method%3AGET") == 2
    assert await counted("?tag=uri:actuator.info&other=1") == 1
    answer = await gateway.nobody("GET", f"{REQUESTS}?tag=uri:products")
    assert [each["tag"] for each in answer.json["availableTags"]] == [
        "error",
        "exception",
        "method",
        "outcome",
        "status",
    ]
    assert answer.json["baseUnit"] == "seconds"
    assert [each["statistic"] for each in answer.json["measurements"]] == ["COUNT", "TOTAL_TIME", "MAX"]


async def test_what_there_is_not_is_404(gateways: Gateways) -> None:
    gateway = await gateways.start(metrics_spring_names=True)
    for path in ("no.such", "gateway.requests?tag=route:no-such", "gateway.requests?tag=no-such:GET", "a/b"):
        assert (await gateway.nobody("GET", f"/actuator/metrics/{path}")).status == 404, path
    assert (await gateway.nobody("POST", REQUESTS)).status == 405


@pytest.mark.parametrize("query", ["tag=status", "tag=", "tag=:200", "tag=%zz"])
async def test_a_tag_without_key_and_value_is_refused(gateways: Gateways, query: str) -> None:
    gateway = await gateways.start()
    answer = await gateway.nobody("GET", f"/actuator/metrics/system.cpu.count?{query}")
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")


async def test_the_number_of_tags_is_bounded(gateways: Gateways) -> None:
    gateway = await gateways.start()
    for count, status in ((MAX_TAGS, 404), (MAX_TAGS + 1, 400)):
        query = "&".join(f"tag=a:{number}" for number in range(count))
        answer = await gateway.nobody("GET", f"/actuator/metrics/system.cpu.count?{query}")
        assert answer.status == status


async def test_springs_names_are_there_only_if_they_are_wanted(gateways: Gateways) -> None:
    gateway = await gateways.start(metrics_spring_names=False)
    assert (await gateway.nobody("GET", REQUESTS)).status == 404
    assert (await gateway.nobody("GET", "/actuator/metrics/gateway.requests")).status == 200


async def test_reads_that_are_closed_need_the_token(gateways: Gateways) -> None:
    gateway = await gateways.start(management_reads="token", management_token=TOKEN)
    for path in (
        "/metrics",
        "/metrics/system.cpu.count",
        "/gateway/globalfilters",
        "/gateway/routefilters",
        "/gateway/routepredicates",
    ):
        assert (await gateway.nobody("GET", f"/actuator{path}")).status == 401, path
        assert (await gateway.with_token(TOKEN)("GET", f"/actuator{path}")).status == 200, path


async def test_many_callers_get_numbers_of_their_own(gateways: Gateways) -> None:
    gateway = await gateways.start()
    answers = await asyncio.gather(
        *(
            gateway.nobody("GET", f"/actuator/metrics/{name}")
            for name in ("system.cpu.count", "gateway.streams.open") * 20
        )
    )
    assert [answer.json["name"] for answer in answers] == ["system.cpu.count", "gateway.streams.open"] * 20
