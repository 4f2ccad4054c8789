"""What tests of the JavaScript client use: Node, and a copy of the client with what npm installs for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2] / "clients" / "js"


def program(name: str) -> str:
    """Where a program is. Skips the test where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture(scope="session")
def node() -> str:
    """The program ``node``."""
    return program("node")


@pytest.fixture(scope="session")
def installed_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of ``clients/js`` in which ``npm install`` has run: the one that GATEWAY_TEST_CLIENT names, or one made
    here. Do not write into it. Skips the test where npm or its registry is missing."""
    if named := os.environ.get("GATEWAY_TEST_CLIENT"):
        return Path(named)
    npm = program("npm")
    folder = tmp_path_factory.mktemp("client") / "js"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("node_modules", "types", "*.tgz"))
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--fetch-retries=0")
    try:
        done = subprocess.run(
            [npm, "install", *options], cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm could not install within 120 s what the client needs for development")
    if done.returncode:
        pytest.skip(f"npm could not install what the client needs for development: {done.stderr[-300:]}")
    return folder


@pytest.fixture(scope="session")
def packed_client(installed_client: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as ``npm pack`` makes it, in a folder of that name, with React beside it."""
    root = tmp_path_factory.mktemp("packed")
    copy = root / "clients" / "js"
    shutil.copytree(installed_client, copy, symlinks=True)
    shutil.copy(CLIENT.parents[1] / "LICENSE", root)
    subprocess.run(
        [program("npm"), "pack", "--pack-destination", root],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    modules = root / "node_modules"
    modules.mkdir()
    [archive] = root.glob("*.tgz")
    shutil.unpack_archive(archive, root / "unpacked", filter="data")
    (root / "unpacked" / "package").rename(modules / "waiting-room-client")
    for each in ("react", "react-dom", "scheduler", "@types", "csstype"):
        (modules / each).symlink_to(installed_client / "node_modules" / each)
    return modules / "waiting-room-client"
