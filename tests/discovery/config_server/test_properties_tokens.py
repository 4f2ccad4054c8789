"""Settings of tokens from a Config Server are held to what the environment's are held to."""

from __future__ import annotations

import pytest

from gateway.discovery.config_server.properties import properties_of
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.spec.loader import parse
from tests.support.config_server import answer_of

JWT = "spring.security.oauth2.resourceserver.jwt."


def tokens(**given: object) -> dict[str, tuple[str, ...]]:
    source = {
        JWT + key.replace("_", "-").replace("-at-", "[") + "]" * ("_at_" in key): value
        for key, value in given.items()
    }
    return dict(parse(b"routes: []", "routes.yaml", {}, properties_of(answer_of(source), {})).tokens)


def test_all_four_are_read() -> None:
    found = tokens(
        jwk_set_uri="https://auth.example/keys",
        issuer_uri="https://auth.example",
        audiences_at_0="web",
        audiences_at_1="app",
        jws_algorithms="RS256, ES256",
    )
    assert found == {
        "jwt_jwks_uri": ("https://auth.example/keys",),
        "jwt_issuer": ("https://auth.example",),
        "jwt_audience": ("web", "app"),
        "jwt_algorithms": ("RS256", "ES256"),
    }


def test_what_is_empty_says_nothing() -> None:
    assert tokens(issuer_uri="", audiences="") == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("jwk_set_uri", "file:///keys"),
        ("jwk_set_uri", "${none}"),
        ("jwk_set_uri_at_0", "https://a.example"),
        ("jws_algorithms", "HS256"),
        ("jws_algorithms_at_0", "none"),
        ("issuer_uri", "a\nb"),
    ],
)
def test_what_the_environment_may_not_say_the_server_may_not_either(key: str, value: str) -> None:
    with pytest.raises(RouteFileError) as refusal:
        tokens(**{key: value})
    fault = refusal.value.issues[0]
    assert (fault.file, fault.line) == ("first.yml", 1)
    assert JWT in fault.message
