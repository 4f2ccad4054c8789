"""A real Config Server as a process of its own, over a git repository that the test commits to."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.interop import peers

START_SECONDS = 150.0
"""A cold machine builds the server first."""


def missing() -> str:
    """Why no Config Server can be started here, or nothing."""
    return peers.missing(programs=("mvn", "git"))


class Repository:
    """A git repository with a branch ``main``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        """One command; its output."""
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
        return subprocess.run(
            ["git", *identity, *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, files: Mapping[str, str | None]) -> str:
        """Writes files, or removes those that are None, and commits; the commit's hash."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_text(content, encoding="utf-8")
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "a change")
        return self.git("rev-parse", "HEAD")


@contextlib.contextmanager
def real_config_server(repository: Repository, *options: str, port: int = 0) -> Iterator[str]:
    """Starts one; yields its address."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [peers.COMMAND, "config", "--repo", str(repository.folder), "--port", str(port), *options],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
        )

        def kill() -> None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

        assert process.stdout is not None
        too_late = threading.Timer(START_SECONDS, kill)
        too_late.start()
        try:
            line = process.stdout.readline()
            too_late.cancel()
            if not line.startswith("ready "):
                said.seek(0)
                raise AssertionError(f"no Config Server: {said.read()[-2000:]}")
            yield line.split()[1]
        finally:
            too_late.cancel()
            kill()
            process.stdout.close()
