"""What a gateway says of itself at its start."""

from __future__ import annotations

import pytest

from gateway import __version__
from gateway.composition.summary import redis_kind, summary, without_password
from gateway.routing.spec.loader import default_file, parse
from gateway.routing.table import RouteTable
from gateway.settings.model import Settings
from tests.support.route_files import load

BASE = "http://127.0.0.1:8080"


def said(table: RouteTable, **environ: str) -> dict[str, str]:
    """The lines by the word they begin with."""
    settings = Settings.from_env(environ)
    lines = summary(settings, environ, table, base=BASE, management=BASE)
    assert not any("\n" in line for line in lines)
    return {line.split()[0].rstrip(":"): line for line in lines}


def test_version_rooms_gates_tokens_discovery_and_management_are_told() -> None:
    lines = said(load(default_file(), {"TICKET_SERVICE_URLS": "http://h:1"}), ALLOWED_IN_MAX_CAPACITY="50")
    assert lines["gateway"].startswith(f"gateway {__version__} on Python 3.")
    assert lines["rooms"] == "rooms: default (capacity 50, session 240 s)"
    assert lines["gates"] == "gates: default: POST /api/v1/reservations, POST /api/v1/reservation-seats/**"
    assert lines["access"] == "access: 12 rules open calls without a token"
    assert lines["tokens"] == (
        "tokens: keys from http://localhost:8090/.well-known/jwks.json; RS256; issuer not compared; "
        "audience not compared"
    )
    assert lines["services"] == (
        "services: 1 of 8 services have instances in the route file; others from Eureka at "
        "http://localhost:8761/eureka/"
    )
    assert lines["metrics"] == (
        f"metrics at {BASE}/metrics, health at {BASE}/actuator/health; changes by operators are not possible, since "
        "neither MANAGEMENT_TOKEN nor OPERATORS_FILE is set"
    )


def test_a_spring_environment_is_told_with_its_reason() -> None:
    lines = said(RouteTable(), SPRING_PROFILES_ACTIVE="hunter2")
    assert lines["Spring"].startswith("Spring environment: on, because SPRING_PROFILES_ACTIVE is set; ")
    lines = said(RouteTable(), GATEWAY_PROFILE="plain")
    assert "Spring" not in lines
    assert lines["tokens"] == (
        "tokens: no keys, since JWT_JWKS_URI is not set; RS256; issuer not compared; audience not compared"
    )
    assert lines["services"].endswith("; discovery is off")


def test_what_is_not_there_is_told_too() -> None:
    lines = said(RouteTable(), EUREKA_FETCH="false", ALLOWED_IN_MAX_CAPACITY="0")
    assert lines["rooms"] == "rooms: default (capacity 0, so no one is let in, session 240 s)"
    assert lines["gates"] == "gates: none, so no call needs a place"
    assert lines["access"] == "access: no call is open"
    assert lines["services"].endswith("; discovery is off")


def test_one_open_call_is_one() -> None:
    table = parse(b"routes: []\naccess: {public: [GET /a]}", "x", {})
    assert said(table)["access"] == "access: 1 rule opens calls without a token"


def test_many_rooms_and_calls_are_counted() -> None:
    calls = ", ".join(f"GET /a/{at}" for at in range(12))
    text = f"routes: []\ngates: [{{room: vip, calls: [{calls}], renews: [GET /b]}}]\nrooms: {{vip: {{capacity: 3}}}}"
    lines = said(parse(text.encode(), "x", {}))
    assert lines["gates"].endswith("GET /a/9 and 3 more")
    assert "vip (capacity 3, session 240 s)" in lines["rooms"]


def test_an_issuer_that_finds_the_keys_is_told_as_such() -> None:
    lines = said(RouteTable(), JWT_ISSUER="https://u:hunter2@issuer.test/shop", JWT_AUDIENCE="shop,web")
    assert lines["tokens"] == (
        "tokens: keys from where the issuer's document says; RS256; issuer https://issuer.test/shop; "
        "audience shop or web"
    )


def test_no_secret_is_told() -> None:
    lines = said(
        RouteTable(),
        JWT_JWKS_URI="http://u:hunter2@auth:1/keys?key=hunter2",
        EUREKA_CLIENT_SERVICEURL_DEFAULTZONE="http://u:hunter2@eureka:1/eureka",
        MANAGEMENT_TOKEN="hunter2-hunter2-hunter2",
        IDENTITY_HMAC_SECRET="hunter2-hunter2-hunter2",
        MANAGEMENT_READS="token",
        JWT_ISSUER="https://issuer.test",
        JWT_AUDIENCE="shop",
        JWT_COOKIE_NAME="session",
    )
    assert "hunter2" not in "".join(lines.values())
    assert lines["tokens"] == (
        "tokens: keys from http://auth:1/keys; RS256; issuer https://issuer.test; audience shop; cookie session"
    )
    assert lines["metrics"].endswith("(with an operator's token); changes by operators are possible")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://:hunter2@h:1/0", "one server"),
        ("unix:///run/redis.sock", "one server"),
        ("redis+sentinel://:hunter2@a,b/main", "the master main of sentinels"),
        ("redis+cluster://a,b", "a cluster"),
        ("embedded", "embedded, data in .gateway-redis"),
    ],
)
def test_the_kind_of_redis_is_told(url: str, kind: str) -> None:
    assert redis_kind(Settings.from_env({"REDIS_URL": url})) == kind
    assert "hunter2" not in without_password(url)
