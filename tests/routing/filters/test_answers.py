"""Routes that decide an answer's status, or the whole answer, seen by a raw client on one connection."""

from __future__ import annotations

import pytest

from tests.support.gateway import Gateways
from tests.support.raw_http import Answer, Client, Peer, Talk, Upstream, connected, raw_upstream, request

ROUTES = """
routes:
  - {id: plain, uri: "%(service)s", predicates: ["Path=/plain"]}
  - {id: found, uri: "no://op", predicates: ["Path=/found"], filters: ["RedirectTo=302, /x"]}
  - {id: unchanged, uri: "no://op", predicates: ["Path=/unchanged"], filters: ["RedirectTo=304, /x"]}
  - {id: ok, uri: "%(service)s", predicates: ["Path=/ok"], filters: [SetStatus=200]}
  - {id: none, uri: "%(service)s", predicates: ["Path=/none"], filters: [SetStatus=204]}
  - {id: reset, uri: "%(service)s", predicates: ["Path=/reset"], filters: [SetStatus=205]}
  - {id: same, uri: "%(service)s", predicates: ["Path=/same"], filters: [SetStatus=NOT_MODIFIED]}
  - {id: missing, uri: "%(service)s", predicates: ["Path=/missing"], filters: [SetStatus=404]}
  - id: large
    uri: "%(service)s"
    predicates: ["Path=/large"]
    filters: [{name: RequestHeaderSize, args: {maxSize: 1B}}]
access:
  public: ["/plain", "/found", "/unchanged", "/ok", "/none", "/reset", "/same", "/missing", "/large"]
"""
PATHS = {
    "/found": 302,
    "/unchanged": 304,
    "/ok": 200,
    "/none": 204,
    "/reset": 205,
    "/same": 304,
    "/missing": 404,
    "/large": 431,
}
SERVICES = {
    "304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    "200": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
}


def by_path(answer: bytes) -> Talk:
    """A service that answers ``/plain`` with a marked body and everything else with ``answer``, without one to HEAD."""

    async def talk(upstream: Upstream, peer: Peer) -> None:
        while True:
            head = await peer.head()
            await peer.body(head)
            method, target, _ = head.line.split(" ")
            said = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nmarked" if target == "/plain" else answer
            peer.send(said.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else said)

    return talk


async def ask(client: Client, method: str, path: str) -> Answer:
    client.send(request(method, path))
    head = await client.head()
    bodiless = method == "HEAD" or head.status in (204, 304)
    return Answer(head.line, head.fields, b"" if bodiless else await client.body(head))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("service", SERVICES)
async def test_what_follows_an_answer_is_the_answer_to_the_next_request(
    service: str, method: str, gateways: Gateways
) -> None:
    async with raw_upstream(by_path(SERVICES[service])) as upstream:
        gateways.service.url = str(upstream.base)
        gateway = await gateways.start(ROUTES)
        async with connected(gateway.base) as client:
            for path, status in PATHS.items():
                got = await ask(client, method, path)
                assert got.status == status
                if method == "GET" and got.status != 304:
                    assert got.all("Content-Length") in ([], [str(len(got.body))]), path
                assert got.all("Connection") == []
                assert (await ask(client, "GET", "/plain")).body == b"marked", path
