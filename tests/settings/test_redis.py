"""What the older system's variables say of Redis is honoured, or the start stops; nothing of it is passed over."""

from __future__ import annotations

import pytest

from gateway.settings.model import Settings, check

S = "SPRING_DATA_REDIS_"
SENTINELS = {f"{S}SENTINEL_NODES": "a:1,b:2", f"{S}SENTINEL_MASTER": "tickets"}
CLUSTER = {f"{S}CLUSTER_NODES": "a:1,b:2"}

HONOURED: list[tuple[dict[str, str], str]] = [
    ({f"{S}DATABASE": "3"}, "redis://localhost:6379/3"),
    ({f"{S}DATABASE": "0"}, "redis://localhost:6379/0"),
    ({f"{S}SSL_ENABLED": "true"}, "rediss://localhost:6379/0"),
    ({f"{S}SSL_ENABLED": "false"}, "redis://localhost:6379/0"),
    ({f"{S}SSL_ENABLED": "", "REDIS_IP": "h"}, "redis://h:6379/0"),
    (
        {f"{S}HOST": "h", f"{S}SSL_ENABLED": "TRUE", f"{S}PASSWORD": "p", f"{S}USERNAME": "app"},
        "rediss://app:p@h:6379/0",
    ),
    ({"REDIS_IP": "h", "REDIS_PW": "p", f"{S}USERNAME": "a:b@c"}, "redis://a%3Ab%40c:p@h:6379/0"),
    ({f"{S}USERNAME": "app"}, "redis://app@localhost:6379/0"),
    (
        SENTINELS
        | {f"{S}DATABASE": "3", f"{S}SSL_ENABLED": "on", f"{S}USERNAME": "app", f"{S}PASSWORD": "p"}
        | {f"{S}SENTINEL_USERNAME": "s&", f"{S}SENTINEL_PASSWORD": "q"},
        "rediss+sentinel://app:p@a:1,b:2/tickets/3?sentinel_username=s%26&sentinel_password=q",
    ),
    (CLUSTER | {f"{S}SSL_ENABLED": "1", f"{S}USERNAME": "app"}, "rediss+cluster://app@a:1,b:2"),
    (CLUSTER | {f"{S}DATABASE": "0"}, "redis+cluster://a:1,b:2"),
    # Beside an address.
    ({f"{S}URL": "redis://h", f"{S}DATABASE": "3"}, "redis://h/3"),
    ({"REDIS_URL": "redis://u:p@h:1?client_name=g", f"{S}DATABASE": "3"}, "redis://u:p@h:1/3?client_name=g"),
    ({"REDIS_URL": "redis://h/3", f"{S}DATABASE": "3"}, "redis://h/3"),
    ({"REDIS_URL": "unix:///run/redis.sock", f"{S}DATABASE": "3"}, "unix:///run/redis.sock?db=3"),
    ({"REDIS_URL": "redis+sentinel://a/tickets", f"{S}DATABASE": "3"}, "redis+sentinel://a/tickets/3"),
    ({"REDIS_URL": "rediss://app:p@h", f"{S}SSL_ENABLED": "true", f"{S}USERNAME": "app"}, "rediss://app:p@h"),
    ({"REDIS_URL": "rediss://h", f"{S}SSL_ENABLED": "false"}, "rediss://h"),
    ({"REDIS_URL": "redis://a%40b:p@h", f"{S}USERNAME": "a@b"}, "redis://a%40b:p@h"),
    ({"REDIS_URL": "redis://h"} | SENTINELS, "redis://h"),
    # Spring Boot 2.
    ({"SPRING_REDIS_HOST": "h", "SPRING_REDIS_PORT": "7"}, "redis://h:7/0"),
    ({"SPRING_REDIS_URL": "redis://h:7/1"}, "redis://h:7/1"),
    ({"SPRING_REDIS_SSL": "true", "SPRING_REDIS_HOST": "h"}, "rediss://h:6379/0"),
    ({"SPRING_REDIS_SSL_ENABLED": "true", "SPRING_REDIS_HOST": "h"}, "rediss://h:6379/0"),
    ({f"{S}SSL": "yes", f"{S}SSL_ENABLED": "true"}, "rediss://localhost:6379/0"),
    # The newer generation counts.
    ({"SPRING_REDIS_SSL": "false", f"{S}SSL_ENABLED": "true"}, "rediss://localhost:6379/0"),
    ({"SPRING_REDIS_SSL": "true", f"{S}SSL_ENABLED": "false", f"{S}HOST": "h"}, "redis://h:6379/0"),
    ({"SPRING_REDIS_PASSWORD": "p", "SPRING_REDIS_DATABASE": "2"}, "redis://:p@localhost:6379/2"),
    ({"SPRING_REDIS_HOST": "old", f"{S}HOST": "new"}, "redis://new:6379/0"),
    ({"SPRING_REDIS_SENTINEL_NODES": "a:1", "SPRING_REDIS_SENTINEL_MASTER": "m"}, "redis+sentinel://a:1/m"),
    # As Spring spells.
    ({"spring.data.redis.host": "h", "spring_data_redis_port": "7"}, "redis://h:7/0"),
    ({"spring.data.redis.ssl.enabled": "true"}, "rediss://localhost:6379/0"),
    ({"spring.data.redis.url": "redis://h"}, "redis://h"),
    ({"spring.data.redis.url": "redis://h", f"{S}DATABASE": "3"}, "redis://h/3"),
    ({"SPRING_REDIS_PASSWORD": "old", f"{S}PASSWORD": "new", f"{S}HOST": "h"}, "redis://:new@h:6379/0"),
    ({"spring.data.redis.host": "other", f"{S}HOST": "exact"}, "redis://exact:6379/0"),
    (
        {f"{S}CLUSTER_NODES_1": "b:2", f"{S}CLUSTER_NODES_0": "a:1", f"{S}CLUSTER_NODES_10": "c:3"},
        "redis+cluster://a:1,b:2,c:3",
    ),
    (
        {"spring.data.redis.sentinel.nodes[0]": "a:1", "spring.data.redis.sentinel.master": "m"},
        "redis+sentinel://a:1/m",
    ),
    # Kubernetes, for a service of the name redis; and programs that share the environment.
    ({"REDIS_PORT": "tcp://10.0.0.1:6379", "REDIS_SERVICE_HOST": "10.0.0.1"}, "redis://localhost:6379/0"),
    ({"REDIS_URL": "redis://h", "REDIS_HOST": "other", "REDIS_DB": "5"}, "redis://h"),
    ({"REDIS_SSL": "false"}, "redis://localhost:6379/0"),
    ({"SPRING_APPLICATION_JSON": '{"server.port": 1}'}, "redis://localhost:6379/0"),
    (
        {
            "SPRING_APPLICATION_JSON": '{"spring": {"data": {"redis": {"host": "h", "port": 7, "database": 2,'
            '"username": "app", "password": "p", "ssl": {"enabled": true}}}}}'
        },
        "rediss://app:p@h:7/2",
    ),
    (
        {"SPRING_APPLICATION_JSON": '{"spring.data.redis.cluster.nodes": ["a:1", "b:2"]}'},
        "redis+cluster://a:1,b:2",
    ),
    ({"REDIS_TLS": "1", "REDIS_URL": "rediss://h"}, "rediss://h"),
    ({"REDIS_URL": "embedded", f"{S}SSL_ENABLED": "true", "REDIS_HOST": "h"}, "embedded"),
]


@pytest.mark.parametrize(("environ", "url"), HONOURED)
def test_what_is_said_is_honoured(environ: dict[str, str], url: str) -> None:
    assert check(environ) == []
    assert Settings.from_env(environ).redis_url == url


REFUSED: list[tuple[dict[str, str], str]] = [
    ({f"{S}DATABASE": "x"}, f"{S}DATABASE"),
    ({f"{S}DATABASE": "-1"}, f"{S}DATABASE"),
    (CLUSTER | {f"{S}DATABASE": "3"}, f"{S}DATABASE"),
    ({"REDIS_URL": "redis+cluster://a", f"{S}DATABASE": "3"}, f"{S}DATABASE"),
    ({"REDIS_URL": "redis://h/1", f"{S}DATABASE": "3"}, f"{S}DATABASE"),
    ({"REDIS_URL": "redis://h/0", f"{S}DATABASE": "3"}, f"{S}DATABASE"),
    ({"REDIS_URL": "redis://h?db=0", f"{S}DATABASE": "3"}, f"{S}DATABASE"),
    ({"REDIS_URL": "unix:///s?db=1", f"{S}DATABASE": "3"}, f"{S}DATABASE"),
    ({"REDIS_URL": "redis+sentinel://a/tickets/1", f"{S}DATABASE": "3"}, f"{S}DATABASE"),
    ({f"{S}SSL_ENABLED": "maybe"}, f"{S}SSL_ENABLED"),
    # Both are taken for the same, and in clear the password would go out.
    ({f"{S}SSL_ENABLED": "true", f"{S}SSL": "false", f"{S}PASSWORD": "p"}, f"{S}SSL"),
    ({f"{S}SSL_ENABLED": "false", f"{S}SSL": "true"}, f"{S}SSL"),
    ({"SPRING_REDIS_SSL": "true", "spring.redis.ssl.enabled": "no"}, "SPRING_REDIS_SSL"),
    ({f"{S}SSL_ENABLED": "true", f"{S}SSL": "maybe"}, f"{S}SSL"),
    ({f"{S}SSL_BUNDLE": "redis"}, f"{S}SSL_BUNDLE"),
    ({"REDIS_URL": "rediss://h", f"{S}SSL_BUNDLE": "redis"}, f"{S}SSL_BUNDLE"),
    ({"REDIS_URL": "redis://h", f"{S}SSL_ENABLED": "true"}, f"{S}SSL_ENABLED"),
    ({f"{S}URL": "redis://h", f"{S}SSL_ENABLED": "true"}, f"{S}SSL_ENABLED"),
    ({"REDIS_URL": "redis+sentinel://a/t", "spring.redis.ssl": "true"}, "spring.redis.ssl"),
    ({"REDIS_URL": "redis://h", f"{S}USERNAME": "app"}, f"{S}USERNAME"),
    ({"REDIS_URL": "redis://other:p@h", f"{S}USERNAME": "app"}, f"{S}USERNAME"),
    ({"REDIS_URL": "redis+cluster://other:p@h", f"{S}USERNAME": "app"}, f"{S}USERNAME"),
    ({f"{S}URL": "redis://h"} | SENTINELS, f"{S}SENTINEL_NODES"),
    ({f"{S}URL": "redis://h"} | CLUSTER, f"{S}CLUSTER_NODES"),
    ({"SPRING_REDIS_PORT": "x"}, "SPRING_REDIS_PORT"),
    ({"spring.data.redis.url": "redis://h", f"{S}USERNAME": "app"}, f"{S}USERNAME"),
    ({"spring.data.redis.url": "redis://h"} | CLUSTER, f"{S}CLUSTER_NODES"),
    ({"spring.data.redis.url": "redis://h/1", f"{S}DATABASE": "3"}, f"{S}DATABASE"),
    # A password of one Spring for the server of another; a port likewise.
    ({"SPRING_REDIS_PASSWORD": "p", f"{S}HOST": "h"}, "SPRING_REDIS_PASSWORD"),
    ({"SPRING_REDIS_HOST": "h", f"{S}PASSWORD": "p"}, "SPRING_REDIS_HOST"),
    ({"SPRING_REDIS_PORT": "7", f"{S}HOST": "h"}, "SPRING_REDIS_PORT"),
    ({"SPRING_REDIS_PASSWORD": "p"} | SENTINELS, "SPRING_REDIS_PASSWORD"),
    ({f"{S}MASTERREPLICA_NODES": "a:1,b:2", f"{S}PASSWORD": "p"}, f"{S}MASTERREPLICA_NODES"),
    (
        {"SPRING_APPLICATION_JSON": '{"spring.data.redis": {"ssl.enabled": true, "password": "hunter2"}}'}
        | {"REDIS_URL": "redis://h"},
        "SPRING_APPLICATION_JSON (spring.data.redis.ssl.enabled)",
    ),
    ({"REDIS_URI": "redis://:hunter2@h"}, "REDIS_URI"),
    ({"REDIS_TLS_URL": "rediss://:hunter2@h"}, "REDIS_TLS_URL"),
    ({"spring.data.redis.url": "http://h"}, "spring.data.redis.url"),
    ({"REDIS_SSL": "true"}, "REDIS_SSL"),
    ({"REDIS_TLS_ENABLED": "1", "REDIS_URL": "redis://h"}, "REDIS_TLS_ENABLED"),
    ({"REDIS_HOST": "h"}, "REDIS_HOST"),
    ({"REDIS_IP": "h", "REDIS_DB": "3"}, "REDIS_DB"),
    ({"REDIS_IP": "h", "REDIS_PORT": "7000"}, "REDIS_PORT"),
    ({"REDIS_IP": "h", "REDIS_USERNAME": "app"}, "REDIS_USERNAME"),
    # A variable may hold any bytes.
    ({"REDIS_IP": "h", "REDIS_PW": "hunter2\udcff"}, "REDIS_PW"),
    ({f"{S}PASSWORD": "hunter2\udcff"}, f"{S}PASSWORD"),
    ({f"{S}USERNAME": "hunter2\udcff"}, f"{S}USERNAME"),
    (SENTINELS | {f"{S}SENTINEL_PASSWORD": "hunter2\udcff"}, f"{S}SENTINEL_PASSWORD"),
    (SENTINELS | {f"{S}SENTINEL_USERNAME": "hunter2\udcff"}, f"{S}SENTINEL_USERNAME"),
    ({"REDIS_URL": "redis://h?nonsense=1"}, "REDIS_URL"),
    ({"REDIS_URL": "redis://h?ssl_ca_certs=/etc/ca.pem"}, "REDIS_URL"),
    ({"REDIS_URL": "redis://h?decode_responses=true"}, "REDIS_URL"),
]


@pytest.mark.parametrize(("environ", "name"), REFUSED)
def test_what_can_not_be_honoured_stops_the_start_and_is_named(environ: dict[str, str], name: str) -> None:
    (error,) = check(environ)
    assert error.variable == name
    assert error.allowed
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("name", ["REDIS_PASSWORD", f"{S}SSL_ENABLED", f"{S}DATABASE", "REDIS_SSL"])
def test_a_refusal_shows_no_password(name: str) -> None:
    (error,) = check({name: "u:hunter2@h"})
    assert "hunter2" not in str(error)


def test_a_password_that_is_not_read_is_not_shown() -> None:
    (error,) = check({"REDIS_PASSWORD": "hunter2"})
    assert error.variable == "REDIS_PASSWORD"
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2s", 2.0),
        ("500ms", 0.5),
        ("750", 0.75),
        ("1m", 60.0),
        ("PT2S", 2.0),
        ("PT1M0.5S", 60.5),
        ("3S", 3.0),
        ("P1D", 86_400.0),
    ],
)
def test_springs_time_out_is_read_as_spring_reads_it(text: str, seconds: float) -> None:
    assert Settings.from_env({f"{S}TIMEOUT": text}).redis_timeout_seconds == seconds
    assert Settings.from_env({"spring.redis.timeout": text}).redis_timeout_seconds == seconds
    assert Settings.from_env({f"{S}TIMEOUT": text, "REDIS_TIMEOUT_SECONDS": "9"}).redis_timeout_seconds == 9.0


@pytest.mark.parametrize(
    "text", ["0", "0s", "500us", "900000ns", "-1s", "2 seconds", "PT", "P", "P1M", "1e3", "99999999999d"]
)
def test_a_time_out_that_is_none_is_refused_under_its_name(text: str) -> None:
    (error,) = check({f"{S}TIMEOUT": text})
    assert (error.variable, error.value) == (f"{S}TIMEOUT", text)
