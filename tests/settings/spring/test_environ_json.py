"""Settings in one variable: how they are flattened, what stops the start, and that nothing of it is shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings.model import Settings, check
from gateway.settings.spring.environ import (
    MAX_JSON_DEPTH,
    MAX_JSON_LENGTH,
    MAX_PROPERTIES,
    BadJson,
    properties,
)

JSON = "SPRING_APPLICATION_JSON"


def test_objects_and_lists_become_dotted_names() -> None:
    text = '{"a": {"b-c": 1, "d": [true, {"e": "x"}]}, "f.g": 1.50, "h": null, "i": {}, "j": [], "k": ""}'
    assert properties(text) == {
        "a.b-c": "1",
        "a.d[0]": "true",
        "a.d[1].e": "x",
        "f.g": "1.50",
        "k": "",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "valid JSON; line 1, column 2 is not"),
        ('{"a": hunter2}', "valid JSON; line 1, column 7 is not"),
        ('{"a": 1} hunter2', "valid JSON; line 1, column 10 is not"),
        ("[1]", "a JSON object"),
        ('"hunter2"', "a JSON object"),
        ('{"a": NaN}', "valid JSON"),
        ("[" * 100_000, "valid JSON"),
        (
            '{"a":' * (MAX_JSON_DEPTH + 2) + "1" + "}" * (MAX_JSON_DEPTH + 2),
            f"at most {MAX_JSON_DEPTH} levels deep",
        ),
        (
            json.dumps(dict.fromkeys(map(str, range(MAX_PROPERTIES + 1)), 1)),
            f"at most {MAX_PROPERTIES} properties",
        ),
        ('{"spring.a\\nb": 1}', "printable names"),
        ('{"' + "a" * 201 + '": 1}', "printable names of at most 200 characters"),
        ('{"a": "' + "x" * MAX_JSON_LENGTH + '"}', "at most 256 KiB"),
    ],
)
def test_what_can_not_be_read_stops_the_start_without_being_shown(text: str, reason: str) -> None:
    with pytest.raises(BadJson, match=reason):
        properties(text)
    (error,) = check({JSON: text})
    assert (error.variable, error.value) == (JSON, "(hidden)")
    assert reason in str(error)
    assert "hunter2" not in str(error)


@given(st.text())
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    assert all("\n" not in str(fault) for fault in check({JSON: text}))


def test_it_counts_before_the_variables_and_under_springs_names() -> None:
    settings = Settings.from_env(
        {
            JSON: json.dumps(
                {
                    "server": {"port": 9000, "address": "127.0.0.1"},
                    "eureka.client.serviceUrl.defaultZone": "http://json/",
                    "spring": {"data": {"redis": {"host": "h", "ssl": {"enabled": True}, "password": "p"}}},
                    "management": {"tracing": {"sampling": {"probability": 0.25}}},
                    "ALLOWED_IN_MAX_CAPACITY": 7,
                }
            ),
            "SERVER_PORT": "8080",
            "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "http://variable/",
            "ALLOWED_IN_MAX_CAPACITY": "8",
            "SPRING_DATA_REDIS_HOST": "other",
        }
    )
    assert (settings.server_port, settings.server_host) == (9000, "127.0.0.1")
    assert settings.eureka_client_serviceurl_defaultzone == ("http://json/",)
    assert settings.redis_url == "rediss://:p@h:6379/0"
    assert settings.tracing_sampling_probability == 0.25
    assert settings.allowed_in_max_capacity == 7


def test_the_gateways_own_name_counts_before_it() -> None:
    json_ = '{"spring": {"cloud": {"config": {"uri": "http://json"}}, "data": {"redis": {"url": "redis://json"}}}}'
    settings = Settings.from_env({JSON: json_, "CONFIG_SERVER_URL": "http://own", "REDIS_URL": "redis://own"})
    assert (settings.config_server_url, settings.redis_url) == (("http://own",), "redis://own")


def test_lists_are_taken_as_a_whole() -> None:
    json_ = '{"spring": {"profiles": {"active": ["a", "b"]}, "cloud": {"config": {"label": ["x", "main"]}}}}'
    settings = Settings.from_env({JSON: json_, "SPRING_PROFILES_ACTIVE": "c"})
    assert (settings.spring_profiles_active, settings.config_server_label) == (("a", "b"), ("x", "main"))


@pytest.mark.parametrize(
    ("json_", "named"),
    [
        ('{"server": {"port": "x"}}', "SPRING_APPLICATION_JSON (server.port)='x'"),
        ('{"spring.data.redis.port": "abc"}', "SPRING_APPLICATION_JSON (spring.data.redis.port)='abc'"),
        (
            '{"spring.redis.cluster.nodes": ["a:b"]}',
            "SPRING_APPLICATION_JSON (spring.redis.cluster.nodes[0])",
        ),
    ],
)
def test_a_fault_is_reported_where_it_stands(json_: str, named: str) -> None:
    (error,) = check({JSON: json_})
    assert str(error).startswith(named)


@pytest.mark.parametrize(
    "json_",
    [
        '{"spring.cloud.config.password": "hunter2\\n"}',
        '{"spring.cloud.config.token": "hunter 2hunter2"}',
        '{"spring.cloud.config.headers": {"X-A": "hunter2,b"}}',
        '{"spring.data.redis.url": "redis//:hunter2@host"}',
        '{"eureka.client.service-url.defaultZone": "http://me:hunter2@host:x/"}',
        '{"MANAGEMENT_TOKEN": "hunter2 "}',
        '{"PW": "hunter2", "server.port": "${PW}"}',
    ],
)
def test_its_secrets_are_never_shown(json_: str) -> None:
    (error,) = check({JSON: json_})
    assert "hunter2" not in str(error)
    good = Settings.from_env({JSON: '{"spring.cloud.config.token": "hunter2", "REDIS_PW": "hunter2"}'})
    assert "hunter2" not in repr(good)
