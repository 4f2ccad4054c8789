"""Programs of others that read or run what is shipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
DEPLOY = TOP / "deploy"
BIN = Path(sysconfig.get_path("scripts"))


def tool(name: str) -> str:
    """Where it is: what ``GATEWAY_TEST_<NAME>`` says, on the PATH, or beside Python. The test is skipped if it is
    nowhere."""
    places = (os.environ.get(f"GATEWAY_TEST_{name.upper()}", name), name, str(BIN / name))
    found = next(filter(None, map(shutil.which, places)), None)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=50, check=False, env=os.environ | dict(environ or {})
    )
