"""What the environment is warned of, and what it is not."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from gateway.settings.model import TABLE, Settings
from gateway.settings.spring.table import NAMES
from gateway.settings.warnings import (
    OLDER_PARTS,
    RecordedEnviron,
    is_public,
    notes_of_names,
    setting_names,
    warnings_of_limits,
    warnings_of_names,
    warnings_of_values,
)

ROOT = Path(__file__).parents[2]


# Of the shell, of Python, of Kubernetes and Docker, of other programs.
OTHERS = """
PATH HOME LANG LC_ALL TERM SHELL PWD USER HOSTNAME SHLVL OLDPWD LOGNAME MAIL TZ DISPLAY SSH_AUTH_SOCK
PYTHONPATH PYTHONUNBUFFERED VIRTUAL_ENV UV_CACHE_DIR PIP_INDEX_URL CI DEBIAN_FRONTEND NODE_OPTIONS HTTP_PROXY
HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy ALL_PROXY PROXY_HOST PROXY_PORT KUBERNETES_SERVICE_HOST
KUBERNETES_PORT_443_TCP_ADDR REDIS_PORT REDIS_SERVICE_HOST REDIS_SERVICE_PORT QUEUE_PORT QUEUE_PORT_80_TCP
QUEUE_PORT_80_TCP_ADDR QUEUE_SERVICE_HOST QUEUE_SERVICE_PORT_HTTP SSE_NAME REDIS_DB REDIS_HOST REDIS_PASSWORD
REDIS_USER SERVER_NAME SERVER_ROOT SERVER_SOFTWARE LOG_DIR LOG_FILE JWT_SECRET JWT_ISSUER_URI JAVA_HOME
JAVA_OPTS JAVA_TOOL_OPTIONS SPRING_CLOUD_CONFIG_NAME EUREKA_CLIENT_ENABLED EUREKA_INSTANCE_INSTANCE_ID
SPRING_MAIN_BANNER_MODE SPRING_DATASOURCE_URL spring.jpa.show-sql EUREKA_SERVICE_HOST SERVER_PORT_80_TCP_ADDR
SERVER_ADDR SERVER_PROTOCOL DATABASE_URL PORT HOST EUREKA_INSTANCE_METADATAMAP_TEAM
"""


EXPIRY = "EUREKA_INSTANCE_LEASEEXPIRATIONDURATIONINSECONDS"
RENEWAL = "EUREKA_INSTANCE_LEASERENEWALINTERVALINSECONDS"
EUREKA = {"EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "http://10.0.0.5:8761/eureka/"}


def of_values(**environ: str) -> list[str]:
    return warnings_of_values(Settings.from_env(environ))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ALLOWED_IN_MAX_CAPACTY", "ALLOWED_IN_MAX_CAPACITY"),
        ("ALLOWED_IN_CAPACITY", "ALLOWED_IN_MAX_CAPACITY"),
        ("allowed_in_max_capacity", "ALLOWED_IN_MAX_CAPACITY"),
        ("ALLOWED-IN-MAX-CAPACITY", "ALLOWED_IN_MAX_CAPACITY"),
        ("QUEUE_ABSENT_SECOND", "QUEUE_ABSENT_SECONDS"),
        ("REQUEST_BODY_RATE", "REQUEST_BODY_MIN_RATE"),
        ("SLOW_UPLOADS_CLIENT", "SLOW_UPLOADS_PER_CLIENT"),
        ("QUEUE_ABSENT", "QUEUE_ABSENT_SECONDS"),
        ("SHUTDOWN_GRACE_MS", "SHUTDOWN_GRACE_SECONDS"),
        ("REDIS_TIMEOUT", "REDIS_TIMEOUT_SECONDS"),
        ("REDIS_URI", "REDIS_URL"),
        ("ROUTE_FILE", "ROUTES_FILE"),
        ("JWT_JWKS_URL", "JWT_JWKS_URI"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("MANAGMENT_TOKEN", "MANAGEMENT_TOKEN"),
        ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
        ("SPRING_DATA_REDIS_PASWORD", "SPRING_DATA_REDIS_PASSWORD"),
        ("SHOP_SERVICE_URL", "SHOP_SERVICE_URLS"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_one_that_is_meant(name: str, meant: str) -> None:
    (warning,) = warnings_of_names({name: "50", "PATH": "/bin"}, {"SHOP_SERVICE_URLS"})
    assert warning.startswith(f"{name} is not ")
    assert "has no effect" in warning
    assert warning.endswith(f"the nearest is {meant}")


def test_an_unknown_name_of_our_own_is_told_even_if_none_is_near() -> None:
    (warning,) = warnings_of_names({"QUEUE_COLOUR": "red"})
    assert (
        warning
        == "QUEUE_COLOUR is not a setting, so it has no effect: docs/reference/settings.md names all there are"
    )


@pytest.mark.parametrize(
    "name",
    [
        *(row.name for row in TABLE),
        *(older for row in TABLE for older in row.older),
        *sorted(OLDER_PARTS),
        "spring.data.redis.host",
        "SPRING_DATA_REDIS_SENTINEL_NODES_0",
        "Spring_Data_Redis_Password",
        "SPRING_REDIS_PASSWORD",
        *(one.variable for one in NAMES.table if not one.family),
        *(one.legacy for one in NAMES.table if not one.family),
        *OTHERS.split(),
    ],
)
def test_other_programs_variables_are_left_alone(name: str) -> None:
    assert warnings_of_names({name: "x"}) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("EUREKA_INSTANCE_PREFER_IPADDRESS", "EUREKA_INSTANCE_PREFERIPADDRESS"),
        ("EUREKA_CLIENT_REGISTER_EUREKA", ""),
        ("EUREKA_CLIENT_SERVCEURL_DEFAULTZONE", "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE"),
        ("SPRING_APLICATION_NAME", "SPRING_APPLICATION_NAME"),
        ("SPRING_DATA_REDIS_PASSWRD", "SPRING_DATA_REDIS_PASSWORD"),
        ("SPRING_DATA_REDIS_COLOUR", ""),
        ("SPRING_CLOUD_CONFIG_URL", "SPRING_CLOUD_CONFIG_URI"),
        ("spring.profile.active", "SPRING_PROFILES_ACTIVE"),
        ("MANAGEMENT_TRACING_SAMPLING_PROBABILTY", "MANAGEMENT_TRACING_SAMPLING_PROBABILITY"),
        ("MANAGEMENT_COLOUR", ""),
        ("SERVER_COLOUR", ""),
        ("LOGGING_COLOUR", ""),
        ("SPRINGDOC_COLOUR", ""),
        ("SPRINGDOC_SWAGGERUI_URLSPRIMARY_NAME", "SPRINGDOC_SWAGGERUI_URLSPRIMARYNAME"),
    ],
)
def test_an_unknown_name_of_springs_is_told_with_the_nearest(name: str, meant: str) -> None:
    for environ, shown in (
        ({name: "x"}, name),
        ({"SPRING_APPLICATION_JSON": json.dumps({name: "x"})}, f"{name} in SPRING_APPLICATION_JSON"),
    ):
        (warning,) = warnings_of_names(environ)
        assert warning.startswith(f"{shown} is not a setting, so it has no effect: ")
        assert warning.endswith(meant or "docs/reference/spring-names.md names all there are")
        assert notes_of_names(environ) == []


_SEOUL = {"EUREKA_CLIENT_REGION": "seoul", "EUREKA_CLIENT_AVAILABILITY_ZONES_SEOUL": "zone-a, b"}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        # Often seen, and not the default zone in Spring either.
        ({"EUREKA_CLIENT_SERVICEURL_DEFAULT_ZONE": "http://e/"}, "EUREKA_CLIENT_SERVICEURL_DEFAULT_ZONE has servers"),
        ({"EUREKA_CLIENT_SERVICE_URL_DEFAULT_ZONE": "http://e/"}, "EUREKA_CLIENT_SERVICE_URL_DEFAULT_ZONE has servers"),
        ({"EUREKA_CLIENT_SERVICEURL_DEFAULTZONE_0": "http://e/"}, "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE_0 has servers"),
        ({"EUREKA_CLIENT_SERVICEURL_SEOULA": "http://e/"}, "EUREKA_CLIENT_SERVICEURL_SEOULA has servers"),
        ({"eureka.client.service-url.b": "http://e/"}, "eureka.client.service-url.b has servers"),
        ({"SPRING_APPLICATION_JSON": '{"eureka.client.service-url.b": "http://e/"}'}, "eureka.client.service-url.b "),
        (_SEOUL | {"EUREKA_CLIENT_SERVICEURL_C": "http://e/"}, "EUREKA_CLIENT_SERVICEURL_C has servers"),
        ({"EUREKA_CLIENT_AVAILABILITYZONES_SEOUL": "b"}, "EUREKA_CLIENT_AVAILABILITYZONES_SEOUL has zones"),
        (_SEOUL | {"EUREKA_CLIENT_REGION": ""}, "EUREKA_CLIENT_AVAILABILITY_ZONES_SEOUL has zones"),
    ],
)  # fmt: skip
def test_servers_and_zones_that_nothing_reads_are_told(environ: dict[str, str], said: str) -> None:
    (warning,) = warnings_of_names(environ)
    assert warning.startswith(said)
    assert "so it has no effect: " in warning
    assert "http" not in warning


@pytest.mark.parametrize(
    "environ",
    [
        {"EUREKA_CLIENT_SERVICEURL_DEFAULT_ZONE": " "},
        {"EUREKA_CLIENT_SERVICE_URL_DEFAULTZONE": "http://e/"},
        {"eureka.client.serviceUrl.defaultZone": "http://e/"},
        {"EUREKA_CLIENT_SERVICEURL_B": "http://e/", "EUREKA_CLIENT_AVAILABILITYZONES": "a,b"},
        {"EUREKA_CLIENT_AVAILABILITYZONES_US_EAST_1": "b", "EUREKA_CLIENT_AVAILABILITYZONES_USEAST1": "b"},
        _SEOUL | {"EUREKA_CLIENT_SERVICEURL_ZONEA": "http://e/", "EUREKA_CLIENT_SERVICE_URL_B": "http://e/"},
        _SEOUL | {"EUREKA_CLIENT_SERVICE_URL_ZONE_A": "http://e/"},
        # One environment for gateways in two regions.
        _SEOUL | {"EUREKA_CLIENT_AVAILABILITYZONES_BUSAN": "c", "EUREKA_CLIENT_SERVICEURL_C": "http://e/"},
    ],
)
def test_servers_and_zones_that_are_read_or_another_regions_are_not_told(environ: dict[str, str]) -> None:
    assert warnings_of_names(environ) == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["SERVER_SSL_KEY_STORE"],
            "TLS is that of SERVER_SSL_CERTIFICATE",
        ),
        (
            ["SERVER_SSL_ENABLED", "server.ssl.key-store"],
            "SERVER_SSL_ENABLED and server.ssl.key-store are settings",
        ),
        (["MANAGEMENT_ENDPOINTS_WEB_EXPOSURE_INCLUDE"], "MANAGEMENT_READS"),
        (["MANAGEMENT_SERVER_ADDRESS"], "/actuator is on SERVER_HOST"),
        (["SERVER_SERVLET_CONTEXT_PATH"], "a proxy in front can strip one"),
        (["SPRING_CLOUD_GATEWAY_ROUTES_0_URI"], "routes.yaml"),
        (["spring.cloud.gateway.server.webflux.routes[0].id"], "routes.yaml"),
        (["SPRING_SECURITY_USER_NAME"], "users come with tokens"),
        (["SPRING_CONFIG_ADDITIONAL_LOCATION"], "ROUTES_FILE"),
        (["EUREKA_CLIENT_PROXYHOST"], "the way to Eureka is direct"),
        (["SPRINGDOC_SWAGGER_UI_ENABLED", "springdoc.swagger-ui.path"], "Swagger UI is at /swagger-ui.html"),
        (["SPRINGDOC_APIDOCS_ENABLED"], "a proxy in front can close it"),
        # Of Spring Boot 2.
        (["SPRING_ZIPKIN_BASE_URL"], "ZIPKIN_ENDPOINT says where"),
        (
            ["SPRING_SLEUTH_SAMPLER_PROBABILITY", "spring.zipkin.enabled"],
            "TRACING_SAMPLING_PROBABILITY how many",
        ),
        (["LOGGING_PATH"], "the log goes to standard output"),
        (["SPRING_CLOUD_INETUTILS_PREFERRED_NETWORKS"], "EUREKA_INSTANCE_IPADDRESS"),
        (["SPRING_CLOUD_CONSUL_HOST", "SPRING_CLOUD_KUBERNETES_DISCOVERY_ENABLED"], "come from Eureka"),
        (["SPRING_CLOUD_VAULT_URI"], "from a Config Server alone"),
        (["MANAGEMENT_HEALTH_REDIS_ENABLED"], "none can be left out"),
    ],
)
def test_what_would_change_something_in_spring_is_told_once_with_what_is_so_instead(
    names: list[str], said: str
) -> None:
    (warning,) = warnings_of_names(dict.fromkeys(names, "x"))
    assert said in warning
    assert notes_of_names(dict.fromkeys(names, "x")) == []


def test_what_is_of_no_concern_is_told_in_one_line_that_is_no_warning() -> None:
    environ = {f"SPRING_DATASOURCE_HIKARI_A{at}": "hunter2" for at in range(20)} | {
        "SPRING_JPA_SHOW_SQL": "x"
    }
    assert warnings_of_names(environ) == []
    (note,) = notes_of_names(environ)
    assert note.startswith("of Spring's, and of no concern to this gateway: SPRING_DATASOURCE_HIKARI_A0, ")
    assert note.endswith(", 13 more")
    assert "hunter2" not in note
    assert notes_of_names({"SPRING_JPA_SHOW_SQL": "x"}, {"SPRING_JPA_SHOW_SQL"}) == []


def test_what_orders_or_groups_descriptions_is_of_no_concern() -> None:
    environ = {"SPRINGDOC_SWAGGER_UI_OPERATIONS_SORTER": "alpha", "SPRINGDOC_SHOW_ACTUATOR": "true"}
    assert warnings_of_names(environ) == []
    (note,) = notes_of_names(environ)
    assert all(name in note for name in environ)


def test_what_switches_on_the_probes_that_there_are_is_of_no_concern() -> None:
    environ = {"MANAGEMENT_HEALTH_PROBES_ENABLED": "true", "MANAGEMENT_HEALTH_LIVENESSSTATE_ENABLED": "true"}
    assert warnings_of_names(environ) == []
    (note,) = notes_of_names(environ)
    assert all(name in note for name in environ)


def test_options_of_java_are_told_without_their_values() -> None:
    environ = {
        "JAVA_TOOL_OPTIONS": "-Xmx512m -Dserver.port=1 -Dspring.data.redis.password=hunter2 -Dfile.encoding=UTF-8",
        "JAVA_OPTS": "-Xms256m",
    }
    assert warnings_of_names(environ) == [
        "JAVA_TOOL_OPTIONS sets server.port, spring.data.redis.password, which is not read: set variables of these "
        "names"
    ]


def test_forms_that_contradict_each_other_are_told_without_their_values() -> None:
    environ = {
        "EUREKA_CLIENT_SERVICE_URL_DEFAULTZONE": "http://me:hunter2@a/",
        "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "http://b/",
    }
    assert warnings_of_names(environ) == [
        "EUREKA_CLIENT_SERVICE_URL_DEFAULTZONE is passed over, since EUREKA_CLIENT_SERVICEURL_DEFAULTZONE is the same "
        "property with another value: remove one of the two"
    ]


def test_at_most_twenty_lines_are_told() -> None:
    warnings = warnings_of_names({f"SPRING_COLOUR{at}": "x" for at in range(100)})
    assert len(warnings) == 20
    assert warnings[-1] == "81 more variables are not understood: see docs/reference/spring-names.md"


@pytest.mark.parametrize(
    "environ",
    [
        {"EUREKA_PORT": "tcp://10.0.0.1:8761", "EUREKA_SERVICE_PORT": "8761"},
        {"SPRING_ADMIN_PORT_8080_TCP_ADDR": "10.0.0.1", "SERVER_NAME": "shop"},
        {"EUREKA_1_NAME": "/shop/eureka"},
    ],
)
def test_what_kubernetes_docker_and_web_servers_set_is_left_alone(environ: dict[str, str]) -> None:
    assert warnings_of_names(environ) == []


def test_a_name_beside_the_right_one_is_another_programs_unless_it_can_only_be_ours() -> None:
    assert warnings_of_names({"REDIS_URI": "a", "REDIS_URL": "b"}) == []
    assert len(warnings_of_names({"ALLOWED_IN_MAX_CAPACTY": "50", "ALLOWED_IN_MAX_CAPACITY": "100"})) == 1


def test_all_names_that_settings_are_read_from_are_known() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "gateway" / "settings").glob("*.py"))
    read = set(re.findall(r"environ\.get\(\s*\"([A-Z0-9_]+)\"", text))
    parts = set(re.findall(r"(?:parts|self)(?:\.nodes\(|\[)\"([A-Z_]+)\"", text))
    assert read
    assert parts
    assert read | {f"SPRING_DATA_REDIS_{part}" for part in parts} <= setting_names()


def test_thousands_of_variables_are_looked_through_in_no_time() -> None:
    environ = {f"SERVICE_{at}_QUEUE_MAX_CAPACITY_{at * 7919}": "x" for at in range(5000)}
    assert warnings_of_names(environ) == []


def test_an_environment_remembers_what_it_was_asked_for() -> None:
    asked = RecordedEnviron({"A": "1"})
    assert (asked.get("A"), asked.get("B"), "C" in asked, dict(asked), len(asked)) == (
        "1",
        None,
        False,
        {"A": "1"},
        1,
    )
    assert asked.names_read == {"A", "B", "C"}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"MANAGEMENT_TOKEN": "hunter2"}, "MANAGEMENT_TOKEN has 7 characters"),
        (
            {"JWT_COOKIE_NAME": "visitor"},
            "JWT_COOKIE_NAME is visitor, the name of a cookie that the gateway itself",
        ),
        ({"JWT_COOKIE_NAME": "queue-pass"}, "JWT_COOKIE_NAME is queue-pass"),
        ({"JWT_COOKIE_NAME": "queue-pass-vip"}, "JWT_COOKIE_NAME is queue-pass-vip"),
        ({"JWT_COOKIE_NAME": "queue-language"}, "JWT_COOKIE_NAME is queue-language"),
        ({"JWT_COOKIE_NAME": "__Host-desk"}, "JWT_COOKIE_NAME is __Host-desk"),
        ({"IDENTITY_HMAC_SECRET": "hunter2"}, "IDENTITY_HMAC_SECRET has 7 characters"),
        ({"CONFIG_SERVER_WEBHOOK_SECRET": "hunter2"}, "CONFIG_SERVER_WEBHOOK_SECRET has 7 characters"),
        ({"MANAGEMENT_READS": "token"}, "set MANAGEMENT_TOKEN"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8, 0.0.0.0/0"}, "TRUSTED_PROXIES has 0.0.0.0/0"),
        ({"TRUSTED_PROXIES": "::/0"}, "TRUSTED_PROXIES has ::/0"),
        ({"TRUSTED_PROXIES": "128.0.0.0/1"}, "TRUSTED_PROXIES has 128.0.0.0/1"),
        (
            {"JWT_JWKS_URI": "http://auth.example.com/keys"},
            "JWT_JWKS_URI asks auth.example.com over plain http",
        ),
        ({"JWT_JWKS_URI": "http://8.8.8.8/keys"}, "JWT_JWKS_URI asks 8.8.8.8 over plain http"),
        ({"JWT_ISSUER": "http://auth.example.com/shop"}, "JWT_ISSUER asks auth.example.com over plain http"),
        ({"JWT_ISSUER": "HTTP://me:hunter2@auth.example.com"}, "JWT_ISSUER asks auth.example.com over plain"),
        (
            {"CONFIG_SERVER_URL": "http://u:hunter2@conf.example.com"},
            "CONFIG_SERVER_URL asks conf.example.com",
        ),
        ({"SPRING_CONFIG_IMPORT": "configserver:http://conf.example.com"}, "SPRING_CONFIG_IMPORT asks"),
        (
            {"REDIS_URL": "redis://:hunter2@cache.example.com:6379"},
            "REDIS_URL reaches cache.example.com without TLS",
        ),
        (
            {"REDIS_URL": "redis+cluster://:hunter2@10.0.0.5,cache.example.com:6379,cache.example.com:6380"},
            "REDIS_URL reaches cache.example.com without TLS, so anyone on the way there reads and changes the line: "
            "use rediss+cluster://",
        ),
        (
            {"REDIS_URL": "redis+sentinel://:hunter2@8.8.8.8:26379,10.0.0.5/main?sentinel_password=hunter2"},
            "use rediss+sentinel:// or",
        ),
        (
            {"WEBSOCKET_IDLE_SECONDS": "300000"},
            "WEBSOCKET_IDLE_SECONDS is 300000 s (3 days): it is in seconds",
        ),
        ({"CONFIG_SERVER_REFRESH_SECONDS": "30000"}, "(8 hours): it is in seconds"),
        ({"STREAM_TOKEN_GRACE_SECONDS": "3600000"}, "(42 days): it is in seconds"),
        ({"EUREKA_CLIENT_REGISTRYFETCHINTERVALSECONDS": "10000"}, "(3 hours): it is in seconds"),
        ({"OVERLOAD_LAG_MS": "0.2"}, "OVERLOAD_LAG_MS is 0.2 ms"),
        ({"ALLOWED_IN_DURATION_SECONDS": "240000"}, "ALLOWED_IN_DURATION_SECONDS is 240000 s (3 days)"),
        ({"REDIS_TIMEOUT_SECONDS": "1000"}, "REDIS_TIMEOUT_SECONDS is 1000 s (17 minutes)"),
        ({"PROXY_RESPONSE_TIMEOUT_SECONDS": "30000"}, "it is in seconds"),
        ({"PROXY_KEEP_ALIVE_SECONDS": "4000"}, "it is in seconds"),
        ({"REQUEST_HEAD_TIMEOUT_SECONDS": "10000"}, "it is in seconds"),
        ({"REQUEST_BODY_TIMEOUT_SECONDS": "30000"}, "it is in seconds"),
        ({"RESPONSE_WRITE_TIMEOUT_SECONDS": "60000"}, "it is in seconds"),
        ({"KEEP_ALIVE_TIMEOUT_SECONDS": "75000"}, "it is in seconds"),
        ({"QUEUE_ABSENT_SECONDS": "10"}, "not above QUEUE_STATUS_INTERVAL_SECONDS"),
        ({"QUEUE_FOLLOW_SECONDS": "29"}, "shows itself every 10 s only"),
        ({"QUEUE_FOLLOW_SECONDS": "60000"}, "it is in seconds"),
        ({"QUEUE_FOLLOW": "on", "REDIS_KEY_PREFIX": "shop:"}, "so none is followed"),
        ({"QUEUE_MAX_ROOMS": "50"}, "QUEUE_ROOMS_PER_CLIENT is 50, and QUEUE_MAX_ROOMS is 50"),
        (EUREKA | {EXPIRY: "30"}, f"{EXPIRY} (30) is not above {RENEWAL} (30), so Eureka"),
        (EUREKA | {EXPIRY: "10", RENEWAL: "11"}, "make it three times the interval"),
        (
            EUREKA | {"eureka.instance.lease-expiration-duration-in-seconds": "5"},
            f"{EXPIRY} (5) is not above",
        ),
    ],
)
def test_a_value_that_is_hardly_meant_is_told_without_secrets(environ: dict[str, str], said: str) -> None:
    (warning,) = of_values(**environ)
    assert said in warning
    assert "hunter2" not in warning
    assert "\n" not in warning


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"MANAGEMENT_TOKEN": "0123456789abcdef", "MANAGEMENT_READS": "token"},
        {"CONFIG_SERVER_PASSWORD": "short"},  # the server's choice
        {"TRUSTED_PROXIES": "10.0.0.0/8, 192.168.0.0/16, fc00::/7, 172.16.0.0/12, 203.0.113.0/24, 127.0.0.1"},
        {"JWT_JWKS_URI": "https://auth.example.com/keys"},
        {"JWT_JWKS_URI": "http://auth.internal:8090/.well-known/jwks.json"},
        {"JWT_JWKS_URI": "http://auth.shop.svc.cluster.local/keys"},
        {"JWT_JWKS_URI": "http://auth.production/keys"},
        {"JWT_JWKS_URI": "http://10.0.0.5/keys", "CONFIG_SERVER_URL": "http://conf:8888"},
        {"REDIS_URL": "rediss://cache.example.com"},
        {"REDIS_URL": "redis://10.0.0.5"},
        {"REDIS_URL": "unix:///run/redis.sock"},
        {"REDIS_URL": "redis+sentinel://a:26379,b:26379/main"},
        {"QUEUE_ABSENT_SECONDS": "0"},
        {"QUEUE_MAX_ROOMS": "51"},
        {"QUEUE_MAX_ROOMS": "20", "QUEUE_ROOMS_PER_CLIENT": "0"},
        {"QUEUE_FOLLOW_SECONDS": "1", "QUEUE_FOLLOW": "off"},
        {"QUEUE_FOLLOW": "auto", "REDIS_KEY_PREFIX": "shop:"},
        {"KEEP_ALIVE_TIMEOUT_SECONDS": "4000", "PROXY_RESPONSE_TIMEOUT_SECONDS": "3600"},
        {"QUEUE_ABSENT_SECONDS": "60", "QUEUE_STATUS_INTERVAL_SECONDS": "10"},
        {"STREAM_TOKEN_GRACE_SECONDS": "604800"},
        {"REDIS_URL": "rediss+cluster://cache.example.com"},
        {"REDIS_URL": "redis+cluster://cache,10.0.0.5"},
        {"CONFIG_SERVER_REFRESH_SECONDS": "3600", "OVERLOAD_LAG_MS": "50", "WEBSOCKET_IDLE_SECONDS": "3600"},
        {"CONFIG_SERVER_REFRESH_SECONDS": "0", "OVERLOAD_LAG_MS": "0", "WEBSOCKET_IDLE_SECONDS": "0"},
        EUREKA,
        EUREKA | {EXPIRY: "31"},
        EUREKA | {RENEWAL: "90"},
        EUREKA | {EXPIRY: "5", "EUREKA_REGISTER": "false"},
        EUREKA | {EXPIRY: "5", "EUREKA_CLIENT_ENABLED": "false"},
        {EXPIRY: "5", "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": ""},
    ],
)
def test_a_value_that_may_be_meant_is_not_told(environ: dict[str, str]) -> None:
    assert of_values(**environ) == []


def test_each_time_in_seconds_is_told_where_its_default_was_written_in_milliseconds() -> None:
    times = [row for row in TABLE if "number of seconds" in row.allowed and 0 < row.default < math.inf]
    assert len(times) >= 17
    for row in times:
        found = of_values(**{row.name: f"{row.default * 1000:.0f}"})
        assert any(f"{row.name} is" in each and "it is in seconds" in each for each in found), row.name


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1", True),
        ("auth.example.com", True),
        ("10.1.2.3", False),
        ("::1", False),
        ("localhost", False),
        ("auth", False),
        ("auth.svc.cluster.local", False),
        ("a.b.c.internal", False),
        ("", False),
    ],
)
def test_a_host_is_public_as_far_as_its_name_tells(host: str, public: bool) -> None:
    assert is_public(host) is public


def test_more_connections_than_descriptors_are_told() -> None:
    settings = Settings.from_env({"SSE_MAX_STREAMS": "9000", "WEBSOCKET_MAX": "600"})
    (warning,) = warnings_of_limits(settings, 10_000)
    assert warning.startswith("SSE_MAX_STREAMS and WEBSOCKET_MAX would need 10200 file descriptors")
    assert warnings_of_limits(settings, 20_000) == []
    assert warnings_of_limits(Settings.from_env({}), 100) == []
    assert warnings_of_limits(Settings.from_env({"SSE_MAX_STREAMS": "0"}), 100) == []
