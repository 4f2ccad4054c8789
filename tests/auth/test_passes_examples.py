"""docs/how-to/check-passes.md: each example takes real passes of a real gateway, and nothing else."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import aiohttp
import pytest
from jose import jwt

from gateway.app import KEY_RING
from gateway.auth.signing import SigningKey, generate_private_key
from tests.support.gateway import Gateways, Running
from tests.support.tokens import b64

PAGE = (Path(__file__).parents[2] / "docs/how-to/check-passes.md").read_text(encoding="utf-8")
MODULE = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")
USER = 'kim "\\\\ 가'
SECONDS = 60.0


def block(language: str, number: int = 0) -> str:
    """An example of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)[number]


@dataclass
class Issued:
    """What the examples are given: one real pass, and what only looks like one."""

    url: str
    good: str
    bad: dict[str, str]


@pytest.fixture
async def issued(gateways: Gateways) -> Issued:
    gateway = await gateways.start(**{"pass": "true", "pass_issuer": "shop"})
    url = f"{gateway.base}/api/v1/queue/pass-keys.json"
    await gateway.keys_known()
    good = (await gateway.user(USER).lineup()).json["pass"]
    return Issued(url, good, bad_passes(gateway, good))


def bad_passes(gateway: Running, good: str) -> dict[str, str]:
    key, other = gateway.app[KEY_RING].signing_key(), SigningKey(generate_private_key())
    assert key is not None
    head, body, signature = good.split(".")
    claims = jwt.get_unverified_claims(good)
    typ = "queue-pass+jwt"
    none = b64(b'{"alg":"none","kid":"%s","typ":"queue-pass+jwt"}' % key.id.encode())
    hs256 = b64(b'{"alg":"HS256","kid":"%s","typ":"queue-pass+jwt"}' % key.id.encode())
    return {
        "empty": "",
        "garbage": "a.b.c",
        "two parts": f"{head}.{body}",
        "four parts": f"{good}.x",
        "no signature": f"{head}.{body}.",
        "another signature": f"{head}.{body}.{key.sign(typ, claims | {'sub': 'lee'}).split('.')[2]}",
        "changed claims": f"{head}.{b64(b'{}')}.{signature}",
        "long signature": f"{good}AAAA",
        "without algorithm": f"{none}.{body}.",
        "another algorithm": f"{hs256}.{body}.{signature}",
        "another key": other.sign(typ, claims),
        "a receipt": key.sign("queue-receipt+jwt", claims),
        "another issuer": key.sign(typ, claims | {"iss": "other"}),
        "another room": key.sign(typ, claims | {"aud": "vip"}),
        "over": key.sign(typ, claims | {"exp": int(time.time()) - 31}),
    }


Check = Callable[[str], Awaitable[str | None]]
"""The user whom an example admits with this pass."""


async def output(*command: str | Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    assert err == b"", err.decode()
    return process.returncode or 0, out.decode().removesuffix("\n")


def command(*words: str | Path, url: str) -> Check:
    async def check(token: str) -> str | None:
        status, out = await output(*words, url, "shop", "default", token)
        assert (out == "no pass") == (status == 1), (status, out)
        return out if status == 0 else None

    return check


async def assert_tells_passes_apart(check: Check, issued: Issued) -> None:
    assert await check(issued.good) == USER
    admitted = {name: await check(token) for name, token in issued.bad.items()}
    assert admitted == dict.fromkeys(issued.bad)


async def test_the_example_in_python(issued: Issued, tmp_path: Path) -> None:
    program = tmp_path / "check_pass.py"
    program.write_text(block("python"))
    await assert_tells_passes_apart(command(sys.executable, program, url=issued.url), issued)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
async def test_the_example_in_node(issued: Issued, tmp_path: Path) -> None:
    program = tmp_path / "check-pass.mjs"
    program.write_text(block("js"))
    await assert_tells_passes_apart(command("node", program, url=issued.url), issued)


@pytest.mark.skipif(shutil.which("javac") is None, reason="a JDK is not installed")
async def test_the_example_in_java(issued: Issued, tmp_path: Path) -> None:
    source = tmp_path / "CheckPass.java"
    source.write_text(block("java"))
    assert await output("javac", "-encoding", "UTF-8", "-d", tmp_path, source) == (0, "")
    java = ("java", "-Dstdout.encoding=UTF-8", "-Dfile.encoding=UTF-8", "-cp", tmp_path, "CheckPass")
    await assert_tells_passes_apart(command(*java, url=issued.url), issued)


@asynccontextmanager
async def nginx(folder: Path, keys: str, site: str, port: int) -> AsyncIterator[None]:
    """NGINX with the configuration of the page; only addresses, the cache's folder and the port are others."""
    (folder / "pass.js").write_text(block("js", 1))
    inside = (
        block("nginx", 0)
        .replace("/var/cache/nginx", str(folder))
        .replace("from pass.js", f"from {folder}/pass.js")
    )
    server = block("nginx", 1).replace("http://127.0.0.1:9000", site)
    server = server.replace("http://127.0.0.1:8080/api/v1/queue/pass-keys.json", keys)
    paths = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"user root; daemon off; pid {folder}/pid; error_log {folder}/error.log warn; load_module {MODULE};"
        f"events {{}} http {{ access_log off; {paths} {inside} server {{ listen 127.0.0.1:{port}; {server} }} }}"
    )
    executable = shutil.which("nginx") or "/usr/sbin/nginx"
    process = await asyncio.create_subprocess_exec(
        executable, "-c", str(folder / "nginx.conf"), "-e", "stderr"
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.skipif(not MODULE.exists(), reason="njs (libnginx-mod-http-js) is not installed")
async def test_the_example_for_nginx(
    issued: Issued, gateways: Gateways, tmp_path: Path, unused_tcp_port: int
) -> None:
    site, base = gateways.service, f"http://127.0.0.1:{unused_tcp_port}"
    async with (
        nginx(tmp_path, issued.url, site.url, unused_tcp_port),
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):

        async def ask(cookie: str) -> str | None:
            site.seen.clear()
            until = time.monotonic() + SECONDS
            while True:
                try:
                    async with session.get(f"{base}/page", headers={"Cookie": cookie}) as answer:
                        assert answer.status in (200, 403)
                        assert (answer.status == 200) == bool(site.seen)
                        break
                except aiohttp.ClientConnectorError:
                    assert time.monotonic() < until
                    await asyncio.sleep(0.05)
            users = (
                [value for name, value in site.seen[0]["headers"] if name == "X-Queue-User"]
                if site.seen
                else []
            )
            return unquote(users[0]) if users else None

        async def check(token: str) -> str | None:
            return await ask(f"a=b; queue-pass={token}; c=d")

        await assert_tells_passes_apart(check, issued)
        assert await ask("a=b") is None
        assert await ask(f"queue-pass={issued.good}; queue-pass={issued.good}") is None
        async with session.get(f"{base}/pass-keys.json") as answer:
            assert answer.status == 404


def test_the_page_has_every_example() -> None:
    languages: dict[str, Any] = {}
    for language in re.findall(r"^```(\w+)\n", PAGE, re.M):
        languages[language] = languages.get(language, 0) + 1
    assert languages == {"python": 1, "js": 2, "java": 1, "nginx": 2}
