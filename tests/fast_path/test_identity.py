"""Who calls, and what a client says about itself: both gateways believe, refuse and pass on the same."""

from __future__ import annotations

import time

import pytest

from tests.fast_path.rig import Pair, one
from tests.hostile.test_identity import SPELLINGS
from tests.support.tokens import Issuer

pytestmark = pytest.mark.asyncio(loop_scope="package")

CALLS = (
    "GET /open/a",
    "GET /private/a",
    "POST /private/a",
    "POST /api/v1/reservations",
    "GET /tickets/a",
    "GET /api/v1/queue/status",
    "POST /api/v1/queue/lineup?room=nowhere",
    "GET /api/v1/queue/stream?room=nowhere",
    "POST /api/v1/queue/leave",
    "DELETE /api/v1/queue/waiting-token",
    "GET /nothing/here",
    "OPTIONS /private/a",
)


def authorization(value: str) -> bytes:
    return f"Authorization: {value}\r\n".encode()


def identities(pair: Pair) -> dict[str, bytes]:
    """Headers by which a caller could be known, or not."""
    issuer = pair.gateways.issuer
    token, other = issuer.token("nobody"), issuer.token("another")
    forger = Issuer(key=99, kid=issuer.kid)
    return {
        "none": b"",
        "known": authorization(f"Bearer {token}"),
        "in small letters": authorization(f"bearer {token}"),
        "new": authorization(f"Bearer {issuer.token('nobody', number=time.perf_counter_ns())}"),
        "of an odd user": authorization(f"Bearer {issuer.token('ü x')}"),
        "of a user with a line end": authorization(f"Bearer {issuer.token('a' + chr(10) + 'b')}"),
        "without a user": authorization(f"Bearer {issuer.token(None)}"),
        "of another type": authorization(f"Bearer {issuer.token('nobody', userType='ADMIN')}"),
        "without a type": authorization(f"Bearer {issuer.token('nobody', userType=None)}"),
        "expired": authorization(f"Bearer {issuer.token('nobody', exp=int(time.time()) - 3600)}"),
        "not valid yet": authorization(f"Bearer {issuer.token('nobody', nbf=int(time.time()) + 3600)}"),
        "of an unknown key": authorization(f"Bearer {issuer.token('nobody', headers={'kid': 'unknown'})}"),
        "without a key": authorization(f"Bearer {issuer.token('nobody', headers={'kid': None})}"),
        "without algorithm": authorization(f"Bearer {issuer.token('nobody', headers={'alg': 'none'})}"),
        "forged": authorization(f"Bearer {forger.token('nobody')}"),
        "cut": authorization(f"Bearer {token[:-5]}"),
        "garbage": authorization("Bearer garbage"),
        "empty": authorization("Bearer "),
        "blank": authorization(""),
        "of another scheme": authorization("Basic eDp5"),
        "with spaces": authorization(f"Bearer   {token}  "),
        "twice": authorization(f"Bearer {token}") * 2,
        "two of them": authorization(f"Bearer {token}") + authorization(f"Bearer {other}"),
        "a bad one first": authorization("Bearer garbage") + authorization(f"Bearer {token}"),
        "in a cookie": f"Cookie: a=b; access_token={token}; c=d\r\n".encode(),
        "a bad one in a cookie": b"Cookie: access_token=garbage\r\n",
        "in cookie and header": authorization(f"Bearer {token}")
        + f"Cookie: access_token={other}\r\n".encode(),
        "in an odd name": f"Authorization_: Bearer {token}\r\n".encode(),
        "named in Connection": authorization(f"Bearer {token}") + b"Connection: Authorization\r\n",
        "with bytes": b"Authorization: Bearer \xff\xfe\r\n",
    }


@pytest.mark.parametrize("call", CALLS)
async def test_identities(usual: Pair, ruled: Pair, call: str) -> None:
    for pair in (usual, ruled):
        made = identities(pair)
        await pair.compare_all({name: one(call, header) for name, header in made.items()})


async def test_tokens_in_the_query(usual: Pair) -> None:
    token = usual.gateways.issuer.token("nobody")
    for path in ("/private/a", "/api/v1/queue/status", "/open/a", "/api/v1/queue/stream"):
        await usual.compare(one(f"GET {path}?access_token={token}"))


@pytest.mark.parametrize("name", SPELLINGS)
async def test_what_a_client_says_about_itself(usual: Pair, ruled: Pair, name: str) -> None:
    line = f"{name}: mallory\r\n".encode()
    named = f"Connection: {name}, keep-alive\r\n".encode()
    for pair in (usual, ruled):
        who = pair.bearer("somebody")
        for headers in ((line,), (line, line.lower()), (line, named), (named,), (who, line, named)):
            outcome = await pair.compare(one("GET /open/a", *headers))
            if pair is usual:
                assert b"mallory" not in outcome.seen[0][0]


FORWARDED = (
    b"X-Forwarded-For: 203.0.113.7\r\n",
    b"X-Forwarded-For: 203.0.113.7, 127.0.0.2\r\n",
    b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 198.51.100.1\r\n",
    b"X-Forwarded-For: garbage, , 1\r\n",
    b"X-Forwarded-For: [2001:db8::1]:77\r\n",
    b"X-Forwarded-Proto: https\r\n",
    b"X-Forwarded-Proto: https, http\r\nX-Forwarded-For: 203.0.113.7, 127.0.0.2\r\n",
    b"X-Forwarded-Proto: gopher\r\n",
    b"X-Forwarded-Host: shop.example\r\nX-Forwarded-Port: 8443\r\n",
    b"X-Forwarded-Host: a b\r\nX-Forwarded-Port: 99999\r\n",
    b"X-Forwarded-Prefix: /shop\r\n",
    b"X-Forwarded-Prefix: ../\r\n",
    b'Forwarded: for=203.0.113.7;proto=https;host="shop.example"\r\n',
    b'Forwarded: for="[2001:db8::1]:77", for=127.0.0.2\r\n',
    b"Forwarded: garbage\r\n",
    b"Forwarded: for=203.0.113.7\r\nX-Forwarded-For: 198.51.100.1\r\n",
    b"X-Real-IP: 203.0.113.7\r\n",
    b"Connection: X-Forwarded-For, Forwarded\r\nX-Forwarded-For: 203.0.113.7\r\n",
)


@pytest.mark.parametrize("headers", FORWARDED)
@pytest.mark.parametrize("target", ["/open/a", "/told/a", "/x/open/a", "/preserved/open/a"])
async def test_headers_of_proxies(usual: Pair, ruled: Pair, target: str, headers: bytes) -> None:
    """One pair trusts the peer, the other does not."""
    for pair in (usual, ruled):
        await pair.compare_all([one(f"GET {target}", headers), one("GET /private/a", headers)])


HEADERS = {
    "hop by hop": b"Keep-Alive: timeout=5\r\nProxy-Authorization: Basic eDp5\r\nTE: trailers\r\nTrailer: A\r\n",
    "of an upgrade to h2c": b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMA\r\n",
    "an upgrade that is not named": b"Upgrade: websocket\r\n",
    "an upgrade that is only named": b"Connection: Upgrade\r\n",
    "a name in Connection": b"Connection: X-Inner, close\r\nX-Inner: 1\r\nX-Mine: 2\r\n",
    "a gateway's name in Connection": b"Connection: X-User-Id, Host, Content-Length\r\n",
    "close": b"Connection: close\r\n",
    "close in odd case": b"connection: CLOSE\r\n",
    "close and keep-alive": b"Connection: close, keep-alive\r\n",
    "keep-alive": b"Connection: keep-alive\r\n",
    "Connection twice": b"Connection: keep-alive\r\nConnection: close\r\n",
    "an empty Connection": b"Connection:\r\n",
    "Proxy-Connection": b"Proxy-Connection: close\r\n",
    "another method": b"X-HTTP-Method-Override: DELETE\r\nX-Original-URL: /admin\r\n",
    "odd bytes": b"X-A: \xe9\xff\x85\xa0\r\nX-B: \tb \t\r\nX-C:\r\n",
    "odd names": b"x!#$%&'*+-.^_`|~9: a\r\nX_Y: b\r\n",
    "the same name three times": b"X-A: 1\r\nx-a: 2\r\nX-A: 3\r\n",
    "ninety headers": b"".join(b"X-A%d: b\r\n" % number for number in range(90)),
    "a hundred headers": b"".join(b"X-A%d: b\r\n" % number for number in range(100)),
    "a head of 7,000 bytes": b"X-A: " + b"b" * 7000 + b"\r\n",
    "a head of 30,000 bytes": b"".join(b"X-A%d: %b\r\n" % (number, b"b" * 3000) for number in range(10)),
    "a head of 63,000 bytes": b"".join(b"X-A%d: %b\r\n" % (number, b"b" * 7000) for number in range(9)),
    "cookies": b"Cookie: a=b; c=d\r\nCookie: e=f\r\n",
    "a language": b"Accept-Language: en\r\n",
    "languages": b"Accept-Language: fr, ko;q=0.5, en;q=0.1\r\n",
    "a broken language": b"Accept-Language: ;;q=x\r\n",
    "a trace": b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
    "a trace that is not sampled": b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n",
    "a broken trace": b"traceparent: 00-0-0-0\r\n",
    "a state of a trace": (
        b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\ntracestate: a=b\r\n"
    ),
    "a trace in another form": b"b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1\r\n",
    "a trace id": b"X-Trace-Id: mine\r\n",
    "ranges and conditions": b'Range: bytes=0-1\r\nIf-None-Match: "a"\r\nIf-Modified-Since: never\r\n',
    "a type and a coding": b"Content-Type: text/plain\r\nContent-Encoding: gzip\r\nAccept-Encoding: gzip, br\r\n",
    "a length in an odd form": b"Content-Length: 000\r\n",
}


@pytest.mark.parametrize("name", HEADERS)
async def test_headers_of_clients(usual: Pair, ruled: Pair, name: str) -> None:
    for pair in (usual, ruled):
        for call in (
            "GET /open/a",
            "POST /open/a",
            "GET /private/a",
            "GET /api/v1/queue/status",
            "GET /edited/a/b",
        ):
            await pair.compare(one(call, HEADERS[name]))
