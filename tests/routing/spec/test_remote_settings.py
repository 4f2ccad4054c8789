"""Settings that a Config Server gives: how each value is read, and what is a fault."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gateway.discovery.config_server.properties import properties_of
from gateway.errors import SettingsError
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.spec.loader import parse
from gateway.routing.spec.overlay import Properties
from gateway.routing.spec.remote_settings import GIVEN, MAX_TAGS
from gateway.routing.table import RouteTable
from gateway.settings.model import TABLE, Settings
from tests.support.config_server import answer_of
from tests.support.effort import least_seconds

OLD, NEW = "spring.cloud.gateway", "spring.cloud.gateway.server.webflux"
URLS = "springdoc.swagger-ui.urls"
HEADERS = ("forwarded", "for", "host", "port", "proto", "prefix")


def properties(*sources: dict[str, Any], **environ: str) -> Properties:
    return properties_of(answer_of(*sources), environ)


def table(*sources: dict[str, Any], **environ: str) -> RouteTable:
    return parse(b"routes: []", "routes.yaml", {}, properties(*sources, **environ))


def given(*sources: dict[str, Any], **environ: str) -> dict[str, Any]:
    return dict(table(*sources, **environ).given)


def issues(source: dict[str, Any]) -> str:
    with pytest.raises(RouteFileError) as refused:
        table(source)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "setting", "read"),
    [
        (f"{NEW}.httpclient.connect-timeout", 1500, "proxy_connect_timeout_seconds", 1.5),
        (f"{OLD}.httpclient.connectTimeout", "45000", "proxy_connect_timeout_seconds", 45.0),
        (f"{NEW}.httpclient.response-timeout", "5s", "proxy_response_timeout_seconds", 5.0),
        (f"{NEW}.httpclient.response-timeout", "PT1M30.5S", "proxy_response_timeout_seconds", 90.5),
        (f"{NEW}.httpclient.response-timeout", "pt2h", "proxy_response_timeout_seconds", 7200.0),
        (f"{OLD}.httpclient.response-timeout", "250ms", "proxy_response_timeout_seconds", 0.25),
        (f"{OLD}.httpclient.response-timeout", 250, "proxy_response_timeout_seconds", 0.25),
        (f"{NEW}.httpclient.pool.max-idle-time", "15s", "proxy_keep_alive_seconds", 15.0),
        (f"{NEW}.httpclient.pool.type", "DISABLED", "proxy_keep_alive_seconds", 0.0),
        (f"{NEW}.trusted-proxies", r"10\.0\.0\.\d+", "trusted_proxies_pattern", r"10\.0\.0\.\d+"),
        (f"{NEW}.forwarded.enabled", False, "forwarded_headers", HEADERS[1:]),
        (f"{NEW}.x-forwarded.enabled", "false", "forwarded_headers", ("forwarded",)),
        (f"{NEW}.x-forwarded.hostEnabled", "off", "forwarded_headers", tuple({*HEADERS} - {"host"})),
        (f"{NEW}.x-forwarded.enabled", True, "forwarded_headers", HEADERS),
        (f"{NEW}.x-forwarded.for-append", False, "forwarded_for_chain", False),
        ("queue.max-capacity", 500, "allowed_in_max_capacity", 500),
        ("queue.maxCapacity", "0", "allowed_in_max_capacity", 0),
        ("queue.allowed-in-duration-seconds", "90", "allowed_in_duration_seconds", 90.0),
        ("management.tracing.sampling.probability", 0.5, "tracing_sampling_probability", 0.5),
        ("management.tracing.sampling.probability", "1.0", "tracing_sampling_probability", 1.0),
        ("management.zipkin.tracing.endpoint", "http://z/spans", "zipkin_endpoint", "http://z/spans"),
        ("management.tracing.export.zipkin.endpoint", "http://z/a", "zipkin_endpoint", "http://z/a"),
        ("management.tracing.export.enabled", False, "zipkin_endpoint", None),
        ("management.tracing.enabled", "false", "zipkin_endpoint", None),
        ("management.metrics.tags.application", "shop", "metrics_tags", (("application", "shop"),)),
        ("management.metrics.tags.data-center", "a", "metrics_tags", (("data_center", "a"),)),
        ("management.metrics.tags.my.team", "b", "metrics_tags", (("my_team", "b"),)),
        ("management.metrics.tags[my.team]", "b", "metrics_tags", (("my_team", "b"),)),
        ("management.metrics.tags.1a", "c", "metrics_tags", (("m_1a", "c"),)),
        ("management.observations.key-values.zone", "c", "metrics_tags", (("zone", "c"),)),
        (f"{URLS}[0].url", "/a/v3/api-docs", "api_documents", (("/a/v3/api-docs",) * 2,)),
        ("springdoc.swagger-ui.urls-primary-name", "Orders", "api_document_first", "Orders"),
    ],
)
def test_a_property_is_read_as_spring_reads_it(name: str, value: Any, setting: str, read: Any) -> None:
    found = given({name: value})
    assert list(found) == [setting]
    assert set(found[setting]) == set(read) if setting == "forwarded_headers" else found[setting] == read
    assert properties({name: value}).ignored == ()
    assert dataclasses.replace(Settings(), **found)


@pytest.mark.parametrize("name", [name for name in GIVEN if not name.endswith(".*") and "[n]" not in name])
@pytest.mark.parametrize("value", ["", "  "])
def test_what_is_empty_says_nothing(name: str, value: str) -> None:
    assert given({name.replace("~", NEW): value}) == {}


@pytest.mark.parametrize("value", [True, "elastic", "FIXED", "fixed"])
def test_other_pools_say_nothing_of_idle_connections(value: Any) -> None:
    assert given({f"{NEW}.httpclient.pool.type": value}) == {}


@pytest.mark.parametrize("variable", ["SPRING_CLOUD_GATEWAY", "SPRING_CLOUD_GATEWAY_SERVER_WEBFLUX"])
@pytest.mark.parametrize("name", [OLD, NEW])
def test_a_pool_of_the_environment_counts_before_the_servers(name: str, variable: str) -> None:
    server = properties({f"{name}.httpclient.pool.type": "DISABLED"})
    environ = {f"{variable}_HTTPCLIENT_POOL_TYPE": "ELASTIC"}
    assert dict(parse(b"routes: []", "f", environ, server).given) == {}
    both = {f"{name}.httpclient.pool.type": "DISABLED", f"{name}.httpclient.pool.max-idle-time": "15s"}
    assert dict(parse(b"routes: []", "f", environ, properties(both)).given) == {
        "proxy_keep_alive_seconds": 15.0
    }


@pytest.mark.parametrize(
    "name", sorted(name for name in GIVEN if name.endswith("enabled") and "~" not in name)
)
def test_a_switch_of_the_environment_counts_before_the_servers_and_leaves_the_endpoint(name: str) -> None:
    server = properties({name: False, "management.zipkin.tracing.endpoint": "http://z/"})
    assert dict(parse(b"routes: []", "f", {}, server).given) == {"zipkin_endpoint": None}
    environ = {name.replace(".", "_").upper(): "true"}
    assert dict(parse(b"routes: []", "f", environ, server).given) == {"zipkin_endpoint": "http://z/"}


def test_switches_that_are_on_say_nothing_of_spans() -> None:
    assert given({"management.tracing.export.enabled": True}) == {}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (f"{NEW}.httpclient.connect-timeout", "2s", "allowed is a whole number of milliseconds"),
        (f"{NEW}.httpclient.connect-timeout", -1, "PROXY_CONNECT_TIMEOUT_SECONDS"),
        (f"{NEW}.httpclient.connect-timeout", 0, "PROXY_CONNECT_TIMEOUT_SECONDS"),
        (f"{NEW}.httpclient.response-timeout", "soon", "allowed is a length of time such as 2s"),
        (f"{NEW}.httpclient.response-timeout", "P", "PROXY_RESPONSE_TIMEOUT_SECONDS"),
        (f"{NEW}.httpclient.response-timeout", "PT1.2.3S", "PROXY_RESPONSE_TIMEOUT_SECONDS"),
        (f"{NEW}.httpclient.response-timeout", "PT5.S", "PROXY_RESPONSE_TIMEOUT_SECONDS"),
        (f"{NEW}.httpclient.response-timeout", "PT.5S", "PROXY_RESPONSE_TIMEOUT_SECONDS"),
        (f"{NEW}.httpclient.pool.max-idle-time", "PT0.1234567890S", "PROXY_KEEP_ALIVE_SECONDS"),
        (f"{NEW}.httpclient.response-timeout", "-1s", "PROXY_RESPONSE_TIMEOUT_SECONDS"),
        (f"{NEW}.httpclient.response-timeout", "999999999999d", "PROXY_RESPONSE_TIMEOUT_SECONDS"),
        (f"{NEW}.trusted-proxies", "10.(", "[regex]"),
        (f"{NEW}.forwarded.enabled", "maybe", "FORWARDED_HEADERS: allowed is true or false"),
        ("queue.max-capacity", "many", "ALLOWED_IN_MAX_CAPACITY: allowed is a whole number"),
        ("queue.max-capacity", "${nowhere}", "${nowhere} is not set"),
        ("management.tracing.sampling.probability", 2, "allowed is a number from 0 to 1"),
        ("management.zipkin.tracing.endpoint", "ftp://ann:secret@z", "ZIPKIN_ENDPOINT: allowed is an http"),
    ],
)
def test_a_wrong_value_is_a_fault_of_the_property_and_not_shown(name: str, value: Any, told: str) -> None:
    said = issues({name: value})
    assert told in said
    assert said.startswith("first.yml:1: ")
    assert "secret" not in said


def test_an_unset_placeholder_of_a_list_does_not_hide_the_rest() -> None:
    assert "${nowhere}" in issues({f"{URLS}[0].url": "${nowhere}", f"{URLS}[0].name": "a"})


def test_the_first_source_wins_and_mappings_are_merged() -> None:
    tags = "management.metrics.tags"
    found = given(
        {"queue.max-capacity": 1, f"{tags}.a": "own", f"{URLS}[0].url": "/own"},
        {"queue.max-capacity": 2, f"{tags}.a": "everybody's", f"{tags}.b": "b", f"{URLS}[1].url": "/other"},
    )
    assert found["allowed_in_max_capacity"] == 1
    assert set(found["metrics_tags"]) == {("a", "own"), ("b", "b")}
    assert found["api_documents"] == (("/own", "/own"),)


def test_the_newer_name_counts_within_a_source_and_of_two_for_one_setting() -> None:
    timeout = ".httpclient.connect-timeout"
    for source in ({OLD + timeout: 1, NEW + timeout: 2}, {NEW + timeout: 2, OLD + timeout: 1}):
        assert given(source) == {"proxy_connect_timeout_seconds": 0.002}
    assert given(
        {
            "management.zipkin.tracing.endpoint": "http://old",
            "management.tracing.export.zipkin.endpoint": "http://new",
        }
    ) == {"zipkin_endpoint": "http://new"}


def test_documents_keep_their_order_and_their_names() -> None:
    found = given(
        {
            f"{URLS}[0].name": "Gateway Server (Queue API)",
            f"{URLS}[0].url": "/v3/api-docs",
            f"{URLS}[1].name": "Pay, refunds = money",
            f"{URLS}[1].url": "https://docs.example/pay?x=1",
            **{f"{URLS}[{at}].url": f"/{at}" for at in range(2, 12)},
        }
    )["api_documents"]
    assert found[:2] == (
        ("Gateway Server (Queue API)", "/v3/api-docs"),
        ("Pay, refunds = money", "https://docs.example/pay?x=1"),
    )
    assert found[-1] == ("/11", "/11")


def test_there_are_not_more_tags_than_a_gateway_bears() -> None:
    tags = {f"management.metrics.tags.t{at}": "x" for at in range(MAX_TAGS)}
    assert len(given(tags)["metrics_tags"]) == MAX_TAGS
    more = table(tags | {"management.metrics.tags.more": "x"})
    assert len(more.given["metrics_tags"]) == MAX_TAGS
    assert "management.metrics.tags.more: left out: METRICS_TAGS" in str(more.warnings[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("management.metrics.tags.a", "x" * 1001),
        (f"management.metrics.tags.{'a' * 101}", "x"),
        (f"{URLS}[0].name", "without an address"),
        (f"{URLS}[0].url", "javascript:alert(1)"),
        (f"{URLS}[0].url", "//evil.example"),
        (f"{URLS}[0].url", "/\\evil.example"),
        (f"{URLS}[0].url", "/a,b"),
    ],
)
def test_a_label_or_description_that_cannot_be_used_is_left_out_with_a_warning(name: str, value: str) -> None:
    good = {f"{URLS}[1].url": "/good", "management.metrics.tags.good": "x"}
    found = table({name: value, **good})
    assert dict(found.given) == {"api_documents": (("/good", "/good"),), "metrics_tags": (("good", "x"),)}
    assert "left out" in str(found.warnings[0])


def test_proxies_that_are_everyone_are_warned_of() -> None:
    warned = [str(each) for each in table({f"{NEW}.trusted-proxies": ".*"}).warnings]
    assert [
        each for each in warned if "every address is trusted" in each and f"{NEW}.trusted-proxies" in each
    ]
    assert table({f"{NEW}.trusted-proxies": r"10\..*|192\.168\..*"}).warnings == ()


def test_placeholders_are_filled_and_what_they_name_is_used() -> None:
    found = properties(
        {"queue.max-capacity": "${most:7}", "management.metrics.tags.app": "${a.b}", "a.b": "c"}
    )
    assert found.ignored == ()
    assert dict(parse(b"routes: []", "f", {}, found).given) == {
        "allowed_in_max_capacity": 7,
        "metrics_tags": (("app", "c"),),
    }


def test_a_changed_value_is_another_content_and_is_named() -> None:
    one, other = properties({"queue.max-capacity": 1}), properties({"queue.max-capacity": 2})
    assert one.digest != other.digest
    assert one.digest == properties({"x": 5, "queue.max-capacity": 1}).digest
    assert dict(one.values) == {"queue.max-capacity": "1"}


def test_every_setting_that_is_given_is_one() -> None:
    assert {setting for setting, _ in GIVEN.values()} <= {row.name for row in TABLE}


@pytest.mark.parametrize(
    "text", ["1" * 60_000, "PT" + "1" * 60_000 + "S", "." * 60_000, "pt" + "9h" * 30_000]
)
def test_long_values_cost_nothing(text: str) -> None:
    given = {f"{NEW}.httpclient.response-timeout": text}
    assert "PROXY_RESPONSE_TIMEOUT_SECONDS" in issues(given)
    assert least_seconds(lambda: issues(given), 1) < 1


@pytest.mark.parametrize("text", ["Orders=/a,Pay=https://x/y", " A = /a "])
def test_the_variable_of_documents_is_read(text: str) -> None:
    assert Settings.from_env({"API_DOCUMENTS": text}).api_documents[0][1] == "/a"


@pytest.mark.parametrize("text", ["Orders", "=/a", "a=b", "a=//b", ",", ",".join(["a=/b"] * 101), "a=/b c"])
def test_what_are_no_documents_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="API_DOCUMENTS"):
        Settings.from_env({"API_DOCUMENTS": text})
