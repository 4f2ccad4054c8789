"""An installation without the extra ``demo``: the import of ``rich`` fails, and only the demo needs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.support.gateway_process import gateway_process

ROOT = Path(__file__).parents[2]
NEED_RICH = {"gateway.demo.display", "gateway.demo.run"}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python in which ``import rich`` fails as if it were not installed."""
    folder = tmp_path / "blocked"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['rich'] = None\n")
    return {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))), "PATH": os.environ["PATH"]}


def python(*arguments: str, environ: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


async def test_the_gateway_starts_and_answers(tmp_path: Path, environ: dict[str, str]) -> None:
    assert "ModuleNotFoundError" in python("-c", "import rich", environ=environ, cwd=tmp_path).stderr
    async with (
        gateway_process(environ | {"REDIS_URL": "unix:///nobody.sock"}, tmp_path) as running,
        aiohttp.ClientSession() as http,
        http.get(f"{running.base}/actuator/health/liveness") as response,
    ):
        assert response.status == 200


@pytest.mark.parametrize("arguments", [["check"], ["routes"], ["--help"], ["demo", "--help"]], ids=" ".join)
def test_the_other_commands_work(tmp_path: Path, environ: dict[str, str], arguments: list[str]) -> None:
    done = python("-m", "gateway", *arguments, environ=environ, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_the_demos_run_and_display_import_it(tmp_path: Path, environ: dict[str, str]) -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "gateway").rglob("*.py")
        if path.stem not in ("__init__", "__main__")
    }
    assert modules >= NEED_RICH
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        print(name, error.name.partition('.')[0])\n"
    )
    done = python("-c", code, *sorted(modules), environ=environ, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert dict(line.split() for line in done.stdout.splitlines()) == dict.fromkeys(NEED_RICH, "rich")


def test_the_demo_says_in_one_line_what_to_install(tmp_path: Path, environ: dict[str, str]) -> None:
    done = python("-m", "gateway", "demo", environ=environ, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(
        r"gateway demo needs rich, which is not installed; to install it: "
        rf"{re.escape(sys.executable)} -m pip install 'waiting-room-gateway\[demo]', or '\.\[demo]' in a checkout",
        line,
    )


def test_an_installation_has_rich_only_with_the_extra() -> None:
    """What `pip` installs without extras is what `gateway serve` needs."""
    setup = (ROOT / "setup.cfg").read_text()
    required, extras = setup.split("[options.extras_require]")
    assert "rich" not in required
    (demo,) = re.findall(r"^demo =\n((?:    .*\n)+)", extras, re.MULTILINE)
    (embedded,) = re.findall(r"^embedded =\n((?:    .*\n)+)", extras, re.MULTILINE)
    rich, *rest = demo.splitlines()
    assert (rich.strip().startswith("rich>="), rest) == (True, embedded.splitlines())
