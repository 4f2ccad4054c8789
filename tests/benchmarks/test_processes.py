"""Processes that are started, watched and ended."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.processes import (
    Cores,
    Unavailable,
    accepts,
    await_true,
    children,
    cpu_seconds,
    free_port,
    started,
)

HERE = Cores.split().server


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_one_core_is_the_servers_and_the_others_are_for_the_rest() -> None:
    cores = Cores.split()
    usable = os.sched_getaffinity(0)
    assert len(cores.server) == 1
    assert cores.server | cores.rest == usable
    assert len(usable) == 1 or not cores.server & cores.rest


def test_a_process_runs_on_its_cores_and_ends_with_the_block() -> None:
    code = "import os, sys; print(sorted(os.sched_getaffinity(0)), flush=True); sys.stdin.read()"
    with started(python(code), cores=HERE, talks=True) as process:
        assert process.line() == str(sorted(HERE))
        assert process.pid in children(os.getpid())
    assert process.popen.returncode is not None


def test_what_a_process_says_about_settings_of_ours_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_PORT", "1")
    code = "import os; print(os.environ.get('SERVER_PORT'), os.environ.get('MINE'), flush=True)"
    with started(python(code), cores=HERE, environ={"MINE": "here"}, talks=True) as process:
        assert process.line() == "None here"


def test_a_process_that_ends_without_a_word_is_unavailable() -> None:
    with (
        started(python("raise SystemExit(3)"), cores=HERE, talks=True) as process,
        pytest.raises(Unavailable, match="ended with 3"),
    ):
        process.line()


def test_the_last_words_of_a_server_that_does_not_start_are_told(tmp_path: Path) -> None:
    code = "import sys; sys.exit('no such thing')"
    with (
        started(python(code), cores=HERE, log=tmp_path / "log") as process,
        pytest.raises(Unavailable, match="it ended with 1: no such thing"),
    ):
        await_true("it", process, lambda: False)


def test_cpu_time_grows_with_work() -> None:
    before = cpu_seconds(os.getpid())
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert cpu_seconds(os.getpid()) > before


def test_a_free_port_has_no_listener() -> None:
    assert not accepts(free_port())
