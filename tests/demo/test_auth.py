"""The demo's auth service."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import TestClient
from jose import jwt
from pytest_aiohttp.plugin import AiohttpClient

from gateway.demo.auth import PASSWORD, Account, Accounts, Signer, make_app


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, signer: Signer) -> TestClient:
    accounts = Accounts(signer)
    accounts.add(Account("a@demo.example", PASSWORD, "person-1", "CUSTOMER"))
    return await aiohttp_client(make_app(accounts))


def test_a_token_is_what_a_jwt_library_accepts_under_the_published_key(signer: Signer) -> None:
    token = signer.token("person-1", "CUSTOMER")
    claims = jwt.decode(token, signer.jwks(), algorithms=["RS256"])
    assert (claims["sub"], claims["userType"], claims["exp"] - claims["iat"]) == (
        "person-1",
        "CUSTOMER",
        3600,
    )
    assert jwt.get_unverified_header(token)["kid"] == signer.jwks()["keys"][0]["kid"]


async def test_the_key_set_has_no_private_part(client: TestClient) -> None:
    async with client.get("/.well-known/jwks.json") as response:
        assert set((await response.json())["keys"][0]) == {"kty", "use", "alg", "kid", "n", "e"}


async def test_logging_in_brings_tokens(client: TestClient, signer: Signer) -> None:
    body = {"email": "a@demo.example", "password": PASSWORD}
    async with client.post("/api/v1/auth/login", json=body) as response:
        assert response.status == 200
        answer = await response.json()
    assert jwt.decode(answer["accessToken"], signer.jwks(), algorithms=["RS256"])["sub"] == "person-1"


@pytest.mark.parametrize(
    "body", [{"email": "a@demo.example", "password": "?"}, {"email": "b@demo.example"}, [], None]
)
async def test_a_wrong_login_is_refused(client: TestClient, body: object) -> None:
    async with client.post("/api/v1/auth/login", json=body) as response:
        assert response.status == 401


async def test_a_refresh_token_works_once(client: TestClient) -> None:
    body = {"email": "a@demo.example", "password": PASSWORD}
    async with client.post("/api/v1/auth/login", json=body) as response:
        refresh = {"refreshToken": (await response.json())["refreshToken"]}
    async with client.post("/api/v1/auth/refresh", json=refresh) as response:
        assert response.status == 200
    async with client.post("/api/v1/auth/refresh", json=refresh) as response:
        assert response.status == 401


async def test_registering_makes_an_account_once(client: TestClient, signer: Signer) -> None:
    body = {"email": "new@demo.example", "password": "secret"}
    async with client.post("/api/v1/auth/register", json=body) as response:
        assert response.status == 201
        claims = jwt.decode((await response.json())["accessToken"], signer.jwks(), algorithms=["RS256"])
        assert claims["userType"] == "GUEST"
    async with client.post("/api/v1/auth/login", json=body) as response:
        assert response.status == 200
    async with client.post("/api/v1/auth/register", json=body) as response:
        assert response.status == 409
    async with client.post("/api/v1/auth/register", json={}) as response:
        assert response.status == 400
