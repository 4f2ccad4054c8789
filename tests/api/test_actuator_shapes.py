"""What Spring's tools read, held against what a real Spring Cloud Gateway was seen to answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.context import HEALTH
from tests.harness import Gateways

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "actuator.json").read_text())
SEEN = {case["id"]: case for case in VECTORS["cases"]}

ROUTES = """
routes:
  - id: auth-service
    uri: lb://auth-service
    predicates: ["Path=/api/v1/auth/**"]
  - id: auth-service-docs
    uri: lb://auth-service
    predicates: ["Path=/auth-service/v3/api-docs/**"]
    filters: ["StripPrefix=1"]
services:
  auth-service: ["%(service)s"]
"""
ABSENT = (
    "env",
    "configprops",
    "beans",
    "heapdump",
    "threaddump",
    "loggers",
    "shutdown",
    "mappings",
)


def media_type(case: str) -> str:
    return next(value for name, value in SEEN[case]["headers"] if name == "Content-Type").partition(";")[0]


async def test_links_are_those_of_spring_and_each_leads_somewhere(gateways: Gateways) -> None:
    token = "operator-token-of-the-test"
    gateway = await gateways.start(management_token=token)
    answer = await gateway.nobody("GET", "/actuator", headers={"Host": "gw.test"})
    links = answer.json["_links"]
    seen = SEEN["links"]["body"]["_links"]
    assert seen.items() <= links.items()
    assert answer.headers["Content-Type"] == media_type("links")
    for name, link in links.items():
        if not link["templated"]:
            path = link["href"].removeprefix("http://gw.test")
            # Links say what there is, not how it is called: refreshing is a POST, as in Spring.
            method, caller = (
                ("POST", gateway.with_token(token)) if name == "refresh" else ("GET", gateway.nobody)
            )
            assert (await caller(method, path)).status == 200, name


async def test_a_refresh_that_nobody_may_ask_for_is_no_link(gateways: Gateways) -> None:
    gateway = await gateways.start()
    assert (await gateway.nobody("POST", "/actuator/refresh")).status == 404
    assert "refresh" not in (await gateway.nobody("GET", "/actuator")).json["_links"]


@pytest.mark.parametrize(
    "case", ["health-liveness", "health-readiness", "health-details-liveness", "health-details-readiness"]
)
async def test_probes_are_answered_as_by_spring(gateways: Gateways, case: str) -> None:
    gateway = await gateways.start()
    answer = await gateway.nobody("GET", SEEN[case]["request"]["target"])
    assert (answer.status, answer.json) == (SEEN[case]["status"], SEEN[case]["body"])
    assert answer.headers["Content-Type"] == media_type(case)


async def test_health_has_springs_members_with_details_and_without(gateways: Gateways) -> None:
    gateway = await gateways.start()
    seen, here = SEEN["health-details"]["body"], (await gateway.nobody("GET", "/actuator/health")).json
    assert here.keys() == seen.keys()
    assert (here["status"], here["groups"]) == (seen["status"], seen["groups"])
    for name in ("livenessState", "readinessState"):
        assert here["components"][name] == seen["components"][name]
    assert all(one.keys() <= {"status", "details"} for one in here["components"].values())
    head = await gateway.nobody("HEAD", "/actuator/health")
    assert (head.status, head.body) == (200, b"")


async def test_one_component_is_answered_alone(gateways: Gateways) -> None:
    gateway = await gateways.start()
    answer = await gateway.nobody("GET", "/actuator/health/redis")
    assert (answer.status, answer.json["status"]) == (200, "UP")
    assert answer.json.keys() == SEEN["health-details-redis"]["body"].keys()
    assert (await gateway.nobody("GET", "/actuator/health/nope")).status == SEEN["health-unknown"]["status"]
    gateway.app[HEALTH].draining = True
    assert (await gateway.nobody("GET", "/actuator/health/readinessState")).status == 503


@pytest.mark.parametrize("case", ["route", "route-docs"])
async def test_routes_have_springs_shape(gateways: Gateways, case: str) -> None:
    gateway = await gateways.start(ROUTES)
    seen = SEEN[case]
    answer = await gateway.nobody("GET", seen["request"]["target"])
    assert (answer.status, answer.headers["Content-Type"]) == (200, media_type(case))
    here, there = answer.json, dict(seen["body"])
    # Spring writes a Java object's name in front of the predicates.
    there["predicate"] = there["predicate"].partition(" && ")[2].removesuffix(")")
    assert {name: here[name] for name in there} == there
    index: list[dict[str, Any]] = (await gateway.nobody("GET", "/actuator/gateway")).json
    assert {"href", "methods"} == set(index[0]) == set(SEEN["gateway"]["body"][0])
    for entry in index:
        assert (await gateway.nobody("GET", entry["href"])).status == 200


@pytest.mark.parametrize("name", ABSENT)
async def test_what_would_give_away_secrets_is_not_there(gateways: Gateways, name: str) -> None:
    gateway = await gateways.start(management_token="operator-token-of-the-test")
    for caller in (gateway.nobody, gateway.with_token("operator-token-of-the-test")):
        for method in ("GET", "POST"):
            assert (await caller(method, f"/actuator/{name}")).status == 404
    assert name not in (await gateway.nobody("GET", "/actuator")).json["_links"]


async def test_info_is_an_object(gateways: Gateways) -> None:
    gateway = await gateways.start()
    answer = await gateway.nobody("GET", "/actuator/info")
    assert answer.headers["Content-Type"] == media_type("info")
    assert {"name", "version"} <= answer.json["app"].keys()


@pytest.mark.parametrize("reads", ["open", "token"])
async def test_the_alias_for_metrics_obeys_what_the_actuator_does(gateways: Gateways, reads: str) -> None:
    token = "operator-token-of-the-test"
    catch_all = ROUTES.replace("/api/v1/auth/**", "/**")
    gateway = await gateways.start(catch_all, management_reads=reads, management_token=token)
    answer = await gateway.nobody("GET", "/metrics")
    assert answer.status == (200 if reads == "open" else 401)
    answer = await gateway.with_token(token)("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert gateways.service.seen == []


async def test_with_a_port_of_its_own_the_alias_is_there_only(gateways: Gateways) -> None:
    gateway = await gateways.start(management_server_port=0)
    for caller in (gateway.nobody, gateway.user("someone")):
        assert (await caller("GET", "/metrics")).code == "ROUTE_NOT_FOUND"
