"""Properties that are not read: which of them an operator is told of."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from gateway.discovery.config_server.client import MAX_NAME_LENGTH, MAX_WARNINGS, ConfigServer
from gateway.discovery.config_server.properties import meaning_of, properties_of
from gateway.discovery.config_server.response import ConfigResponse, split
from tests.support.config_server import answer_of, routes

OLD, NEW = "spring.cloud.gateway", "spring.cloud.gateway.server.webflux"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (f"{NEW}.routes[0].urii", "x", "nothing here reads it"),
        (f"{OLD}.routez[0].id", "x", "nothing here reads it"),
        (f"{NEW}.httpclient.pool.max-connections", 500, "limited neither in number nor in age"),
        (f"{NEW}.httpclient.pool.max-life-time", "60s", "limited neither in number nor in age"),
        (f"{NEW}.httpclient.proxy.host", "proxy", "without a proxy"),
        (f"{NEW}.httpclient.ssl.use-insecure-trust-manager", "true", "TLS to services"),
        (f"{NEW}.httpclient.max-header-size", "64KB", "nothing that the way to services has"),
        (f"{NEW}.global-filter.websocket-routing.enabled", False, "no global filters"),
        (f"{NEW}.filter.retry.enabled", "false", "can't be switched off"),
        (f"{OLD}.filter.remove-hop-by-hop.headers", "a", "can't be switched off"),
        (f"{NEW}.forwarded.by.enabled", False, "Forwarded names no address"),
        (f"{NEW}.x-forwarded.host-append", True, "one value of X-Forwarded-Host"),
        (f"{NEW}.loadbalancer.use404", True, "503"),
        (f"{NEW}.enabled", False, "can't be switched off"),
        ("spring.security.oauth2.resourceserver.jwt.public-key-location", "x", "jwk-set-uri"),
        ("spring.security.user.password", "x", "no users"),
        ("spring.data.redis.host", "redis", "REDIS_URL"),
        ("spring.webflux.base-path", "/shop", "no path before its own"),
        ("spring.cloud.loadbalancer.configurations", "zone-preference", "take turns"),
        ("eureka.client.service-url.defaultZone", "http://e", "docs/reference/eureka.md"),
        ("server.port", 8081, "docs/reference/settings.md"),
        ("management.server.port", 9000, "/actuator"),
        ("management.endpoints.web.base-path", "/manage", "/actuator"),
        ("management.tracing.propagation.type", "b3", "traceparent"),
        ("management.otlp.tracing.endpoint", "http://o", "ZIPKIN_ENDPOINT"),
        ("springdoc.swagger-ui.path", "/docs", "/swagger-ui.html"),
        ("springdoc.swagger-ui.enabled", False, "/swagger-ui.html"),
        ("queue.fairness", "high", "docs/explanation/queue.md"),
    ],
)
def test_what_could_change_a_gateway_is_said(name: str, value: Any, told: str) -> None:
    assert told in meaning_of(split(name), str(value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spring.datasource.url", "jdbc:x"),
        ("spring.kafka.bootstrap-servers", "k"),
        ("logging.level.root", "DEBUG"),
        ("resilience4j.retry.configs.default.maxAttempts", 3),
        ("feign.client.config.default.connectTimeout", 1),
        ("spring.cloud.loadbalancer.ribbon.enabled", False),
        ("spring.cloud.openfeign.circuitbreaker.enabled", True),
        ("management.endpoints.web.exposure.include", "health,info"),
        ("management.endpoint.health.show-details", "always"),
        ("management.endpoint.gateway.enabled", True),
        ("management.prometheus.metrics.export.pushgateway.enabled", True),
        ("springdoc.api-docs.enabled", True),
        ("springdoc.api-docs.path", "/v3/api-docs"),
        ("springdoc.swagger-ui.path", "/swagger-ui.html"),
        ("springdoc.swagger-ui.operations-sorter", "alpha"),
        (f"{NEW}.filter.retry.enabled", "true"),
        (f"{NEW}.metrics.enabled", False),
        (f"{NEW}.httpclient.pool.name", "x"),
        (f"{OLD}.x-forwarded.order", 1),
        ("openapi.service.url", "http://x"),
        ("gates[0].calls[0]", "GET /a"),
        ("]][", "?"),
    ],
)
def test_what_is_harmless_or_concerns_others_is_not(name: str, value: Any) -> None:
    assert meaning_of(split(name), str(value)) == ""


class Looks:
    """A Config Server with these answers."""

    def __init__(self) -> None:
        self.server = ConfigServer(self.ask, {})
        self.properties: dict[str, Any] = {}

    async def ask(self) -> bytes:
        raise AssertionError("not asked")

    def succeed(self, *sources: dict[str, Any]) -> None:
        answer: ConfigResponse = answer_of(*sources)
        self.server._succeeded(properties_of(answer, {}))


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.INFO)

    def lines(level: str) -> list[str]:
        return [each.getMessage() for each in caplog.records if each.levelname == level]

    return lines


def test_each_has_a_line_of_its_own_once_and_the_rest_one_together(told: Any) -> None:
    looks = Looks()
    source = {**routes("a"), "server.port": 1, "queue.most": "secret", "logging.level.root": "x", "jpa.y": 1}
    for _ in range(3):
        looks.succeed(source)
    assert [each.partition(": ")[0] for each in told("WARNING")] == [
        "the Config Server's property queue.most has no effect",
        "the Config Server's property server.port has no effect",
    ]
    (line,) = [each for each in told("INFO") if "mean nothing here" in each]
    assert line.endswith(": jpa.y, logging.level.root")
    looks.succeed({**source, "server.address": "x"})
    assert len(told("WARNING")) == 3
    assert "secret" not in "".join(told("WARNING") + told("INFO"))


def test_lines_are_bounded_in_number_and_length(told: Any) -> None:
    looks = Looks()
    for turn in range(5):
        looks.succeed({f"server.{turn}.{at}": at for at in range(40)})
    assert len(told("WARNING")) == MAX_WARNINGS + 1
    assert told("WARNING")[-1] == "and 30 more properties of the Config Server have no effect"
    Looks().succeed({"server." + "x\n" * 1000: 1})
    line = told("WARNING")[-1]
    assert "\n" not in line
    assert len(line) < MAX_NAME_LENGTH + 200
