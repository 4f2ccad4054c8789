"""What Spring's tools read, held against what a real Spring Cloud Gateway was seen to answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.api.spring_json import media_type_for
from gateway.context import HEALTH
from tests.support.gateway import Gateways

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "spring" / "actuator.json").read_text())
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
            caller = gateway.with_token(token) if name in ("refresh", "services") else gateway.nobody
            assert (await caller("POST" if name == "refresh" else "GET", path)).status == 200, name
    assert "services" in links


@pytest.mark.parametrize(("method", "name"), [("POST", "refresh"), ("GET", "services")])
async def test_a_call_that_only_operators_may_make_is_no_link_without_any(
    gateways: Gateways, method: str, name: str
) -> None:
    gateway = await gateways.start()
    assert (await gateway.nobody(method, f"/actuator/{name}")).status == 404
    assert name not in (await gateway.nobody("GET", "/actuator")).json["_links"]


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


SPRING, JSON = "application/vnd.spring-boot.actuator.v3+json", "application/json"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", SPRING),
        ("*/*", SPRING),
        ("application/*", SPRING),
        ("application/*+json", SPRING),
        ("application/json", JSON),
        ("application/JSON", JSON),
        ("application/json, application/*+json", JSON),
        # What the browsers' libraries send.
        ("application/json, text/plain, */*", JSON),
        ("application/json;q=0.5, */*", SPRING),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", SPRING),
        # What Spring Boot Admin sends.
        ("application/vnd.spring-boot.actuator.v3+json, application/json", SPRING),
        ("application/json, application/vnd.spring-boot.actuator.v3+json", JSON),
        ("application/json;q=0.9,application/vnd.spring-boot.actuator.v3+json;q=0.1", JSON),
        ("application/json;q=0.1,application/vnd.spring-boot.actuator.v3+json;q=0.9", SPRING),
        # Of no use, but answered.
        ("application/json;q=0", SPRING),
        ("application/json;q=abc", SPRING),
        ("text/html", SPRING),
        ("garbage", SPRING),
    ],
)
def test_the_media_type_is_the_one_that_a_spring_application_was_seen_to_choose(
    accept: str, media_type: str
) -> None:
    assert media_type_for(accept) == media_type


@pytest.mark.parametrize(
    "path",
    [
        "/actuator",
        "/actuator/health",
        "/actuator/health/liveness",
        "/actuator/health/readiness",
        "/actuator/health/redis",
        "/actuator/info",
        "/actuator/metrics",
        "/actuator/metrics/gateway.redis.up",
    ],
)
async def test_a_client_that_asks_for_json_gets_it_by_that_name(gateways: Gateways, path: str) -> None:
    gateway = await gateways.start()
    for accept, media_type in (("application/json", JSON), (SPRING, SPRING), ("*/*", SPRING)):
        answer = await gateway.nobody("GET", path, headers={"Accept": accept})
        assert (answer.status, answer.headers["Content-Type"]) == (200, media_type)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/actuator/health/", 200),
        ("/actuator/health/liveness/", 200),
        ("/actuator/health/readiness/", 200),
        ("/actuator/health/redis/", 200),
        ("/actuator/health/none/", 404),
        ("/actuator/health//", 400),
        ("/actuator/", 404),
        ("/actuator/info/", 404),
        ("/actuator/metrics/", 404),
        ("/actuator/prometheus/", 404),
    ],
)
async def test_a_slash_behind_health_is_the_same_call_and_behind_others_none(
    gateways: Gateways, path: str, status: int
) -> None:
    """As seen of a Spring application, whose health takes any path below it. Load balancers ask so."""
    gateway = await gateways.start()
    # A token is checked once the keys are there, and then health changes no more.
    assert (await gateway.user("someone").status()).status == 404
    answer = await gateway.nobody("GET", path)
    assert answer.status == status
    if status == 200:
        same = await gateway.nobody("GET", path.removesuffix("/"))
        assert (answer.json, answer.headers["Content-Type"]) == (same.json, SPRING)
        assert (await gateway.nobody("HEAD", path)).status == 200
        assert (await gateway.nobody("POST", path)).status == 405


async def test_a_slash_is_no_way_past_the_management_token(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token="operator-token-of-the-test", management_reads="token")
    assert (await gateway.nobody("GET", "/actuator/health/redis/")).status == 401
    assert (await gateway.nobody("GET", "/actuator/health/")).json == {"status": "UP"}
