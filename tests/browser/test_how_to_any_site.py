"""docs/how-to/put-a-waiting-room-in-front-of-any-site.md, followed word for word in a fresh folder."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from tests.support.gateway_process import gateway_process
from tests.support.web_server import web_server

pytestmark = [pytest.mark.redis, pytest.mark.timeout(150)]

PAGE = Path(__file__).parents[2] / "docs/how-to/put-a-waiting-room-in-front-of-any-site.md"
SITE, GATEWAY = "127.0.0.1:8101", "localhost:8080"


def blocks(language: str) -> list[str]:
    """All blocks of code in that language."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def exports(script: str) -> dict[str, str]:
    """The environment that a block sets."""
    lines = re.findall(r"^export (.*)$", script, re.MULTILINE)
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


async def shell(script: str, folder: Path, **environ: str) -> str:
    """Runs commands as a reader does; what they print."""
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-o", "pipefail", "-c", script),
        cwd=folder,
        env={"PATH": search, "HOME": str(folder), **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@asynccontextmanager
async def site(command: str, folder: Path) -> AsyncIterator[str]:
    """The web server of the page, on a free port."""
    arguments = command.partition(" > ")[0].replace("8101", "0").split()
    assert arguments[0] == "python3"
    async with web_server(*arguments[1:], folder=folder) as port:
        yield f"127.0.0.1:{port}"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_page_works_as_it_is_written(tmp_path: Path) -> None:
    make, logo, check, start, asked = blocks("sh")
    files, server = make.rstrip("\n").rsplit("\n", 1)
    await shell(files, tmp_path)
    async with site(server, tmp_path) as address:
        (tmp_path / "routes.yaml").write_text(blocks("yaml")[0].replace(SITE, address), encoding="utf-8")
        await shell(logo, tmp_path)
        environ = exports(start)
        # Nothing in it is warned of.
        assert "1 route" in await shell(check, tmp_path, **environ)
        async with gateway_process(environ, tmp_path) as gateway:
            await shell(asked.replace(f"http://{GATEWAY}", gateway.base), tmp_path)
    assert "<h1>The sale</h1>" in (tmp_path / "sale.html").read_text(encoding="utf-8")
    text = (tmp_path / "wait.html").read_text(encoding="utf-8")
    assert "<title>(1) Winter sale</title>" in text
    assert "Two tickets for each person." in text
    assert "data:image/svg+xml;base64," in text
    assert "--light-accent:#7a1f5c" in text
    assert 'data-state="cookies"' in (tmp_path / "cookie.html").read_text(encoding="utf-8")


def test_the_file_is_sound_yaml_with_one_room() -> None:
    [block] = blocks("yaml")
    assert list(yaml.safe_load(block)["rooms"]) == ["default"]
