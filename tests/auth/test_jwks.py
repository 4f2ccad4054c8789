from __future__ import annotations

import asyncio
import errno
import json
import logging
import threading
from collections.abc import Sequence

import pytest
from aiohttp import ClientSession

from gateway.auth.discovery import http_fetch
from gateway.auth.jwks import Jwks, JwksTiming
from gateway.auth.key_set import KeySet, parse_key_set
from gateway.auth.unknown_kids import MAX_UNKNOWN_KIDS
from gateway.errors import AuthUnavailable, TokenInvalid
from tests.auth.rig import STILL
from tests.support.clock import Clock
from tests.support.tokens import Issuer, KeyServer, jwks_uri, reserved_port, serving
from tests.support.waiting import eventually


@pytest.fixture
def jwks(server: KeyServer, session: ClientSession, clock: Clock) -> Jwks:
    return Jwks(server.uri, ("RS256",), http_fetch(session), clock, STILL)


async def test_a_key_is_found_by_its_kid(jwks: Jwks, server: KeyServer) -> None:
    async with jwks.running():
        key = await jwks.key("key-0", "RS256")
        assert (key.kid, key.algorithm) == ("key-0", "RS256")
        assert jwks.known_key("key-0", "RS256") is key
    assert server.requests == 1


async def test_starting_does_not_wait_for_the_auth_server(jwks: Jwks, server: KeyServer) -> None:
    server.answering.clear()
    async with jwks.running():
        await server.arrived.wait()
        assert not jwks.keys_known


async def test_keys_may_come_from_elsewhere_while_running(jwks: Jwks, server: KeyServer) -> None:
    async with jwks.running(), serving(Issuer(key=5, algorithm="ES256")) as elsewhere:
        await jwks.key("key-0", "RS256")
        elsewhere.answering.clear()
        jwks.set_source(elsewhere.uri, ("ES256",))
        await elsewhere.arrived.wait()
        assert jwks.algorithms == ("ES256",)
        assert jwks.known_key("key-0", "RS256") is not None, "they stay until the other has answered"
        elsewhere.answering.set()
        await eventually(lambda: jwks.generation == 2)
        assert jwks.known_key("key-0", "RS256") is None
        assert jwks.known_key("key-5", "ES256") is not None


async def test_outside_running_nothing_is_fetched(jwks: Jwks, server: KeyServer) -> None:
    with pytest.raises(AuthUnavailable):
        await jwks.key("key-0", "RS256")
    async with jwks.running():
        await jwks.key("key-0", "RS256")
    assert await jwks.key("key-0", "RS256")
    with pytest.raises(TokenInvalid):
        await jwks.key("other", "RS256")
    assert server.requests == 1


async def test_a_thousand_askers_cause_one_fetch(jwks: Jwks, server: KeyServer) -> None:
    server.answering.clear()
    async with jwks.running():
        askers = [asyncio.create_task(jwks.key("key-0", "RS256")) for _ in range(1000)]
        await server.arrived.wait()
        server.answering.set()
        keys = await asyncio.gather(*askers)
    assert len(set(map(id, keys))) == 1
    assert server.requests == 1


async def test_a_thousand_askers_for_an_unknown_kid_cause_one_fetch(jwks: Jwks, server: KeyServer) -> None:
    async with jwks.running():
        await jwks.key("key-0", "RS256")
        server.answering.clear()
        server.arrived.clear()
        askers = [asyncio.create_task(jwks.key("nobody's", "RS256")) for _ in range(1000)]
        await server.arrived.wait()
        server.answering.set()
        results = await asyncio.gather(*askers, return_exceptions=True)
    assert {type(result) for result in results} == {TokenInvalid}
    assert server.requests == 2


async def test_a_caller_that_gives_up_cancels_the_fetch_for_no_other(jwks: Jwks, server: KeyServer) -> None:
    server.answering.clear()
    async with jwks.running():
        impatient = asyncio.create_task(jwks.key("key-0", "RS256"))
        patient = asyncio.create_task(jwks.key("key-0", "RS256"))
        await server.arrived.wait()
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        server.answering.set()
        assert (await patient).kid == "key-0"
    assert server.requests == 1


async def test_a_new_key_is_found_as_soon_as_a_token_names_it(jwks: Jwks, server: KeyServer) -> None:
    async with jwks.running():
        old = await jwks.key("key-0", "RS256")
        generation = jwks.generation
        kid = server.issuer.rotate()
        assert (await jwks.key(kid, "RS256")).kid == kid
        assert jwks.generation == generation + 1
        assert await jwks.key("key-0", "RS256") == old
    assert server.requests == 2


async def test_unknown_kids_cause_a_fetch_every_five_seconds_at_most(
    jwks: Jwks, server: KeyServer, clock: Clock
) -> None:
    async with jwks.running():
        await jwks.key("key-0", "RS256")
        seen = []
        for passed in (0, 0, 4.9, 0.1, 4.9, 0.2):
            clock.now += passed
            with pytest.raises(TokenInvalid):
                await jwks.key("nobody's", "RS256")
            seen.append(server.requests)
    assert seen == [2, 2, 2, 3, 3, 4]


async def test_a_key_that_could_not_be_asked_for_is_not_called_unknown(
    jwks: Jwks, server: KeyServer, clock: Clock
) -> None:
    async with jwks.running():
        await jwks.key("key-0", "RS256")
        kid = server.issuer.rotate()
        server.status = 503
        for passed in (0, 1, 5):
            clock.now += passed
            with pytest.raises(AuthUnavailable):
                await jwks.key(kid, "RS256")
        server.status = 200
        for passed in (1, 1):
            clock.now += passed
            with pytest.raises(AuthUnavailable):
                await jwks.key(kid, "RS256")
        assert server.requests == 3
        clock.now += 5
        with pytest.raises(TokenInvalid):
            await jwks.key("nobody's", "RS256")
        assert (await jwks.key(kid, "RS256")).kid == kid
    assert server.requests == 4


async def test_forged_kids_have_no_new_key_refused(jwks: Jwks, server: KeyServer, clock: Clock) -> None:
    async with jwks.running():
        await jwks.key("key-0", "RS256")
        with pytest.raises(TokenInvalid):
            await jwks.key("forged", "RS256")
        kid = server.issuer.rotate()
        for number in range(2 * MAX_UNKNOWN_KIDS):
            with pytest.raises(AuthUnavailable):
                await jwks.key(f"forged {number}", "RS256")
            if not number % 100:
                with pytest.raises(AuthUnavailable):
                    await jwks.key(kid, "RS256")
        assert server.requests == 2
        assert len(jwks._unknown_kids._since) == MAX_UNKNOWN_KIDS
        assert (await jwks.key("key-0", "RS256")).kid == "key-0"
        clock.now += 5
        assert (await jwks.key(kid, "RS256")).kid == kid
        with pytest.raises(TokenInvalid):
            await jwks.key("forged 2047", "RS256")
    assert server.requests == 3


async def test_a_fetch_under_way_may_be_older_than_the_key(
    jwks: Jwks, server: KeyServer, clock: Clock
) -> None:
    async with jwks.running():
        await jwks.key("key-0", "RS256")
        server.body = json.dumps(server.issuer.jwks()).encode()
        server.answering.clear()
        server.arrived.clear()
        first = asyncio.create_task(jwks.key("nobody's", "RS256"))
        await server.arrived.wait()
        kid = server.issuer.rotate()
        asker = asyncio.create_task(jwks.key(kid, "RS256"))
        await asyncio.sleep(0)
        clock.now += 5
        server.answering.set()
        with pytest.raises(TokenInvalid):
            await first
        server.body = None
        assert (await asker).kid == kid
    assert server.requests == 3


async def test_a_withdrawn_key_is_unknown_at_once(jwks: Jwks, server: KeyServer, clock: Clock) -> None:
    async with jwks.running():
        await jwks.key("key-0", "RS256")
        assert await jwks.key(server.issuer.rotate(keep=False), "RS256")
        server.status = 503
        for passed in (0, 5):
            clock.now += passed
            for number in range(2 * MAX_UNKNOWN_KIDS):
                with pytest.raises(AuthUnavailable):
                    await jwks.key(f"forged {number}", "RS256")
            with pytest.raises(TokenInvalid):
                await jwks.key("key-0", "RS256")


async def test_keys_from_elsewhere_decide_anew_what_is_unknown(
    jwks: Jwks, server: KeyServer, clock: Clock
) -> None:
    async with jwks.running(), serving(Issuer(key=5)) as elsewhere:
        await jwks.key("key-0", "RS256")
        with pytest.raises(TokenInvalid):
            await jwks.key("key-5", "RS256")
        elsewhere.status = 503
        jwks.set_source(elsewhere.uri, ("RS256",))
        with pytest.raises(AuthUnavailable):
            await jwks.key("key-5", "RS256")
        elsewhere.status = 200
        clock.now += 5
        assert (await jwks.key("key-5", "RS256")).kid == "key-5"


async def test_a_kid_too_long_for_any_key_is_not_asked_for(jwks: Jwks, server: KeyServer) -> None:
    async with jwks.running():
        await jwks.key("key-0", "RS256")
        with pytest.raises(TokenInvalid):
            await jwks.key("k" * 256, "RS256")
    assert server.requests == 1


async def test_a_known_kid_for_another_algorithm_is_refused_without_a_fetch(
    server: KeyServer, session: ClientSession
) -> None:
    jwks = Jwks(server.uri, ("RS256", "RS512"), http_fetch(session), timing=STILL)
    async with jwks.running():
        await jwks.key("key-0", "RS256")
        with pytest.raises(TokenInvalid, match="another algorithm"):
            await jwks.key("key-0", "RS512")
    assert server.requests == 1


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (500, None, {}),
        (404, b"", {}),
        (200, b"<html>maintenance</html>", {}),
        (200, b"[]", {}),
        (200, b" " * 300_000, {}),
        (302, None, {"Location": "/.well-known/jwks.json"}),
    ],
)
async def test_keys_are_kept_while_the_auth_server_talks_nonsense(
    jwks: Jwks, server: KeyServer, status: int, body: bytes | None, headers: dict[str, str]
) -> None:
    async with jwks.running():
        await jwks.key("key-0", "RS256")
        server.status, server.body, server.headers = status, body, headers
        with pytest.raises(AuthUnavailable):
            await jwks.key("nobody's", "RS256")
        assert server.requests == 2
        assert jwks.status().failures == 1
        assert (await jwks.key("key-0", "RS256")).kid == "key-0"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[]", "the document is no key set: it is a list and not an object"),
        (
            "{}".encode("utf-16"),
            "the document is no key set: it is in UTF-16 or UTF-32, and JSON is in UTF-8",
        ),
        (b'{"keys": ["secret', "the document is no key set: it is not JSON (line 1, column 11)"),
    ],
)
async def test_a_document_that_is_no_key_set_is_told_in_words(
    jwks: Jwks, server: KeyServer, caplog: pytest.LogCaptureFixture, body: bytes, why: str
) -> None:
    server.body = body
    async with jwks.running():
        await eventually(lambda: jwks.status().failures == 1)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"no keys from {server.uri}: {why}; ")


async def test_without_any_key_no_token_can_be_checked(jwks: Jwks, server: KeyServer) -> None:
    server.status = 503
    async with jwks.running():
        for _ in range(3):
            with pytest.raises(AuthUnavailable):
                await jwks.key("key-0", "RS256")


async def test_an_auth_server_that_comes_up_later_is_found_by_itself(session: ClientSession) -> None:
    sock = reserved_port()
    timing = JwksTiming(first_retry=0.005, retry_without_keys=0.02)
    jwks = Jwks(jwks_uri(sock), ("RS256",), http_fetch(session), timing=timing)
    async with jwks.running():
        await eventually(lambda: jwks.status().failures >= 2)
        async with serving(Issuer(), sock=sock):
            await eventually(lambda: jwks.keys_known)
    assert jwks.status().failures == 0


async def test_a_fetch_that_hangs_is_given_up(server: KeyServer, session: ClientSession) -> None:
    server.answering.clear()
    timing = JwksTiming(fetch=0.02, first_retry=900, retry_without_keys=900)
    jwks = Jwks(server.uri, ("RS256",), http_fetch(session), timing=timing)
    async with jwks.running():
        with pytest.raises(AuthUnavailable):
            await jwks.key("key-0", "RS256")
    assert jwks.status().failures == 1


async def test_keys_are_refreshed_and_the_generation_counts_changes_only(
    server: KeyServer, session: ClientSession
) -> None:
    jwks = Jwks(server.uri, ("RS256",), http_fetch(session), timing=JwksTiming(refresh=0.005))
    async with jwks.running():
        await eventually(lambda: server.requests >= 4)
        assert jwks.generation == 1
        server.issuer.rotate(keep=False)
        await eventually(lambda: jwks.generation == 2)
        assert jwks.known_key("key-1", "RS256") is not None
        assert jwks.known_key("key-0", "RS256") is None


async def test_an_auth_server_that_withdraws_every_key_is_believed(jwks: Jwks, server: KeyServer) -> None:
    async with jwks.running():
        await jwks.key("key-0", "RS256")
        server.body = b'{"keys": []}'
        with pytest.raises(AuthUnavailable):
            await jwks.key("nobody's", "RS256")
        with pytest.raises(AuthUnavailable):
            await jwks.key("key-0", "RS256")
        assert (jwks.keys_known, jwks.generation, jwks.status().failures) == (False, 2, 1)


async def test_a_key_for_encryption_is_worth_no_warning(
    server: KeyServer, session: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    (key,) = server.issuer.jwks()["keys"]
    server.body = json.dumps({"keys": [key, key | {"kid": "e", "use": "enc"}]}).encode()
    jwks = Jwks(server.uri, ("RS256",), http_fetch(session), timing=JwksTiming(refresh=0.005))
    with caplog.at_level(logging.DEBUG, logger="gateway.auth"):
        async with jwks.running():
            await eventually(lambda: server.requests >= 4)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "keys of the key set that are not used: 'e' (its use is not sig)"),
        ("INFO", "keys are now: 'key-0'"),
    ]


async def test_a_set_without_a_usable_key_says_why(
    server: KeyServer, session: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    (key,) = server.issuer.jwks()["keys"]
    server.body = json.dumps({"keys": [key | {"kid": f"e{n}", "use": "enc"} for n in range(12)]}).encode()
    jwks = Jwks(server.uri, ("RS256",), http_fetch(session), timing=JwksTiming(first_retry=0.005))
    with caplog.at_level(logging.WARNING, logger="gateway.auth"):
        async with jwks.running():
            await eventually(lambda: jwks.status().failures >= 1)
    (record,) = caplog.records
    assert "no usable key in the set: 'e0' (its use is not sig), 'e1'" in record.getMessage()
    assert "and 2 more" in record.getMessage()


async def test_unusable_entries_are_counted_and_logged_once(
    server: KeyServer, session: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    server.body = json.dumps({"keys": [{"kty": "oct", "k": "AA"}, *server.issuer.jwks()["keys"]]}).encode()
    jwks = Jwks(server.uri, ("RS256",), http_fetch(session), timing=JwksTiming(refresh=0.005))
    with caplog.at_level(logging.WARNING, logger="gateway.auth"):
        async with jwks.running():
            await eventually(lambda: server.requests >= 4)
    assert jwks.status().skipped == 1
    assert [record.getMessage() for record in caplog.records] == [
        "keys of the key set that are not used: entry 1 "
        "(it holds private members, and a published secret is no key any more)"
    ]


async def test_an_outage_is_one_warning_that_shows_no_password(caplog: pytest.LogCaptureFixture) -> None:
    async def away(_uri: str) -> bytes:
        raise OSError(errno.EHOSTUNREACH, "no route to hidden")

    timing = JwksTiming(first_retry=0.001, retry_without_keys=0.001)
    jwks = Jwks("http://me:hidden@127.0.0.1:1/keys?t=hidden", ("RS256",), away, timing=timing)
    with caplog.at_level(logging.INFO, logger="gateway.auth"):
        async with jwks.running():
            await eventually(lambda: jwks.status().failures >= 5)
    assert [record.getMessage() for record in caplog.records] == [
        "no keys from http://127.0.0.1:1/keys: No route to host (OSError); "
        "calls with a token get 503 until there are some (retrying quietly)"
    ]


async def test_a_fault_of_our_own_is_not_told_as_one_of_the_auth_server(
    server: KeyServer,
    session: ClientSession,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise AttributeError("a library changed")

    timing = JwksTiming(refresh=0.005, first_retry=0.001, retry_without_keys=0.001, retry_with_keys=0.001)
    jwks = Jwks(server.uri, ("RS256",), http_fetch(session), timing=timing)
    with caplog.at_level(logging.WARNING, logger="gateway.auth"):
        async with jwks.running():
            await eventually(lambda: jwks.keys_known)
            monkeypatch.setattr("gateway.auth.jwks.parse_key_set", broken)
            await eventually(lambda: jwks.status().failures >= 3)
            assert jwks.known_key("key-0", "RS256")
    first, second = caplog.records
    assert first.exc_info
    assert "a library changed" in str(first.exc_info[1])
    assert "a fault of the gateway itself (AttributeError)" in second.getMessage()


async def test_calls_that_still_wait_at_the_end_are_released(jwks: Jwks, server: KeyServer) -> None:
    server.answering.clear()
    async with jwks.running():
        asker = asyncio.create_task(jwks.key("key-0", "RS256"))
        await server.arrived.wait()
    with pytest.raises(AuthUnavailable):
        await asker


async def test_the_status_tells_how_old_the_keys_are(jwks: Jwks, clock: Clock) -> None:
    assert jwks.status().age is None
    async with jwks.running():
        await jwks.key("key-0", "RS256")
        clock.now += 42
        status = jwks.status()
    assert (status.keys, status.skipped, status.age, status.failures) == (1, 0, 42.0, 0)


@pytest.mark.parametrize("algorithms", [(), ("HS256",), ("none",), ("RS256", "HS256"), ("RSA-OAEP",)])
def test_only_asymmetric_algorithms_can_be_allowed(algorithms: tuple[str, ...]) -> None:
    async def never(_uri: str) -> bytes:
        raise AssertionError

    with pytest.raises(ValueError, match="algorithms"):
        Jwks("http://127.0.0.1:1/", algorithms, never)


@pytest.mark.parametrize(
    ("failures", "with_keys", "expected"),
    [
        (0, True, 300.0),
        (1, False, 0.25),
        (2, False, 0.5),
        (4, False, 2.0),
        (9, False, 5.0),
        (10**6, False, 5.0),
        (1, True, 0.25),
        (10**6, True, 60.0),
    ],
)
async def test_retries_start_quick_and_slow_down(
    jwks: Jwks, failures: int, with_keys: bool, expected: float
) -> None:
    if with_keys:
        async with jwks.running():
            await jwks.key("key-0", "RS256")
    jwks._timing, jwks._failures = JwksTiming(), failures
    assert 0.9 * expected <= jwks._next_delay() <= expected


async def test_reading_many_keys_holds_up_nothing_else(jwks: Jwks, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def slow(document: bytes, algorithms: Sequence[str]) -> KeySet:
        assert go_on.wait(20), "the loop was held"
        return parse_key_set(document, algorithms)

    monkeypatch.setattr("gateway.auth.jwks.parse_key_set", slow)
    async with jwks.running():
        asker = asyncio.create_task(jwks.key("key-0", "RS256"))
        await asyncio.sleep(0.1)
        go_on.set()
        assert (await asker).kid == "key-0"
