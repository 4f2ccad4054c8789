"""Settings: defaults, what is refused and how, older names, secrets, and the docs beside the table."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import SettingsError
from gateway.settings.model import TABLE, Settings, check
from gateway.settings.types import ConfigImport

ROOT = Path(__file__).parents[2]
NAMES = [row.name for row in TABLE]

# The contract's section 9, row by row.
CONTRACT_DEFAULTS: dict[str, Any] = {
    "server_port": 8080,
    "redis_url": "redis://localhost:6379/0",
    "allowed_in_max_capacity": 100,
    "allowed_in_duration_seconds": 240.0,
    "jwt_jwks_uri": None,
    "eureka_client_serviceurl_defaultzone": ("http://localhost:8761/eureka/",),
    "zipkin_endpoint": "http://localhost:9411/api/v2/spans",
    "routes_file": None,
    "management_server_port": None,
    "management_token": None,
    "management_reads": "open",
    "redis_key_prefix": "",
    "redis_timeout_seconds": 1.0,
    "queue_relineup": "back",
    "queue_lineup": "explicit",
    "queue_absent_seconds": 60.0,
    "queue_hold_seconds": 1800.0,
    "queue_max_session_seconds": 0.0,
    "queue_claim_seconds": 0.0,
    "queue_history_seconds": 3600.0,
    "queue_rate": "off",
    "queue_max_waiting": 0,
    "queue_lineups_per_minute": 0,
    "queue_mode": "on",
    "queue_status_interval_seconds": 10.0,
    "queue_fail_open": False,
    "sse_heartbeat_seconds": 30.0,
    "stream_token_grace_seconds": 3600.0,
    "overload_lag_ms": 200,
    "jwt_issuer": None,
    "jwt_audience": None,
    "jwt_algorithms": ("RS256",),
    "jwt_user_type_claim": "userType",
    "trusted_proxies": (),
    "default_locale": "ko",
    "forced_locale": None,
    "spring_application_name": "gateway-server",
}


def test_an_empty_environment_gives_the_defaults_of_the_contract() -> None:
    settings = Settings.from_env({})
    assert {name: getattr(settings, name) for name in CONTRACT_DEFAULTS} == CONTRACT_DEFAULTS
    assert settings.spring_environment, "in a checkout the shipped routes are in use"
    assert Settings.from_env({"GATEWAY_PROFILE": "plain"}) == Settings(gateway_profile="plain")


@pytest.mark.parametrize("row", TABLE, ids=NAMES)
def test_every_default_is_a_value_the_setting_itself_allows(row: Any) -> None:
    if row.default_words is None and row.default_text:
        assert row.read({row.name: row.default_text}) == row.default


READINGS: list[tuple[str, str, Any]] = [
    ("SERVER_PORT", "0", 0),
    ("SERVER_PORT", " 65535 ", 65535),
    ("SERVER_HOST", "::", "::"),
    ("SERVER_HOST", "gateway.internal", "gateway.internal"),
    ("ALLOWED_IN_MAX_CAPACITY", "0", 0),
    ("ALLOWED_IN_DURATION_SECONDS", "0.25", 0.25),
    ("ALLOWED_IN_DURATION_SECONDS", ".5", 0.5),
    ("QUEUE_ABSENT_SECONDS", "0", 0.0),
    ("OVERLOAD_LAG_MS", "12.5", 12.5),
    ("QUEUE_RELINEUP", "KEEP", "keep"),
    ("QUEUE_LINEUP", "Implicit", "implicit"),
    ("QUEUE_MODE", "Observe", "observe"),
    ("QUEUE_MODE", "true", "on"),
    ("QUEUE_MODE", "no", "off"),
    ("QUEUE_LINEUPS_PER_MINUTE", "1000", 1000),
    ("QUEUE_FAIL_OPEN", "yes", True),
    ("QUEUE_FAIL_OPEN", "1", True),
    ("ACCESS_LOG", "No", False),
    ("ACCESS_LOG", "0", False),
    ("TRUSTED_PROXIES", "10.0.0.0/8, ::1", (ip_network("10.0.0.0/8"), ip_network("::1/128"))),
    ("JWT_ALGORITHMS", "ES256, RS256,ES256", ("ES256", "RS256")),
    ("JWT_COOKIE_NAME", "access_token", "access_token"),
    ("JWT_COOKIE_NAME", "", None),
    ("DEFAULT_LOCALE", "EN", "en"),
    ("FORCED_LOCALE", "KO", "ko"),
    ("GATEWAY_PROFILE", "Plain", "plain"),
    ("SERVER_FORWARD_HEADERS_STRATEGY", "NATIVE", "native"),
    ("LOG_LEVEL", "debug", "DEBUG"),
    ("LOG_FORMAT", "JSON", "json"),
    ("REDIS_URL", "embedded", "embedded"),
    ("REDIS_URL", "unix:///run/redis.sock", "unix:///run/redis.sock"),
    ("REDIS_URL", "rediss://u:p@h:6380/2", "rediss://u:p@h:6380/2"),
    ("REDIS_URL", "redis://h?protocol=3", "redis://h?protocol=3"),
    ("REDIS_URL", "", "redis://localhost:6379/0"),
    ("EUREKA_CLIENT_SERVICEURL_DEFAULTZONE", "", ()),
    ("EUREKA_CLIENT_SERVICEURL_DEFAULTZONE", "http://a/eureka,http://b/", ("http://a/eureka", "http://b/")),
    ("EUREKA_CLIENT_AVAILABILITYZONES", "seoul-a, seoul-b,seoul-a", ("seoul-a", "seoul-b")),
    ("EUREKA_CLIENT_REGISTRYFETCHINTERVALSECONDS", "0.5", 0.5),
    ("EUREKA_INSTANCE_METADATAMAP", "team=tickets, a=b=c,x=", (("team", "tickets"), ("a", "b=c"), ("x", ""))),
    ("ZIPKIN_ENDPOINT", "  ", None),
    ("TRACING_SAMPLING_PROBABILITY", "0", 0.0),
    ("TRACING_SAMPLING_PROBABILITY", "1.0", 1.0),
    ("TRACING_SAMPLING_PROBABILITY", ".25", 0.25),
    ("SERVER_PORT", "", 8080),
    ("MANAGEMENT_SERVER_PORT", "9090", 9090),
    ("MANAGEMENT_SERVER_PORT", "8080", None),
    ("SSE_MAX_STREAMS", "0", 0),
    ("IDENTITY_HMAC_SECRET", " with blanks ", " with blanks "),
    ("SPRING_PROFILES_ACTIVE", "prod, seoul", ("prod", "seoul")),
    ("ROUTES_FILE", "/etc/gateway/routes.yaml", Path("/etc/gateway/routes.yaml")),
    ("SPRING_CONFIG_IMPORT", "", None),
    ("SPRING_CONFIG_IMPORT", "configserver:", ConfigImport(False, ())),
    ("SPRING_CONFIG_IMPORT", "optional:configserver:http://a", ConfigImport(True, ("http://a",))),
    (
        "SPRING_CONFIG_IMPORT",
        "configserver:http://a,https://b/c",
        ConfigImport(False, ("http://a", "https://b/c")),
    ),
    (
        "SPRING_CONFIG_IMPORT",
        "optional:configserver:http://a?fail-fast=true&max-attempts=9,http://b?fail-fast=false",
        ConfigImport(True, ("http://a?fail-fast=true&max-attempts=9", "http://b?fail-fast=false"), True),
    ),
    (
        "SPRING_CONFIG_IMPORT",
        "optional:configserver:http://a?max-interval=5&fail-fast=no",
        ConfigImport(True, ("http://a?max-interval=5&fail-fast=no",), False),
    ),
    (
        "SPRING_CONFIG_IMPORT",
        "optional:configserver:http://a,http://b?fail-fast=true",
        ConfigImport(True, ("http://a", "http://b?fail-fast=true")),
    ),
    ("CONFIG_SERVER_URL", "http://a:8888", ("http://a:8888",)),
    ("CONFIG_SERVER_REFRESH_SECONDS", "0", 0.0),
]


@pytest.mark.parametrize(("name", "text", "value"), READINGS)
def test_a_value_that_is_allowed_is_read(name: str, text: str, value: Any) -> None:
    read = getattr(Settings.from_env({name: text}), name.lower())
    assert (read, type(read)) == (value, type(value))


REFUSALS: list[tuple[str, str]] = [
    ("SPRING_CONFIG_IMPORT", "configserver"),
    ("SPRING_CONFIG_IMPORT", "http://a"),
    ("SPRING_CONFIG_IMPORT", "optional:file:x.yaml"),
    ("SPRING_CONFIG_IMPORT", "configserver:ftp://a"),
    ("SPRING_CONFIG_IMPORT", "optional:optional:configserver:"),
    ("CONFIG_SERVER_URL", "localhost:8888"),
    ("CONFIG_SERVER_REFRESH_SECONDS", "-1"),
    ("SERVER_PORT", "65536"),
    ("SERVER_PORT", "-1"),
    ("SERVER_PORT", "80_80"),
    ("SERVER_PORT", "٨٠"),
    ("SERVER_HOST", "a b"),
    ("SERVER_HOST", "host:80"),
    ("ALLOWED_IN_MAX_CAPACITY", "-1"),
    ("ALLOWED_IN_MAX_CAPACITY", "1.5"),
    ("ALLOWED_IN_MAX_CAPACITY", "1e3"),
    ("ALLOWED_IN_DURATION_SECONDS", "0"),
    ("ALLOWED_IN_DURATION_SECONDS", "nan"),
    ("ALLOWED_IN_DURATION_SECONDS", "inf"),
    ("ALLOWED_IN_DURATION_SECONDS", "4m"),
    ("ALLOWED_IN_DURATION_SECONDS", "999999999999"),
    ("REDIS_TIMEOUT_SECONDS", "0.0"),
    ("QUEUE_ABSENT_SECONDS", "-1"),
    ("QUEUE_RELINEUP", "front"),
    ("QUEUE_LINEUP", "silent"),
    ("QUEUE_MODE", "1"),
    ("QUEUE_LINEUPS_PER_MINUTE", "1001"),
    ("QUEUE_MAX_WAITING", "-1"),
    ("QUEUE_FAIL_OPEN", "maybe"),
    ("SSE_MAX_STREAMS_PER_USER", "0"),
    ("TRUSTED_PROXIES", "10.0.0.1/8"),
    ("TRUSTED_PROXIES", "proxy.internal"),
    ("JWT_ALGORITHMS", "HS256"),
    ("JWT_ALGORITHMS", "none"),
    ("JWT_ALGORITHMS", ","),
    ("JWT_COOKIE_NAME", "a;b"),
    ("JWT_JWKS_URI", "file:///etc/jwks.json"),
    ("JWT_JWKS_URI", "http://"),
    ("JWT_JWKS_URI", "http://host:port/"),
    ("JWT_JWKS_URI", "http://a..b/"),
    ("CONFIG_SERVER_URL", "http://good,http://a..b"),
    ("EUREKA_CLIENT_SERVICEURL_DEFAULTZONE", f"http://{'x' * 64}/eureka/"),
    ("SERVER_HOST", "a..b"),
    ("DEFAULT_LOCALE", "fi"),
    ("FORCED_LOCALE", "fi"),
    ("GATEWAY_PROFILE", "prod"),
    ("SERVER_FORWARD_HEADERS_STRATEGY", "true"),
    ("LOG_FORMAT", "xml"),
    ("LOG_LEVEL", "LOUD"),
    ("MANAGEMENT_READS", "closed"),
    ("EUREKA_CLIENT_AVAILABILITYZONES", "a b"),
    ("EUREKA_INSTANCE_METADATAMAP", "team: tickets"),
    ("EUREKA_INSTANCE_METADATAMAP", "=tickets"),
    ("EUREKA_INSTANCE_LEASERENEWALINTERVALINSECONDS", "0"),
    ("EUREKA_REGISTER", "on"),
    ("EUREKA_CLIENT_SERVICEURL_DEFAULTZONE", "localhost:8761"),
    ("ZIPKIN_ENDPOINT", "off"),
    ("TRACING_SAMPLING_PROBABILITY", "1.01"),
    ("TRACING_SAMPLING_PROBABILITY", "-0.1"),
    ("TRACING_SAMPLING_PROBABILITY", "10%"),
    ("TRACING_SAMPLING_PROBABILITY", "nan"),
]


@pytest.mark.parametrize(("name", "text"), REFUSALS)
def test_a_value_that_is_not_allowed_is_refused_in_one_line_with_name_value_and_what_is_allowed(
    name: str, text: str
) -> None:
    (error,) = check({name: text})
    allowed = next(row.allowed for row in TABLE if row.name == name)
    assert str(error) == f"{name}={text!r}: allowed is {allowed}"
    with pytest.raises(SettingsError, match=name):
        Settings.from_env({name: text})


def test_all_faults_are_reported_at_once_in_the_order_of_the_table() -> None:
    faults = check(dict(REFUSALS))
    assert [fault.variable for fault in faults] == [name for name in NAMES if name in dict(REFUSALS)]


def test_a_long_value_is_shortened_in_the_error() -> None:
    (error,) = check({"LOG_LEVEL": "x" * 5000})
    assert len(str(error)) < 400


REDIS_ADDRESSES: list[tuple[dict[str, str], str]] = [
    ({"SPRING_DATA_REDIS_URL": "redis://old:1"}, "redis://old:1"),
    ({"SPRING_DATA_REDIS_URL": "redis://old:1", "REDIS_IP": "h"}, "redis://old:1"),
    ({"REDIS_URL": "redis://new", "SPRING_DATA_REDIS_URL": "redis://old:1", "REDIS_PW": "x"}, "redis://new"),
    ({"REDIS_IP": "10.0.0.5"}, "redis://10.0.0.5:6379/0"),
    ({"REDIS_IP": "10.0.0.5", "SPRING_DATA_REDIS_HOST": "h"}, "redis://h:6379/0"),
    ({"REDIS_IP": "::1"}, "redis://[::1]:6379/0"),
    ({"SPRING_DATA_REDIS_PORT": "6380"}, "redis://localhost:6380/0"),
    ({"REDIS_PW": "a/b@c:d?"}, "redis://:a%2Fb%40c%3Ad%3F@localhost:6379/0"),
    ({"REDIS_PW": "old", "SPRING_DATA_REDIS_PASSWORD": "new"}, "redis://:new@localhost:6379/0"),
    ({"REDIS_IP": "", "REDIS_PW": ""}, "redis://localhost:6379/0"),
    (
        {"SPRING_DATA_REDIS_SENTINEL_MASTER": "tickets", "SPRING_DATA_REDIS_SENTINEL_NODES": "a:1, b:2"},
        "redis+sentinel://a:1,b:2/tickets",
    ),
    (
        {
            "SPRING_DATA_REDIS_SENTINEL_MASTER": "tickets",
            "SPRING_DATA_REDIS_SENTINEL_NODES": "a:1",
            "SPRING_DATA_REDIS_SENTINEL_PASSWORD": "s/s",
            "SPRING_DATA_REDIS_CLUSTER_NODES": "c:1",
            "REDIS_PW": "p@p",
        },
        "redis+sentinel://:p%40p@a:1/tickets?sentinel_password=s%2Fs",
    ),
    (
        {"SPRING_DATA_REDIS_CLUSTER_NODES": "a:1,b:2", "REDIS_PW": "pw", "REDIS_IP": "h"},
        "redis+cluster://:pw@a:1,b:2",
    ),
]


@pytest.mark.parametrize(("environ", "url"), REDIS_ADDRESSES)
def test_the_older_systems_names_for_redis_work_and_the_contracts_own_wins(
    environ: dict[str, str], url: str
) -> None:
    assert check(environ) == []
    assert Settings.from_env(environ).redis_url == url


def test_the_older_name_of_the_key_set_works_and_the_contracts_own_wins() -> None:
    older = {"SPRING_SECURITY_OAUTH2_RESOURCESERVER_JWT_JWK_SET_URI": "http://old/keys"}
    assert Settings.from_env(older).jwt_jwks_uri == "http://old/keys"
    assert Settings.from_env(older | {"JWT_JWKS_URI": "http://new/keys"}).jwt_jwks_uri == "http://new/keys"


def test_the_older_names_of_what_tokens_are_checked_by_work_and_the_contracts_own_win() -> None:
    spring = "SPRING_SECURITY_OAUTH2_RESOURCESERVER_JWT_"
    older = {
        f"{spring}ISSUER_URI": "https://old.example",
        f"{spring}AUDIENCES": "web, app",
        f"{spring}JWS_ALGORITHMS": "PS256,EdDSA",
    }
    settings = Settings.from_env(older)
    assert settings.jwt_issuer == "https://old.example"
    assert settings.jwt_audience == ("web", "app")
    assert settings.jwt_algorithms == ("PS256", "EdDSA")
    own = {"JWT_ISSUER": "tickets", "JWT_AUDIENCE": "shop", "JWT_ALGORITHMS": "Ed25519"}
    settings = Settings.from_env(older | own)
    assert (settings.jwt_issuer, settings.jwt_audience) == ("tickets", ("shop",))
    assert settings.jwt_algorithms == ("Ed25519",)


@pytest.mark.parametrize("text", [",", " , ,", "a\x00", "x" * 1001])
def test_an_audience_that_compares_with_nothing_is_refused(text: str) -> None:
    (fault,) = check({"JWT_AUDIENCE": text})
    assert fault.variable == "JWT_AUDIENCE"


@pytest.mark.parametrize("text", ["none", "HS256", "RS256,HS256", "eddsa", "Ed448", ",", "RSA-OAEP"])
def test_other_algorithms_than_those_with_public_keys_are_refused(text: str) -> None:
    (fault,) = check({"JWT_ALGORITHMS": text})
    assert fault.variable == "JWT_ALGORITHMS"


ZONES = "EUREKA_CLIENT_AVAILABILITYZONES"
SERVERS = "EUREKA_CLIENT_SERVICEURL_"
TWO_ZONES = {f"{SERVERS}SEOULA": "http://a1/,http://a2/", f"{SERVERS}SEOUL_B": "http://b/"}
EUREKA_SERVERS: list[tuple[dict[str, str], tuple[str, ...]]] = [
    (TWO_ZONES, ("http://localhost:8761/eureka/",)),
    ({ZONES: "seoul-a,seoul.b"} | TWO_ZONES, ("http://a1/", "http://a2/", "http://b/")),
    ({ZONES: "seoul.b,seoul-a"} | TWO_ZONES, ("http://b/", "http://a1/", "http://a2/")),
    ({ZONES: "seoul-a,busan"} | TWO_ZONES, ("http://a1/", "http://a2/", "http://localhost:8761/eureka/")),
    ({ZONES: "busan,daegu", f"{SERVERS}DEFAULTZONE": "http://d/"} | TWO_ZONES, ("http://d/",)),
    (
        {ZONES: "seoul-a,defaultZone", f"{SERVERS}DEFAULTZONE": "http://a2/,http://d/"} | TWO_ZONES,
        ("http://a1/", "http://a2/", "http://d/"),
    ),
    ({ZONES: "seoul-a", f"{SERVERS}DEFAULTZONE": ""} | TWO_ZONES, ()),
    ({f"{ZONES}_USEAST1": "seoul.b"} | TWO_ZONES, ("http://b/",)),
    (
        {"EUREKA_CLIENT_REGION": "ap-northeast-2", f"{ZONES}_APNORTHEAST2": "seoul.b"} | TWO_ZONES,
        ("http://b/",),
    ),
    (
        {"EUREKA_CLIENT_REGION": "kr", f"{ZONES}_USEAST1": "seoul.b"} | TWO_ZONES,
        ("http://localhost:8761/eureka/",),
    ),
    ({ZONES: "seoul-a", f"{ZONES}_USEAST1": "seoul.b"} | TWO_ZONES, ("http://a1/", "http://a2/")),
]


@pytest.mark.parametrize(("environ", "servers"), EUREKA_SERVERS)
def test_eureka_servers_come_by_zone_the_gateways_own_first(
    environ: dict[str, str], servers: tuple[str, ...]
) -> None:
    assert check(environ) == []
    assert Settings.from_env(environ).eureka_client_serviceurl_defaultzone == servers


def test_zones_that_are_not_preferred_are_asked_last() -> None:
    environ = {ZONES: "seoul-a,seoul.b", "EUREKA_CLIENT_PREFER_SAME_ZONE_EUREKA": "false"} | TWO_ZONES
    assert Settings.from_env(environ).eureka_client_serviceurl_defaultzone == (
        "http://b/",
        "http://a1/",
        "http://a2/",
    )


@pytest.mark.parametrize(
    "environ",
    [
        {ZONES: "seoul-a", "EUREKA_CLIENT_SERVICE_URL_SEOUL_A": "http://a/"},
        {ZONES: "seoul-a", "eureka.client.service-url.seoul-a": "http://a/"},
        {
            "SPRING_APPLICATION_JSON": '{"eureka.client": {"region": "kr", "availability-zones": {"kr": "seoul-a"},'
            '"service-url": {"seoul-a": "http://a/"}}}'
        },
        {
            "eureka.client.region": "kr",
            f"{ZONES}_KR": "seoul-a",
            "EUREKA_CLIENT_SERVICEURL_SEOULA": "http://a/",
        },
    ],
)
def test_a_zone_is_found_in_every_spelling(environ: dict[str, str]) -> None:
    assert Settings.from_env(environ).eureka_client_serviceurl_defaultzone == ("http://a/",)


@pytest.mark.parametrize(
    "environ",
    [
        {"EUREKA_CLIENT_ENABLED": "false"},
        {"EUREKA_CLIENT_ENABLED": "off", "EUREKA_CLIENT_SERVICE_URL_DEFAULTZONE": "http://a/"},
        {"EUREKA_CLIENT_ENABLED": "true", "SPRING_CLOUD_DISCOVERY_ENABLED": "no"},
    ],
)
def test_eureka_can_be_turned_off(environ: dict[str, str]) -> None:
    assert Settings.from_env(environ).eureka_client_serviceurl_defaultzone == ()


@pytest.mark.parametrize(
    "name",
    [
        "SPRING_CLOUD_SERVICE_REGISTRY_AUTO_REGISTRATION_ENABLED",
        "spring.cloud.service-registry.auto-registration.enabled",
    ],
)
def test_springs_switch_for_all_registration_counts(name: str) -> None:
    assert Settings.from_env({"EUREKA_REGISTER": "true", name: "off"}).eureka_register is False
    assert Settings.from_env({name: "true"}).eureka_register is True
    assert Settings.from_env({"EUREKA_REGISTER": "false", name: "true"}).eureka_register is False
    (error,) = check({name: "hardly"})
    assert error.variable == name


@pytest.mark.parametrize(
    "name",
    [
        "MANAGEMENT_TRACING_ENABLED",
        "MANAGEMENT_TRACING_EXPORT_ENABLED",
        "MANAGEMENT_TRACING_EXPORT_ZIPKIN_ENABLED",
        "management.zipkin.tracing.export.enabled",
    ],
)
def test_springs_switches_turn_spans_off(name: str) -> None:
    environ = {"ZIPKIN_ENDPOINT": "http://zipkin/", name: "false"}
    assert Settings.from_env(environ).zipkin_endpoint is None
    assert Settings.from_env(environ | {name: "true"}).zipkin_endpoint == "http://zipkin/"
    (error,) = check({name: "hardly"})
    assert error.variable == name


SPRINGS: list[tuple[dict[str, str], str, Any]] = [
    ({"SERVER_ADDRESS": "127.0.0.1"}, "server_host", "127.0.0.1"),
    ({"SERVER_SHUTDOWN": "immediate"}, "shutdown_grace_seconds", 0.0),
    ({"SERVER_SHUTDOWN": "graceful"}, "shutdown_grace_seconds", 20.0),
    ({"SPRING_LIFECYCLE_TIMEOUT_PER_SHUTDOWN_PHASE": "45s"}, "shutdown_grace_seconds", 45.0),
    (
        {"SPRING_LIFECYCLE_TIMEOUT_PER_SHUTDOWN_PHASE": "45s", "SHUTDOWN_GRACE_SECONDS": "3"},
        "shutdown_grace_seconds",
        3.0,
    ),
    ({"SERVER_NETTY_IDLE_TIMEOUT": "2m"}, "keep_alive_timeout_seconds", 120.0),
    ({"LOGGING_LEVEL_ROOT": "warn"}, "log_level", "WARNING"),
    ({"LOG_LEVEL": "WARN"}, "log_level", "WARNING"),
    ({"LOG_LEVEL": "trace"}, "log_level", "DEBUG"),
    ({"QUEUE_MAX_CAPACITY": "7"}, "allowed_in_max_capacity", 7),
    ({"queue.allowed-in-duration-seconds": "9"}, "allowed_in_duration_seconds", 9.0),
    ({"TRACING_PROBABILITY": "1.0"}, "tracing_sampling_probability", 1.0),
    (
        {"TRACING_PROBABILITY": "1.0", "MANAGEMENT_TRACING_SAMPLING_PROBABILITY": "0.5"},
        "tracing_sampling_probability",
        0.5,
    ),
    (
        {"SPRING_CLOUD_GATEWAY_SERVER_WEBFLUX_HTTPCLIENT_CONNECT_TIMEOUT": "1500"},
        "proxy_connect_timeout_seconds",
        1.5,
    ),
    ({"SPRING_CLOUD_GATEWAY_HTTPCLIENT_RESPONSE_TIMEOUT": "5s"}, "proxy_response_timeout_seconds", 5.0),
    ({"spring.cloud.gateway.httpclient.pool.maxIdleTime": "750"}, "proxy_keep_alive_seconds", 0.75),
    ({"SPRING_CLOUD_CONFIG_REQUEST_READ_TIMEOUT": "2500"}, "config_server_timeout_seconds", 2.5),
    ({"SPRING_CLOUD_CONFIG_PROFILE": "prod,seoul"}, "config_server_profiles", ("prod", "seoul")),
    (
        {"SPRING_CLOUD_CONFIG_HEADERS_X_TENANT": "a b", "spring.cloud.config.headers.X-Two": "c"},
        "config_server_headers",
        (("X-TENANT", "a b"), ("X-Two", "c")),
    ),
    (
        {"SPRING_CLOUD_CONFIG_URI_0": "http://a", "SPRING_CLOUD_CONFIG_URI_1": "http://b"},
        "config_server_url",
        ("http://a", "http://b"),
    ),
    (
        {"SPRING_SECURITY_OAUTH2_RESOURCESERVER_JWT_JWS_ALGORITHMS": "ES256,RS256"},
        "jwt_algorithms",
        ("ES256", "RS256"),
    ),
    ({"EUREKA_INSTANCE_PREFER_IP_ADDRESS": "on"}, "eureka_instance_preferipaddress", True),
    ({"EUREKA_CLIENT_REGISTER_WITH_EUREKA": "off"}, "eureka_register", False),
    (
        {"EUREKA_INSTANCE_METADATA_MAP_CONFIG_PATH": "/x", "eureka.instance.metadata-map.aB": "y"},
        "eureka_instance_metadatamap",
        (("config.path", "/x"), ("aB", "y")),
    ),
]


@pytest.mark.parametrize(("environ", "field", "value"), SPRINGS)
def test_springs_names_are_read_as_spring_reads_them(environ: dict[str, str], field: str, value: Any) -> None:
    assert check(environ) == []
    assert getattr(Settings.from_env(environ), field) == value


def test_metadata_for_eureka_may_come_one_by_one() -> None:
    parts = {"EUREKA_INSTANCE_METADATAMAP_TEAM": "tickets", "EUREKA_INSTANCE_METADATAMAP_COLOR": "a=b"}
    assert Settings.from_env(parts).eureka_instance_metadatamap == (("team", "tickets"), ("color", "a=b"))
    whole = {"EUREKA_INSTANCE_METADATAMAP": "zone=b"}
    assert Settings.from_env(whole | parts).eureka_instance_metadatamap == (("zone", "b"),)


@pytest.mark.parametrize("name", ["EUREKA_CLIENT_REGISTERWITHEUREKA", "EUREKA_CLIENT_FETCHREGISTRY"])
def test_springs_own_names_for_taking_part_in_eureka_work(name: str) -> None:
    settings = Settings.from_env({name: "false"})
    assert (settings.eureka_register, settings.eureka_fetch) == ("FETCH" in name, "REGISTER" in name)


@pytest.mark.parametrize(
    ("name", "text", "environ"),
    [
        (f"{SERVERS}A", "a:8761", {ZONES: "a"}),
        (f"{ZONES}_KR", "a b", {"EUREKA_CLIENT_REGION": "kr"}),
        ("EUREKA_INSTANCE_METADATAMAP_TEAM", "a,b", {}),
    ],
)
def test_a_fault_in_a_variable_whose_name_depends_on_others_is_reported_under_that_name(
    name: str, text: str, environ: dict[str, str]
) -> None:
    (error,) = check(environ | {name: text})
    assert (error.variable, error.value) == (name, text)
    assert len(check(environ | {name: text, "SERVER_PORT": "x"})) == 2
    with pytest.raises(SettingsError, match=name):
        Settings.from_env(environ | {name: text})


@pytest.mark.parametrize(
    "name", ["MANAGEMENT_TRACING_EXPORT_ZIPKIN_ENDPOINT", "MANAGEMENT_ZIPKIN_TRACING_ENDPOINT"]
)
def test_spring_boots_names_for_tracing_work_and_our_own_win(name: str) -> None:
    older = {name: "http://old/spans", "MANAGEMENT_TRACING_SAMPLING_PROBABILITY": "0.5"}
    settings = Settings.from_env(older)
    assert (settings.zipkin_endpoint, settings.tracing_sampling_probability) == ("http://old/spans", 0.5)
    settings = Settings.from_env(older | {"ZIPKIN_ENDPOINT": "", "TRACING_SAMPLING_PROBABILITY": "1"})
    assert (settings.zipkin_endpoint, settings.tracing_sampling_probability) == (None, 1.0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SPRING_DATA_REDIS_PORT", "abc"),
        ("REDIS_IP", "a b"),
        ("SPRING_DATA_REDIS_CLUSTER_NODES", "a:1,b:x"),
        ("SPRING_DATA_REDIS_CLUSTER_NODES", "a:1/2"),
        ("SPRING_SECURITY_OAUTH2_RESOURCESERVER_JWT_JWK_SET_URI", "keys.json"),
    ],
)
def test_a_fault_under_an_older_name_is_reported_under_that_name(name: str, text: str) -> None:
    (error,) = check({name: text})
    assert (error.variable, error.value) == (name, text)


@pytest.mark.parametrize(
    ("wrong", "nodes", "service"),
    [
        ("NODES", "", "tickets"),
        ("NODES", "a:b", "tickets"),
        ("NODES", "a:1/other", "tickets"),
        ("MASTER", "a:1", ""),
        ("MASTER", "a:1", "tickets?db=1"),
    ],
)
def test_a_fault_in_what_sentinels_are_made_of_is_reported_under_its_name(
    wrong: str, nodes: str, service: str
) -> None:
    (error,) = check(
        {"SPRING_DATA_REDIS_SENTINEL_NODES": nodes, "SPRING_DATA_REDIS_SENTINEL_MASTER": service}
    )
    assert error.variable == f"SPRING_DATA_REDIS_SENTINEL_{wrong}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SPRING_DATA_REDIS_CLUSTER_NODES", ":hunter2@host:1"),
        ("REDIS_URL", "redis+sentinel://:hunter2@host"),
        ("REDIS_URL", "http://:hunter2@host"),
        ("REDIS_URL", "hunter2"),
        ("REDIS_URL", "redis://:hunter2/x@host"),
        ("SPRING_DATA_REDIS_URL", "redis//:hunter2@host"),
        ("REDIS_IP", ":hunter2@host"),
        ("MANAGEMENT_TOKEN", "hunter2 "),
        ("IDENTITY_HMAC_SECRET", "hunter2\n"),
        ("ZIPKIN_ENDPOINT", "ftp://me:hunter2@host"),
        ("EUREKA_CLIENT_SERVICEURL_DEFAULTZONE", "http://me:hunter2@host:x/"),
        ("SPRING_CONFIG_IMPORT", "configserver:ftp://me:hunter2@host"),
        ("CONFIG_SERVER_PASSWORD", "hunter2\n"),
    ],
)
def test_an_error_never_shows_a_secret(name: str, text: str) -> None:
    (error,) = check({name: text})
    assert "hunter2" not in str(error)
    assert "hidden" in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


@pytest.mark.parametrize(
    "environ",
    [
        {"REDIS_URL": "redis://user:hunter2@host:6379/1"},
        {"REDIS_URL": "redis://host?password=hunter2"},
        {"REDIS_URL": "unix://user:hunter2@/run/redis.sock"},
        {"REDIS_URL": "redis+sentinel://u:hunter2@a:1,[::1]:2/tickets?sentinel_password=hunter2%40"},
        {"REDIS_URL": "redis+cluster://:hunter2@a:1,b:2"},
        {"SPRING_DATA_REDIS_CLUSTER_NODES": "a:1", "SPRING_DATA_REDIS_PASSWORD": "hunter2"},
        {"REDIS_PW": "hunter2"},
        {"SPRING_DATA_REDIS_PASSWORD": "hunter2"},
        {"MANAGEMENT_TOKEN": "hunter2"},
        {"IDENTITY_HMAC_SECRET": "hunter2"},
        {"JWT_JWKS_URI": "http://me:hunter2@host/keys"},
        {"ZIPKIN_ENDPOINT": "http://me:hunter2@host/"},
        {"EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "http://a/,http://me:hunter2@b/"},
        {ZONES: "b", f"{SERVERS}B": "http://me:hunter2@b/"},
        {"SPRING_CONFIG_IMPORT": "optional:configserver:http://me:hunter2@host"},
        {"CONFIG_SERVER_URL": "http://me:hunter2@host"},
        {"CONFIG_SERVER_PASSWORD": "hunter2", "CONFIG_SERVER_WEBHOOK_SECRET": "hunter2"},
        {"SPRING_CLOUD_CONFIG_TOKEN": "hunter2", "SPRING_CLOUD_CONFIG_HEADERS_AUTHORIZATION": "hunter2"},
    ],
)
def test_settings_never_show_a_secret(environ: dict[str, str]) -> None:
    settings = Settings.from_env(environ)
    for text in (repr(settings), str(settings), f"{settings}"):
        assert "hunter2" not in text
    assert "server_port=8080" in repr(settings)


def test_settings_cant_be_changed_nor_grow() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().server_port = 1  # type: ignore[misc]
    assert not hasattr(Settings(), "__dict__")


@given(st.sampled_from(NAMES), st.text())
@example("JWT_JWKS_URI", "http://[")
@example("REDIS_URL", "redis://[::1")
@example("TRUSTED_PROXIES", "1/2/3")
def test_any_text_is_either_read_or_refused_with_a_settings_error(name: str, text: str) -> None:
    environ = {name: text}
    assert all(fault.variable == name and "\n" not in str(fault) for fault in check(environ))
    if not check(environ):
        repr(Settings.from_env(environ))


def test_the_routes_file_is_the_one_set_else_the_working_directorys_else_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = Path("/shipped/routes.yaml")
    assert Settings().routes_path(shipped) == shipped
    Path("routes.yaml").touch()
    assert Settings().routes_path(shipped) == Path("routes.yaml")
    assert Settings.from_env({"ROUTES_FILE": "mine.yaml"}).routes_path(shipped) == Path("mine.yaml")


def documented(row: Any) -> str:
    """The line of docs/reference/settings.md for one row of the table."""
    default = row.default_words or (f"`{row.default_text}`" if row.default_text else "empty")
    allowed = row.allowed.replace("|", "\\|")
    return f"| `{row.name}` | {default} | {row.doc} | {allowed} |"


def test_the_docs_list_every_setting_of_the_table_and_no_other() -> None:
    lines = (ROOT / "docs" / "reference" / "settings.md").read_text().splitlines()
    found = [line for line in lines if line.startswith("| `") and line.count(" | ") >= 3]
    assert found == [documented(row) for row in TABLE]


def test_the_docs_name_every_older_name() -> None:
    text = "".join(
        (ROOT / "docs" / "reference" / page).read_text() for page in ("settings.md", "spring-names.md")
    )
    names = {older for row in TABLE for older in row.older}
    names |= {"REDIS_IP", "REDIS_PW", "SPRING_DATA_REDIS_HOST", "SPRING_DATA_REDIS_PORT"}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_the_variable_of_passes_may_hold_another_program_s_secret() -> None:
    """``PASS`` is a usual name for a password. The error must not show it."""
    assert Settings.from_env({"PASS": "yes"}).pass_ is True
    assert Settings.from_env({}).pass_ is False
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({"PASS": "hunter2"})
    assert "hunter2" not in str(refused.value)
    assert "true, false" in str(refused.value)
