"""What is asked of a Config Server, over real HTTP, and what becomes of bad answers."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDictProxy

from gateway.discovery.config_server.fetch import ConfigRequest, http_fetcher, places
from gateway.discovery.config_server.response import MAX_BYTES, parse_response
from gateway.errors import ConfigUnavailable, ConfigUnusable
from tests.support.certificates import certificate
from tests.support.config_server import ConfigServerStub, config_server
from tests.support.listening import listening
from tests.support.tokens import private_pem


@pytest.fixture
async def server() -> AsyncIterator[ConfigServerStub]:
    async with config_server() as stub:
        yield stub


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        (ConfigRequest((), "gateway-server"), "gateway-server/default"),
        (ConfigRequest((), "gw", ("prod", "dev")), "gw/prod,dev"),
        (ConfigRequest((), "gw", (), ("main",)), "gw/default/main"),
        (ConfigRequest((), "gw", (), ("feature/x y",)), "gw/default/feature(_)x%20y"),
        (ConfigRequest((), "gw", ("../admin",)), "gw/..%2Fadmin"),
        (ConfigRequest((), "gw", (), ("a?b#c",)), "gw/default/a%3Fb%23c"),
    ],
)
def test_the_path_says_who_asks_and_for_what(wanted: ConfigRequest, path: str) -> None:
    assert wanted.paths == (path,)


def test_each_label_has_a_path() -> None:
    assert ConfigRequest((), "gw", labels=("a/b", "c")).paths == ("gw/default/a(_)b", "gw/default/c")


async def test_labels_are_tried_in_turn_while_the_server_has_none_of_them(
    server: ConfigServerStub, session: aiohttp.ClientSession
) -> None:
    server.say({"a": 1})
    server.labels = {"main": 200}
    answer = parse_response(
        await http_fetcher(session, ConfigRequest((server.url,), "gw", labels=("feature/x", "main", "old")))()
    )
    assert answer.label == "main"
    assert [path for path, _ in server.asked] == ["/gw/default/feature(_)x", "/gw/default/main"]
    server.labels = {"old": 200}
    assert (
        parse_response(
            await http_fetcher(session, ConfigRequest((server.url,), "gw", labels=("x", "old")))()
        ).label
        == "old"
    )
    with pytest.raises(ConfigUnavailable, match=r"label x: status 404 .*; label y: status 404"):
        await http_fetcher(session, ConfigRequest((server.url,), "gw", labels=("x", "y")))()


@pytest.mark.parametrize("status", [401, 500, 503])
async def test_a_server_that_fails_for_one_label_is_not_asked_for_the_next(
    status: int, server: ConfigServerStub, session: aiohttp.ClientSession
) -> None:
    server.say({"a": 1})
    server.labels = {"feature": status, "main": 200}
    with pytest.raises(ConfigUnavailable, match=f"label feature: status {status}"):
        await http_fetcher(session, ConfigRequest((server.url,), "gw", labels=("feature", "main")))()
    assert len(server.asked) == 1


async def test_of_several_servers_each_is_asked_for_a_label_before_the_next_label(
    server: ConfigServerStub, session: aiohttp.ClientSession
) -> None:
    async with config_server() as other:
        for each in (server, other):
            each.say({"a": 1})
        server.labels, other.labels = {"main": 200}, {"feature": 200, "main": 200}
        wanted = ConfigRequest((server.url, other.url), "gw", labels=("feature", "main"))
        assert parse_response(await http_fetcher(session, wanted)()).label == "feature"
        other.labels = {"feature": 500, "main": 200}
        assert parse_response(await http_fetcher(session, wanted)()).label == "main"


async def test_the_format_with_lines_is_asked_for(
    server: ConfigServerStub, session: aiohttp.ClientSession
) -> None:
    server.say({"a": 1})
    body = await http_fetcher(session, ConfigRequest((server.url + "/",), "gw", ("p",), ("l",)))()
    assert parse_response(body).sources[0].properties["a"].line == 1
    path, accept = server.asked[0]
    assert path == "/gw/p/l"
    assert accept.startswith("application/vnd.spring-cloud.config-server.v2+json")


@pytest.mark.parametrize("given", ["settings", "address", "both"])
async def test_user_and_password_come_from_the_settings_or_the_address(
    given: str, server: ConfigServerStub, session: aiohttp.ClientSession
) -> None:
    server.credentials = ("u@x", "p:ä/")
    server.say({"a": 1})
    url = server.url.replace("//", "//u%40x:p%3A%C3%A4%2F@" if given == "address" else "//other:wrong@")
    if given == "settings":
        url = server.url
    user, password = ("", "") if given == "address" else server.credentials
    wanted = ConfigRequest((url,), "gw", user=user, password=password)
    assert parse_response(await http_fetcher(session, wanted)())
    assert "p:ä" not in repr(wanted) or given == "address"


async def test_a_password_is_never_in_a_reason(
    server: ConfigServerStub, session: aiohttp.ClientSession
) -> None:
    server.credentials = ("u", "p")
    url = server.url.replace("//", "//u:secret@")
    with pytest.raises(ConfigUnavailable, match="user or password is wrong") as error:
        await http_fetcher(session, ConfigRequest((url,), "gw"))()
    assert "secret" not in str(error.value)
    assert places((url, "http://a:b@c/d?e=f")) == f"{server.url}, http://c/d"


@pytest.mark.parametrize("status", [301, 302, 307, 404, 500])
async def test_any_other_answer_is_none_and_redirects_are_not_followed(
    status: int, server: ConfigServerStub, session: aiohttp.ClientSession
) -> None:
    server.status = status
    with pytest.raises(ConfigUnavailable, match=f"status {status}"):
        await http_fetcher(session, ConfigRequest((server.url,), "gw"))()
    assert len(server.asked) == 1


@asynccontextmanager
async def saying(answer: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that answers each request with these bytes and ends the connection."""

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(answers, "127.0.0.1", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http{'s' * (tls is not None)}://127.0.0.1:{port}"


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 5000\r\n\r\n{",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ],
)
async def test_a_broken_answer_is_an_answer_and_no_server_that_is_away(
    answer: bytes, session: aiohttp.ClientSession
) -> None:
    async with saying(answer) as url:
        with pytest.raises(ConfigUnusable, match="its answer breaks off or is no HTTP"):
            await http_fetcher(session, ConfigRequest((url,), "gw"))()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_a_server_that_ends_before_its_answer_is_away(
    answer: bytes, session: aiohttp.ClientSession
) -> None:
    async with saying(answer) as url:
        with pytest.raises(ConfigUnavailable, match="it can't be reached") as error:
            await http_fetcher(session, ConfigRequest((url,), "gw"))()
    assert not isinstance(error.value, ConfigUnusable)


async def test_a_server_whose_certificate_is_not_trusted_is_there_all_the_same(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    pem = private_pem("ES256", 0)
    shown = f"-----BEGIN CERTIFICATE-----\n{certificate(pem)}\n-----END CERTIFICATE-----\n"
    (tmp_path / "both.pem").write_text(pem + shown)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "both.pem")
    async with saying(OK + b"Content-Length: 0\r\n\r\n", tls) as url:
        with pytest.raises(ConfigUnusable, match="its certificate is not trusted"):
            await http_fetcher(session, ConfigRequest((url,), "gw"))()


async def test_what_speaks_no_tls_is_there_all_the_same(
    server: ConfigServerStub, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(ConfigUnusable, match="or it does not speak TLS"):
        await http_fetcher(session, ConfigRequest((server.url.replace("http:", "https:"),), "gw"))()


async def test_servers_are_tried_in_order(server: ConfigServerStub, session: aiohttp.ClientSession) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening: refuses
        away = f"http://127.0.0.1:{taken.getsockname()[1]}"
        server.say({"a": 1})
        assert parse_response(await http_fetcher(session, ConfigRequest((away, server.url), "gw"))()).sources
        server.status = 500
        with pytest.raises(
            ConfigUnavailable, match=r"server 1: it can't be reached .*; server 2: status 500"
        ):
            await http_fetcher(session, ConfigRequest((away, server.url), "gw"))()


async def test_an_answer_without_end_is_cut_off(session: aiohttp.ClientSession) -> None:
    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(MAX_BYTES // 65536 + 1000):
            try:
                await response.write(b" " * 65536)
            except ConnectionError:
                break
        return response

    async with listening(web.ServerRunner(web.Server(endless))) as url:
        with pytest.raises(ConfigUnavailable, match="more than"):
            await http_fetcher(session, ConfigRequest((url,), "gw"))()


async def test_a_server_that_does_not_answer_is_given_up(session: aiohttp.ClientSession) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConfigUnavailable, match=r"no answer within 0\.1 s"):
            await http_fetcher(session, ConfigRequest((url,), "gw", seconds=0.1))()


async def test_a_server_that_takes_no_connection_is_given_up(session: aiohttp.ClientSession) -> None:
    # Its queue of connections is full, so that a further one hangs.
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        with pytest.raises(ConfigUnavailable, match=r"no connection within 0\.1 s"):
            await http_fetcher(session, ConfigRequest((url,), "gw", connect_seconds=0.1))()


async def test_headers_and_token_of_the_settings_are_sent(session: aiohttp.ClientSession) -> None:
    seen: list[CIMultiDictProxy[str]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append(request.headers)
        return web.json_response({"name": "gw", "propertySources": []})

    wanted = ConfigRequest(
        (), "gw", headers=(("X-Tenant", "tickets"), ("accept", "application/json")), token="t"
    )
    async with listening(web.ServerRunner(web.Server(answer))) as url:
        await http_fetcher(session, replace(wanted, urls=(url,)))()
    (headers,) = seen
    assert (headers["X-Tenant"], headers["X-Config-Token"]) == ("tickets", "t")
    assert headers.getall("Accept") == ["application/json"]
    assert "Authorization" not in headers
    assert "tickets" not in repr(wanted)


async def test_servers_that_hang_take_the_time_of_one(
    server: ConfigServerStub, session: aiohttp.ClientSession
) -> None:
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        urls = tuple(f"http://127.0.0.1:{each.getsockname()[1]}" for each in silent)
        began = loop.time()
        with pytest.raises(ConfigUnavailable, match=r"(server \d: no answer within 0.6 s(; )?){4}"):
            await http_fetcher(session, ConfigRequest(urls, "gw", seconds=0.6))()
        assert loop.time() - began < 2
        server.say({"a": 1})
        assert parse_response(
            await http_fetcher(session, ConfigRequest((*urls[:2], server.url), "gw", seconds=3))()
        ).sources
        # One has said that it has no such label, and the others say nothing.
        server.labels = {"main": 200}
        wanted = ConfigRequest((urls[0], server.url, urls[1]), "gw", labels=("feature", "main"), seconds=3)
        assert parse_response(await http_fetcher(session, wanted)()).label == "main"
