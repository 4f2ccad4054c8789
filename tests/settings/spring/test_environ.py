"""The environment as Spring would read it: what counts of several forms, and what placeholders stand for."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings.model import Settings, check
from gateway.settings.spring.environ import MAX_VALUE_LENGTH, SpringEnviron, understood


def test_it_is_made_once() -> None:
    environ = SpringEnviron({})
    assert understood(environ) is environ


def test_names_that_are_none_of_springs_stay_as_they_are() -> None:
    environ = {"PATH": "${HOME}/bin", "REDIS_PW": "a${b}", "IDENTITY_HMAC_SECRET": "${x:y}"}
    assert dict(SpringEnviron(environ)) == environ


def test_forms_that_say_different_things_are_told_in_the_order_in_which_they_count() -> None:
    environ = SpringEnviron(
        {
            "eureka.instance.prefer-ip-address": "d",
            "eureka_instance_preferipaddress": "c",
            "EUREKA_INSTANCE_PREFER_IP_ADDRESS": "b",
            "EUREKA_INSTANCE_PREFERIPADDRESS": "a",
            "SPRING_APPLICATION_JSON": '{"eureka": {"instance": {"preferIpAddress": "j"}}}',
        }
    )
    assert environ["EUREKA_INSTANCE_PREFERIPADDRESS"] == "j"
    counting = "SPRING_APPLICATION_JSON (eureka.instance.preferIpAddress)"
    assert environ.conflicts == [
        (counting, "EUREKA_INSTANCE_PREFERIPADDRESS"),
        (counting, "EUREKA_INSTANCE_PREFER_IP_ADDRESS"),
        (counting, "eureka_instance_preferipaddress"),
        (counting, "eureka.instance.prefer-ip-address"),
    ]


def test_a_variable_of_the_gateways_own_in_the_json_is_told_if_it_wins() -> None:
    environ = {"SPRING_APPLICATION_JSON": '{"REDIS_PW": "a", "QUEUE_RELINEUP": "keep", "LOG_LEVEL": "INFO"}'}
    found = SpringEnviron(environ | {"REDIS_PW": "b", "QUEUE_RELINEUP": "keep", "LOG_LEVEL": ""})
    assert found["REDIS_PW"] == "a"
    assert found.conflicts == [("SPRING_APPLICATION_JSON (REDIS_PW)", "REDIS_PW")]


def test_a_key_in_mixed_case_is_there_once() -> None:
    environ = {"EUREKA_INSTANCE_METADATAMAP_Team": "tickets", "eureka_instance_metadatamap_color": "blue"}
    assert Settings.from_env(environ).eureka_instance_metadatamap == (("team", "tickets"), ("color", "blue"))


def test_forms_that_agree_or_are_empty_are_not_told() -> None:
    environ = SpringEnviron(
        {
            "EUREKA_CLIENT_SERVICE_URL_DEFAULTZONE": "http://a/",
            "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "",
            "eureka.client.service-url.defaultZone": " http://a/ ",
        }
    )
    assert environ["EUREKA_CLIENT_SERVICEURL_DEFAULTZONE"] == "http://a/"
    assert environ.conflicts == []


def test_a_fault_is_reported_under_the_form_that_is_wrong() -> None:
    (error,) = check({"EUREKA_CLIENT_SERVICE_URL_DEFAULTZONE": "localhost:8761"})
    assert error.variable == "EUREKA_CLIENT_SERVICE_URL_DEFAULTZONE"
    (error,) = check({"spring.data.redis.port": "x"})
    assert error.variable == "spring.data.redis.port"


FILLED: list[tuple[dict[str, str], str]] = [
    ({"SPRING_APPLICATION_NAME": "a-${B}", "B": "b"}, "a-b"),
    ({"SPRING_APPLICATION_NAME": "${B:c}"}, "c"),
    ({"SPRING_APPLICATION_NAME": "${b.c:x}", "B_C": "d"}, "d"),
    ({"SPRING_APPLICATION_NAME": "${B}", "B": "${C}", "C": "deep"}, "deep"),
    ({"SPRING_APPLICATION_NAME": "p${server.port}"}, "p8080"),
    ({"SPRING_APPLICATION_NAME": "p${server.port}", "SPRING_APPLICATION_JSON": '{"server.port": 9}'}, "p9"),
    (
        {
            "SPRING_APPLICATION_NAME": "${eureka.instance.ip-address}",
            "EUREKA_INSTANCE_IP_ADDRESS": "${IP}",
            "IP": "::1",
        },
        "::1",
    ),
    ({"SPRING_APPLICATION_NAME": "${my.name}", "SPRING_APPLICATION_JSON": '{"my": {"name": "j"}}'}, "j"),
    ({"SPRING_APPLICATION_NAME": "${my.theName}", "SPRING_APPLICATION_JSON": '{"my.the-name": "j"}'}, "j"),
]


@pytest.mark.parametrize(("environ", "name"), FILLED)
def test_placeholders_are_filled_in_springs_values(environ: dict[str, str], name: str) -> None:
    assert Settings.from_env(environ).spring_application_name == name


def test_random_placeholders_differ() -> None:
    for kind, pattern in {
        "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        "value": r"[0-9a-f]{32}",
        "int": r"\d{1,10}",
        "long": r"\d{1,19}",
    }.items():
        environ = {"EUREKA_INSTANCE_INSTANCE_ID": f"${{random.{kind}}}"}
        one, other = (Settings.from_env(environ).eureka_instance_instanceid for _ in range(2))
        assert one
        assert one != other
        assert re.fullmatch(pattern, one)


def test_a_placeholder_without_a_value_stays_and_is_refused_where_it_can_not_be() -> None:
    (error,) = check({"SERVER_PORT": "${PORT}"})
    assert (error.variable, error.value) == ("SERVER_PORT", "${PORT}")


@pytest.mark.parametrize(
    "environ",
    [
        {"SERVER_PORT": "${server.port}"},
        {"SERVER_PORT": "${A}", "A": "${B}", "B": "${A}"},
        {f"A{at}": f"${{A{at + 1}}}" for at in range(20)} | {"SERVER_PORT": "${A0}"},
        {"SERVER_PORT": "${A}" * 100, "A": "x" * (MAX_VALUE_LENGTH // 50)},
        {"SERVER_PORT": "${A}" * 900, "A": "${B}" * 900, "B": "${C}" * 900, "C": "x" * 900},
    ],
)
def test_placeholders_are_bounded(environ: dict[str, str]) -> None:
    (error,) = SpringEnviron(environ).faults
    assert error.variable == "SERVER_PORT"
    assert len(str(error)) < 500


def test_a_password_with_a_placeholder_that_can_not_be_filled_is_not_shown() -> None:
    (error,) = SpringEnviron({"SPRING_DATA_REDIS_PASSWORD": "hunter2${spring.data.redis.password}"}).faults
    assert "hunter2" not in str(error)


@given(st.dictionaries(st.sampled_from(["SERVER_PORT", "A", "B", "spring.application.name"]), st.text()))
def test_any_environment_is_read_or_refused(environ: dict[str, str]) -> None:
    if not check(environ):
        Settings.from_env(environ)


@pytest.mark.parametrize(
    "environ",
    [
        {"SPRINGDOC_SWAGGERUI_URLS_0_NAME": "A", "SPRINGDOC_SWAGGERUI_URLS_0_URL": "/a"}
        | {"SPRINGDOC_SWAGGERUI_URLS_1_NAME": "B", "SPRINGDOC_SWAGGERUI_URLS_1_URL": "/b"},
        {"SPRINGDOC_SWAGGER_UI_URLS_0_NAME": "A", "SPRINGDOC_SWAGGER_UI_URLS_0_URL": "/a"}
        | {"springdoc_swaggerui_urls_1_name": "B", "springdoc_swaggerui_urls_1_url": "/b"},
        {"springdoc.swagger-ui.urls[0].name": "A", "springdoc.swagger-ui.urls[0].url": "/a"}
        | {"springdoc.swaggerUi.urls[1].name": "B", "springdoc.swaggerUi.urls[1].url": "/b"},
        {
            "SPRING_APPLICATION_JSON": '{"springdoc": {"swagger-ui": {"urls": '
            '[{"name": "A", "url": "/a"}, {"name": "B", "url": "/b"}]}}}'
        },
    ],
)
def test_a_list_of_objects_is_found_in_every_form(environ: dict[str, str]) -> None:
    assert Settings.from_env(environ).api_documents == (("A", "/a"), ("B", "/b"))
