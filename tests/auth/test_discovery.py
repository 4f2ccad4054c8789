"""Where the keys of an issuer are, by its own document: which addresses are asked, and what is believed of them."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from gateway.auth.discovery import Discovery, FetchFailed, IssuerLocation, document_urls
from gateway.auth.jwks import Jwks, JwksTiming
from gateway.auth.tokens import TokenVerifier
from gateway.errors import AuthUnavailable, TokenInvalid
from tests.auth.attacks import good
from tests.auth.rig import STILL
from tests.support.clock import Clock
from tests.support.tokens import Issuer
from tests.support.waiting import eventually

ISSUER = "https://auth.example/realms/shop"
BELOW = f"{ISSUER}/.well-known/openid-configuration"
BEHIND = "https://auth.example/.well-known/openid-configuration/realms/shop"
OAUTH = "https://auth.example/.well-known/oauth-authorization-server/realms/shop"
KEYS = "https://keys.example/shop.json"


class Web:
    """What is where: documents, statuses, or what is raised. What is nowhere is 404."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []

    def put(self, uri: str, **members: object) -> None:
        self.answers[uri] = json.dumps(members).encode()

    async def fetch(self, uri: str) -> bytes:
        self.asked.append(uri)
        answer = self.answers.get(uri, 404)
        if isinstance(answer, int):
            raise FetchFailed(f"status {answer}", answer)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        assert isinstance(answer, bytes)
        return answer


@pytest.fixture
def web() -> Web:
    found = Web()
    found.put(BELOW, issuer=ISSUER, jwks_uri=KEYS)
    return found


def discovery(web: Web, issuer: str = ISSUER) -> Discovery:
    return Discovery(IssuerLocation(issuer), web.fetch)


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        (ISSUER, [BELOW, BEHIND, OAUTH]),
        (
            "https://a.example",
            [
                "https://a.example/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server",
            ],
        ),
        (
            "https://a.example/",
            [
                "https://a.example/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server",
            ],
        ),
        (
            "http://127.0.0.1:8090/x/",
            [
                "http://127.0.0.1:8090/x/.well-known/openid-configuration",
                "http://127.0.0.1:8090/.well-known/openid-configuration/x",
                "http://127.0.0.1:8090/.well-known/oauth-authorization-server/x",
            ],
        ),
    ],
)
def test_the_document_may_be_below_the_path_or_have_the_path_behind_it(
    issuer: str, expected: list[str]
) -> None:
    assert document_urls(issuer) == expected


@pytest.mark.parametrize(
    ("issuer", "why"),
    [
        ("https://a.example/?p=1", "query"),
        ("https://a.example/x?", "query"),
        ("https://a.example/#x", "fragment"),
        ("https://a.example/#", "fragment"),
        ("https://me:secret@a.example/", "a user in it"),
        ("https://", "no http:// or https://"),
        ("https:///x", "no http:// or https://"),
        ("https://[::1", "no address"),
        ("https://a.example:0", "no http"),
        ("https://a.example:99999", "no address"),
        ("https://a.example/x y", "characters"),
        ("https://a.example/\\x", "characters"),
        ("https://인증.example/", "characters"),
        ("https://a.example/" + "x" * 2048, "longer"),
    ],
)
async def test_an_issuer_that_can_have_no_document_says_so_and_what_to_do(issuer: str, why: str) -> None:
    web = Web()
    with pytest.raises(FetchFailed, match=why) as failure:
        await discovery(web, issuer).key_set(5)
    assert "set JWT_JWKS_URI" in str(failure.value)
    assert "secret" not in str(failure.value)
    assert "secret" not in str(IssuerLocation(issuer))
    assert web.asked == []


@pytest.mark.parametrize("place", [BELOW, BEHIND, OAUTH])
async def test_it_is_found_at_each_place_and_asked_for_there_first_the_next_time(place: str) -> None:
    web = Web()
    web.put(place, issuer=ISSUER, jwks_uri=KEYS)
    finding = discovery(web)
    assert await finding.key_set(5) == KEYS
    assert web.asked == [BELOW, BEHIND, OAUTH][: len(web.asked)]
    assert web.asked[-1] == place
    web.asked.clear()
    assert await finding.key_set(5) == KEYS
    assert web.asked == [place]


def document(**changes: object) -> bytes:
    members = {"issuer": ISSUER, "jwks_uri": KEYS} | changes
    return json.dumps({name: value for name, value in members.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            document(issuer="https://evil.example"),
            "of the issuer 'https://evil.example', which is not the one",
        ),
        (document(issuer=ISSUER + "/"), r"the slash at the end"),
        (document(issuer=ISSUER.upper()), "which is not the one"),
        (document(issuer="https://AUTH.example/realms/shop"), "which is not the one"),
        (document(issuer="https://auth.example:443/realms/shop"), "which is not the one"),
        (document(issuer="https://auth.example/{tenantid}/v2.0"), "all tenants"),
        (document(issuer=None), r"\(none\)"),
        (document(issuer=[ISSUER]), r"\(none\)"),
        (document(issuer="https://me:secret@auth.example/" + "x" * 5000), "which is not the one"),
        (document(jwks_uri=None), "no jwks_uri"),
        (document(jwks_uri=[KEYS]), "no jwks_uri"),
        (document(jwks_uri="http://keys.example/shop.json"), "not https"),
        (document(jwks_uri="HTTP://keys.example/shop.json"), "not https"),
        (document(jwks_uri="file:///etc/passwd"), "no http"),
        (document(jwks_uri="unix:///run/x"), "no http"),
        (document(jwks_uri="/keys"), "no http"),
        (document(jwks_uri="//keys.example/keys"), "no http"),
        (document(jwks_uri="https://"), "no http"),
        (document(jwks_uri="https://me:secret@keys.example/"), "a user in it"),
        (document(jwks_uri="https://keys.example/#x"), "fragment"),
        (document(jwks_uri="https://keys.example/a b"), "characters"),
        (document(jwks_uri="https://keys.example/\r\nX: y"), "characters"),
        (document(jwks_uri="https://keys.example/" + "x" * 2048), "longer"),
        (document(jwks_uri=""), "no http"),
        (b"<html>", "not a JSON object"),
        (b"", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (
            b'{"issuer": "a", "issuer": "' + ISSUER.encode() + b'", "jwks_uri": "' + KEYS.encode() + b'"}',
            "its member issuer occurs twice",
        ),
        (b"[" * 100_000, "not a JSON object"),
        (301, "status 301"),
        (404, "status 404"),
        (401, "status 401"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_document_that_is_not_the_issuers_is_not_believed_and_the_next_place_asked(
    answer: object, why: str
) -> None:
    web = Web()
    web.answers[BELOW] = answer
    with pytest.raises(FetchFailed, match=why) as failure:
        await discovery(web).key_set(5)
    assert web.asked == [BELOW, BEHIND, OAUTH]
    assert "secret" not in str(failure.value)
    assert len(str(failure.value)) < 700
    web.put(OAUTH, issuer=ISSUER, jwks_uri=KEYS)
    assert await discovery(web).key_set(5) == KEYS


@pytest.mark.parametrize(
    "answer", [500, 503, 429, FetchFailed("ClientConnectorError"), OSError(111, "x"), None], ids=str
)
async def test_a_server_that_is_away_is_not_asked_three_times(answer: object) -> None:
    web = Web()
    web.answers[BELOW] = answer
    with pytest.raises((FetchFailed, OSError, TimeoutError)):
        await discovery(web).key_set(0.05)
    assert web.asked == [BELOW]


async def test_a_plain_issuer_may_have_plain_keys_and_a_document_a_byte_order_mark() -> None:
    web = Web()
    there = "http://auth:8090/.well-known/openid-configuration"
    web.answers[there] = b"\xef\xbb\xbf" + document(
        issuer="http://auth:8090", jwks_uri="http://auth:8090/keys"
    )
    assert await discovery(web, "http://auth:8090").key_set(5) == "http://auth:8090/keys"


@pytest.mark.parametrize("answer", [404, 503, document(issuer="https://evil.example"), b"<html>", None])
async def test_what_the_document_said_last_stays_in_force_while_it_cannot_be_read(
    web: Web, answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    finding = discovery(web)
    await finding.key_set(5)
    web.answers[BELOW] = answer
    with caplog.at_level(logging.INFO, logger="gateway.auth"):
        for _ in range(3):
            assert await finding.key_set(0.05) == KEYS
        web.put(BELOW, issuer=ISSUER, jwks_uri="https://keys.example/moved.json")
        assert await finding.key_set(5) == "https://keys.example/moved.json"
    warned, again = caplog.records
    assert (warned.levelname, again.levelname) == ("WARNING", "INFO")
    assert f"the document of the issuer {ISSUER} could not be read: " in warned.getMessage()


# The keys themselves, with the document in front of them.

LOCATION = IssuerLocation(ISSUER)


def keys_of(issuer: Issuer) -> bytes:
    return json.dumps(issuer.jwks()).encode()


def jwks_of(
    web: Web, clock: Clock, timing: JwksTiming = STILL, source: str | IssuerLocation = LOCATION
) -> Jwks:
    return Jwks(source, ("RS256", "ES256"), web.fetch, clock, timing)


async def test_keys_come_from_where_the_document_says_and_each_round_asks_both(
    web: Web, clock: Clock
) -> None:
    issuer = Issuer()
    web.answers[KEYS] = keys_of(issuer)
    jwks = jwks_of(web, clock)
    verifier = TokenVerifier(jwks, issuer=ISSUER, clock=clock)
    async with jwks.running():
        assert await verifier.check(good(issuer, iss=ISSUER))
        with pytest.raises(TokenInvalid, match="iss"):
            await verifier.check(good(issuer, iss="https://evil.example"))
        with pytest.raises(TokenInvalid, match="iss"):
            await verifier.check(good(issuer))
        assert web.asked == [BELOW, KEYS]
        # A rotation, to another place at the same time.
        issuer.rotate(keep=False)
        web.put(BELOW, issuer=ISSUER, jwks_uri="https://keys.example/moved.json")
        web.answers["https://keys.example/moved.json"] = keys_of(issuer)
        assert await verifier.check(good(issuer, iss=ISSUER))
        for _ in range(3):
            with pytest.raises(AuthUnavailable):
                await jwks.key("nobody's", "RS256")
        assert web.asked[2:] == [BELOW, "https://keys.example/moved.json"], "unknown kids ask once in 5 s"
        clock.now += 5
        for _ in range(3):
            with pytest.raises(TokenInvalid, match="unknown kid"):
                await jwks.key("nobody's", "RS256")
        assert len(web.asked) == 6


async def test_an_issuer_that_cannot_be_read_lets_no_one_in_and_says_why(
    web: Web, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = Issuer()
    web.answers[KEYS] = keys_of(issuer)
    web.put(BELOW, issuer="https://evil.example", jwks_uri=KEYS)
    jwks = jwks_of(web, clock)
    verifier = TokenVerifier(jwks, issuer=ISSUER, clock=clock)
    assert jwks.status().discovery_error == f"no keys from the issuer {ISSUER}: not yet asked"
    with caplog.at_level(logging.INFO, logger="gateway.auth"):
        async with jwks.running():
            for _ in range(3):
                with pytest.raises(AuthUnavailable):
                    await verifier.check(good(issuer, iss="https://evil.example"))
            assert KEYS not in web.asked
            reason = jwks.status().discovery_error
            assert reason is not None
            assert (
                "/realms/shop/.well-known/openid-configuration: it is of the issuer 'https://evil" in reason
            )
            (warned,) = caplog.records
            assert warned.getMessage().startswith(reason)
            # It is mended.
            web.put(BELOW, issuer=ISSUER, jwks_uri=KEYS)
            clock.now += 5
            assert await verifier.check(good(issuer, iss=ISSUER))
    assert jwks.status().discovery_error is None


async def test_keys_that_cannot_be_read_behind_a_sound_document_are_told_as_well(
    web: Web, clock: Clock
) -> None:
    web.answers[KEYS] = 500
    jwks = jwks_of(web, clock)
    async with jwks.running():
        with pytest.raises(AuthUnavailable):
            await jwks.key("key-0", "RS256")
    assert jwks.status().discovery_error == f"no keys from the issuer {ISSUER}: status 500"


async def test_keys_stay_and_withdrawals_count_while_the_document_cannot_be_read(
    web: Web, clock: Clock
) -> None:
    issuer = Issuer()
    web.answers[KEYS] = keys_of(issuer)
    jwks = jwks_of(web, clock, JwksTiming(refresh=0.005, retry_with_keys=0.005))
    async with jwks.running():
        await jwks.key("key-0", "RS256")
        web.answers[BELOW] = 503
        issuer.rotate(keep=False)
        web.answers[KEYS] = keys_of(issuer)
        await eventually(lambda: jwks.known_key("key-0", "RS256") is None)
        assert jwks.known_key("key-1", "RS256")
        web.answers[KEYS] = 503
        await eventually(lambda: jwks.status().failures >= 2)
        assert jwks.known_key("key-1", "RS256")
        assert jwks.status().discovery_error is None, "it was read once"


async def test_a_set_address_is_never_asked_through_a_document(web: Web, clock: Clock) -> None:
    web.answers[KEYS] = keys_of(Issuer())
    jwks = jwks_of(web, clock, source=KEYS)
    async with jwks.running():
        await jwks.key("key-0", "RS256")
    assert web.asked == [KEYS]
    assert jwks.status().discovery_error is None


async def test_keys_of_another_issuer_go_at_once_and_come_back_with_it(web: Web, clock: Clock) -> None:
    mine, other = Issuer(), Issuer(key=3)
    web.answers[KEYS] = keys_of(mine)
    jwks = jwks_of(web, clock)
    verifier = TokenVerifier(jwks, issuer=ISSUER, clock=clock)
    async with jwks.running():
        token = good(mine, iss=ISSUER)
        await verifier.check(token)
        web.answers["https://other.example/.well-known/openid-configuration"] = 503
        jwks.set_source(IssuerLocation("https://other.example"), ("RS256",))
        verifier.set_expected("https://other.example", ())
        assert not jwks.keys_known
        assert verifier.cached(token) is None
        for forged in (token, good(mine, iss="https://other.example")):
            with pytest.raises(AuthUnavailable):
                await verifier.check(forged)
        unread = jwks.status().discovery_error
        assert unread == "no keys from the issuer https://other.example: status 503"
        place = "https://other.example/keys"
        web.put(
            "https://other.example/.well-known/openid-configuration",
            issuer="https://other.example",
            jwks_uri=place,
        )
        web.answers[place] = keys_of(other)
        clock.now += 5
        assert await verifier.check(good(other, iss="https://other.example"))
        with pytest.raises(TokenInvalid, match="unknown kid"):
            await verifier.check(good(mine, iss="https://other.example"))


@pytest.mark.parametrize(
    ("before", "after"),
    [(LOCATION, ""), (LOCATION, "https://away.example/keys"), (KEYS, "")],
    ids=["the issuer is gone", "an address follows the issuer", "the address is gone"],
)
async def test_no_key_outlives_its_issuer_or_the_last_source(
    web: Web, clock: Clock, before: str | IssuerLocation, after: str
) -> None:
    mine = Issuer()
    web.answers[KEYS] = keys_of(mine)
    web.answers["https://away.example/keys"] = 503
    jwks = jwks_of(web, clock, source=before)
    verifier = TokenVerifier(jwks, issuer=ISSUER, clock=clock)
    async with jwks.running():
        token = good(mine, iss=ISSUER)
        await verifier.check(token)
        jwks.set_source(after, ("RS256",))
        verifier.set_expected(None, ())
        assert (jwks.keys_known, jwks.status().age) == (False, None)
        for presented in (token, good(mine, iss="https://evil.example")):
            with pytest.raises(AuthUnavailable):
                await verifier.check(presented)


async def test_what_was_asked_of_another_issuer_before_has_no_say(web: Web, clock: Clock) -> None:
    """Its answer comes after the change."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(uri: str) -> bytes:
        if uri == KEYS:
            asked.set()
            await go_on.wait()
        return await web.fetch(uri)

    web.answers[KEYS] = keys_of(Issuer())
    jwks = Jwks(LOCATION, ("RS256",), slow, clock, STILL)
    async with jwks.running():
        await asked.wait()
        jwks.set_source(IssuerLocation("https://other.example"), ("RS256",))
        go_on.set()
        await eventually(lambda: jwks.status().failures == 1)
        assert not jwks.keys_known
        assert "https://other.example" in str(jwks.status().discovery_error)


async def test_without_any_address_there_are_no_keys_and_nothing_is_asked(
    web: Web, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    jwks = jwks_of(web, clock, source="")
    async with jwks.running():
        with pytest.raises(AuthUnavailable):
            await jwks.key("key-0", "RS256")
    assert web.asked == []
    assert [record.getMessage() for record in caplog.records] == [
        "no keys from anywhere: no address is set: set JWT_ISSUER or JWT_JWKS_URI; "
        "calls with a token get 503 until there are some (retrying quietly)"
    ]
