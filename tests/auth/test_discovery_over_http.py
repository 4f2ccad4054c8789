"""A gateway that knows nothing but its issuer, over real HTTP; and what well-known identity providers publish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from gateway.auth.key_set import MAX_DOCUMENT_BYTES
from gateway.context import AUTHENTICATOR
from tests.support.certificates import certificate
from tests.support.gateway import Gateways, Running
from tests.support.identity_provider import Provider, providing
from tests.support.tokens import Issuer, private_pem

TOKEN = "operator-token-of-the-test"


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with providing() as found:
        yield found


@asynccontextmanager
async def knowing(gateways: Gateways, issuer: str, **settings: object) -> AsyncIterator[Running]:
    async with gateways.running(jwt_jwks_uri="", jwt_issuer=issuer, **settings) as gateway:
        yield gateway


async def ready(gateway: Running) -> None:
    """Until the issuer was read."""
    async with asyncio.timeout(20):
        while (await gateway.nobody("GET", "/actuator/health/readiness")).status != 200:
            await asyncio.sleep(0.01)


async def code(gateway: Running, token: str) -> str:
    """What a call for one's place answers: NOT_IN_QUEUE if the token is good."""
    return (await gateway.with_token(token).status()).code


def public(owner: Issuer) -> dict[str, Any]:
    (key,) = owner.jwks()["keys"]
    return dict(key)


def with_chain(owner: Issuer, number: int = 0, **changes: object) -> dict[str, Any]:
    """The key with its certificate, as nearly all providers publish it."""
    chain = [certificate(private_pem(owner.algorithm, number))]
    return public(owner) | {"x5c": chain, "x5t": "c2hhMQ"} | changes


async def test_the_issuer_alone_is_enough(gateways: Gateways, provider: Provider) -> None:
    mine = Issuer()
    issuer = provider.publish("/realms/shop", [public(mine)])
    async with knowing(gateways, issuer) as gateway:
        await ready(gateway)
        assert await code(gateway, mine.token("ann", iss=issuer)) == "NOT_IN_QUEUE"
        assert await code(gateway, mine.token("ann", iss=provider.base)) == "TOKEN_INVALID"
        assert await code(gateway, mine.token("ann")) == "TOKEN_INVALID"
        health = (await gateway.nobody("GET", "/actuator/health")).json
        assert health["components"]["jwks"] == {"status": "UP", "details": {"keys": 1}}
        # A rotation and a withdrawal.
        old = mine.token("ann", iss=issuer)
        mine.rotate()
        provider.answers["/keys/realms/shop"] = mine.jwks()
        assert await code(gateway, mine.token("ann", iss=issuer)) == "NOT_IN_QUEUE"
        assert await code(gateway, old) == "NOT_IN_QUEUE"
        stranger = gateway.issuer.token("ann", iss=issuer, headers={"kid": "x"})
        assert await code(gateway, stranger) == "AUTH_UNAVAILABLE", "its key may have come just now"
        gateway.app[AUTHENTICATOR]._verifier._jwks._requested_at = None  # five seconds later
        assert await code(gateway, stranger) == "TOKEN_INVALID"
        assert gateway.keys.requests == 0


def elsewhere(provider: Provider) -> dict[str, object]:
    return {"issuer": "https://evil.example", "jwks_uri": f"{provider.base}/keys/shop"}


def moved(provider: Provider) -> Callable[[], web.Response]:
    provider.publish("/moved", [public(Issuer())], issuer=f"{provider.base}/shop")
    there = f"{provider.base}/moved/.well-known/openid-configuration"
    return lambda: web.Response(status=302, headers={"Location": there})


def endless(provider: Provider) -> Callable[[], web.Response]:
    return lambda: web.Response(body=b" " * (MAX_DOCUMENT_BYTES + 1))


def broken(provider: Provider) -> Callable[[], web.Response]:
    return lambda: web.Response(status=500)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (elsewhere, "it is of the issuer 'https://evil.example', which is not the one that is set"),
        (moved, "status 302"),
        (endless, "too long"),
        (broken, "status 500"),
        (lambda _: None, "status 404"),
    ],
    ids=["another issuer", "moved", "too long", "broken", "none"],
)
async def test_an_issuer_that_cannot_be_read_takes_the_instance_out_of_service_with_the_reason(
    gateways: Gateways, provider: Provider, answer: Callable[[Provider], Any], why: str
) -> None:
    mine = Issuer()
    issuer = provider.publish("/shop", [public(mine)])
    document = "/shop/.well-known/openid-configuration"
    sound = provider.answers[document]
    provider.answers[document] = answer(provider)
    async with knowing(gateways, issuer, management_token=TOKEN) as gateway:
        async with asyncio.timeout(20):
            while why not in (await gateway.nobody("GET", "/actuator/health/readiness")).body.decode():
                await asyncio.sleep(0.01)
        readiness = await gateway.nobody("GET", "/actuator/health/readiness")
        assert (readiness.status, readiness.json["status"]) == (503, "OUT_OF_SERVICE")
        assert set(readiness.json["components"]) == {"jwks", "readinessState"}
        component = readiness.json["components"]["jwks"]
        assert component["status"] == "OUT_OF_SERVICE"
        assert component["details"]["reason"].startswith(f"no keys from the issuer {issuer}: ")
        health = await gateway.nobody("GET", "/actuator/health")
        assert (health.status, health.json["status"]) == (503, "OUT_OF_SERVICE")
        assert health.json["components"]["jwks"] == component
        assert health.json["components"]["readinessState"]["status"] == "OUT_OF_SERVICE"
        assert (await gateway.nobody("GET", "/actuator/health/jwks")).status == 503
        assert (await gateway.nobody("GET", "/actuator/health/liveness")).status == 200
        for token in (mine.token("ann", iss=issuer), mine.token("ann", iss="https://evil.example")):
            assert await code(gateway, token) == "AUTH_UNAVAILABLE"
        assert "/keys/shop" not in provider.asked
        assert (await gateway.nobody("GET", "/api/v1/products/1")).status == 200, "an open call"
        provider.answers[document] = sound
        await ready(gateway)
        assert await code(gateway, mine.token("ann", iss=issuer)) == "NOT_IN_QUEUE"
        # Once it was read, an outage changes nothing but that no one can say of new keys whether they are good.
        provider.answers.clear()
        assert await code(gateway, mine.token("ann", iss=issuer, headers={"kid": "x"})) == "AUTH_UNAVAILABLE"
        assert (await gateway.nobody("GET", "/actuator/health/readiness")).json == {"status": "UP"}
        assert await code(gateway, mine.token("bob", iss=issuer)) == "NOT_IN_QUEUE"


async def test_the_reason_is_for_operators_where_reads_are_closed(
    gateways: Gateways, provider: Provider
) -> None:
    settings = {"management_reads": "token", "management_token": TOKEN}
    async with knowing(gateways, f"{provider.base}/none", **settings) as gateway:
        for path in ("/actuator/health", "/actuator/health/readiness"):
            bare = await gateway.nobody("GET", path)
            assert (bare.status, bare.json) == (503, {"status": "OUT_OF_SERVICE"})
            told = await gateway.with_token(TOKEN)("GET", path)
            assert "reason" in told.json["components"]["jwks"]["details"]


async def test_an_issuer_that_hangs_holds_up_nothing_but_calls_with_a_token(
    gateways: Gateways, provider: Provider
) -> None:
    provider.answering.clear()
    async with knowing(gateways, provider.publish("/shop", [public(Issuer())])) as gateway:
        asking = asyncio.create_task(code(gateway, Issuer().token("ann", iss=f"{provider.base}/shop")))
        assert (await gateway.nobody("GET", "/api/v1/products/1")).status == 200
        assert (await gateway.nobody("GET", "/actuator/health/readiness")).status == 503
        provider.answering.set()
        assert await asking == "NOT_IN_QUEUE"


async def test_an_address_of_keys_wins_and_nothing_is_discovered(
    gateways: Gateways, provider: Provider
) -> None:
    issuer = provider.publish("/shop", [public(Issuer(key=5))])
    gateway = await gateways.start(jwt_issuer=issuer)
    assert (await gateway.user("ann", iss=issuer).status()).code == "NOT_IN_QUEUE"
    assert (await gateway.user("ann").status()).code == "TOKEN_INVALID"
    assert provider.asked == []
    assert gateway.keys.requests >= 1


# What well-known providers publish, in form, with keys of the test's own.


async def test_keycloak(gateways: Gateways, provider: Provider) -> None:
    """A realm: a key to sign and one to encrypt, both with certificates."""
    mine, other = Issuer(), Issuer(key=1)
    keys = [
        with_chain(other, 1, kid="enc-1", use="enc", alg="RSA-OAEP"),
        with_chain(mine, **{"x5t#S256": "c2hhMjU2"}),
    ]
    issuer = provider.publish("/realms/shop", keys)
    async with knowing(gateways, issuer, jwt_audience="account,shop") as gateway:
        await ready(gateway)
        claims: dict[str, Any] = {"iss": issuer, "typ": "Bearer", "azp": "web", "scope": "openid"}
        for aud in ("account", ["realm-management", "shop"]):
            assert await code(gateway, mine.token("5c2b9a7e-9d0e", aud=aud, **claims)) == "NOT_IN_QUEUE"
        assert await code(gateway, mine.token("5c2b9a7e-9d0e", aud="other", **claims)) == "TOKEN_INVALID"
        forged = other.token("a", aud="account", headers={"kid": "enc-1"}, **claims)
        assert await code(gateway, forged) == "TOKEN_INVALID"


async def test_auth0(gateways: Gateways, provider: Provider) -> None:
    """A tenant: its name ends in a slash, and the next key is published beside the one in use."""
    mine, following = Issuer(), Issuer(key=1)
    issuer = provider.publish("/", [with_chain(mine), with_chain(following, 1)])
    assert issuer.endswith("/")
    async with knowing(gateways, issuer) as gateway:
        await ready(gateway)
        aud = ["https://shop.example/api", f"{issuer}userinfo"]
        for each in (mine, following):
            assert await code(gateway, each.token("auth0|5f7c8ec7c33c6c004bbafe82", iss=issuer, aud=aud)) == (
                "NOT_IN_QUEUE"
            )
        assert await code(gateway, mine.token("auth0|1", iss=issuer.rstrip("/"))) == "TOKEN_INVALID"
    async with knowing(gateways, issuer.rstrip("/")) as gateway:
        async with asyncio.timeout(20):
            while (
                "the slash at the end" not in (await gateway.nobody("GET", "/actuator/health")).body.decode()
            ):
                await asyncio.sleep(0.01)


async def test_entra(gateways: Gateways, provider: Provider) -> None:
    """A tenant: keys without alg, with certificates and an issuer of their own."""
    tenant = "9188040d-6c67-4c5b-b112-36a304b66dad"
    mine, other = Issuer(), Issuer(key=1)
    keys = [
        with_chain(mine, alg=None, issuer=f"{provider.base}/{tenant}/v2.0", cloud_instance_name="x"),
        with_chain(other, 1, alg=None, issuer=f"{provider.base}/{{tenantid}}/v2.0"),
    ]
    issuer = provider.publish(f"/{tenant}/v2.0", keys)
    async with knowing(gateways, issuer) as gateway:
        await ready(gateway)
        head = {"x5t": mine.kid, "typ": "JWT"}
        claims: dict[str, Any] = {"iss": issuer, "tid": tenant, "ver": "2.0", "aud": "api://shop"}
        assert await code(gateway, mine.token("AAAA-bbbb_cccc", headers=head, **claims)) == "NOT_IN_QUEUE"
        assert await code(gateway, mine.token("a", headers={"alg": "PS256"}, **claims)) == "TOKEN_INVALID"
    # The document of all tenants is of none.
    common = provider.publish("/common/v2.0", keys, issuer=f"{provider.base}/{{tenantid}}/v2.0")
    assert "{tenantid}" in common
    async with knowing(gateways, f"{provider.base}/common/v2.0") as gateway:
        async with asyncio.timeout(20):
            while (
                "set the address of one"
                not in (await gateway.nobody("GET", "/actuator/health")).body.decode()
            ):
                await asyncio.sleep(0.01)
        assert await code(gateway, mine.token("a", **claims)) == "AUTH_UNAVAILABLE"


async def test_cognito(gateways: Gateways, provider: Provider) -> None:
    """A pool: two keys, one for access tokens, which have no audience, and one for those of identity."""
    access, identity = Issuer(), Issuer(key=1)
    issuer = provider.publish("/ap-northeast-2_Ab12Cd34E", [public(identity), public(access)])
    async with knowing(gateways, issuer) as gateway:
        await ready(gateway)
        claims: dict[str, Any] = {
            "iss": issuer,
            "client_id": "1example23",
            "token_use": "access",
            "typ": None,
        }
        assert (
            await code(gateway, access.token("aaaa-bbbb", headers={"typ": None}, **claims)) == "NOT_IN_QUEUE"
        )
        assert (
            await code(gateway, identity.token("aaaa-bbbb", aud="1example23", iss=issuer)) == "NOT_IN_QUEUE"
        )
        # Both keys fit, so that a token must name its own.
        assert await code(gateway, access.token("a", headers={"kid": None}, **claims)) == "TOKEN_INVALID"


async def test_a_provider_with_certificates_alone_and_tokens_without_a_kid(
    gateways: Gateways, provider: Provider
) -> None:
    mine = Issuer(algorithm="ES256")
    key = with_chain(mine, kid=None, x=None, y=None, crv=None, alg=None)
    issuer = provider.publish("", [key])
    async with knowing(gateways, issuer, jwt_algorithms="RS256,ES256") as gateway:
        await ready(gateway)
        assert await code(gateway, mine.token("ann", iss=issuer, headers={"kid": None})) == "NOT_IN_QUEUE"
        assert await code(gateway, mine.token("ann", iss=issuer)) == "TOKEN_INVALID"
