"""Where a gateway's time goes: sampled by py-spy where that is installed and allowed, else traced by cProfile."""

from __future__ import annotations

import contextlib
import io
import os
import pstats
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from benchmarks.processes import Cores, Unavailable
from benchmarks.report import Sample
from benchmarks.servers import find

LINES = 40
_SAMPLES_A_SECOND = 250
# py-spy needs a moment to attach, and another to write down what it saw.
_PATIENCE_SECONDS = 60.0
# Where threads wait for something to do; py-spy can't always tell that they sleep.
_IDLE = ("Condition.wait (threading.py", "_worker (concurrent/futures/thread.py", "Event.wait (threading.py")


class Profiler(Protocol):
    """``prefix`` goes between the Python and ``-m gateway``."""

    prefix: Sequence[str]

    def watching(self, pid: int, seconds: float, cores: Cores) -> contextlib.AbstractContextManager[None]:
        """Watch the process for so long; leave it when the load is over."""
        ...

    def summary(self, sample: Sample) -> str:
        """The ``LINES`` functions with the most own time. Call it when the process has ended."""
        ...


def choose(folder: Path) -> Profiler:
    """The best profiler there is; ``folder`` is for its files."""
    try:
        program = find("py-spy")
    except Unavailable:
        return Tracer(folder / "profile")
    tried = subprocess.run([program, "dump", "--pid", str(os.getpid())], capture_output=True, check=False)
    return Tracer(folder / "profile") if tried.returncode else Sampler(program, folder / "stacks")


class Sampler:
    """py-spy: looks from outside now and then, so the figures are those of an unwatched gateway."""

    prefix: Sequence[str] = ()

    def __init__(self, program: str, file: Path) -> None:
        self._program = program
        self._file = file

    @contextlib.contextmanager
    def watching(self, pid: int, seconds: float, cores: Cores) -> Iterator[None]:
        """As ``Profiler``. Raises Unavailable if py-spy fails."""
        command = [self._program, "record", "--pid", str(pid), "--function", "--format", "raw"]
        command += ["--rate", str(_SAMPLES_A_SECOND), "--duration", str(max(1, round(seconds)))]
        watcher = subprocess.Popen(
            [*command, "--output", str(self._file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.sched_setaffinity(watcher.pid, cores.rest)
        try:
            yield
            _, said = watcher.communicate(timeout=seconds + _PATIENCE_SECONDS)
        finally:
            if watcher.poll() is None:
                watcher.kill()
                watcher.wait()
        if watcher.returncode:
            raise Unavailable(f"py-spy failed: {said.strip()[-300:]}")

    def summary(self, sample: Sample) -> str:
        """As ``Profiler``; shares of the samples as microseconds of the CPU that an answer took."""
        seen = own_time(self._file.read_text(encoding="utf-8").splitlines())
        total = max(1, seen.total())
        lines = [
            f"py-spy, {total} samples, {sample.cpu_us:.1f} µs CPU an answer",
            "",
            "     %     µs  function",
        ]
        for name, count in seen.most_common(LINES):
            lines.append(f"{100 * count / total:6.1f} {count / total * sample.cpu_us:6.2f}  {name}")
        return "\n".join(lines)


class Tracer:
    """cProfile: counts every call, which costs about as much again; good for counts and for what comes first."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.prefix: Sequence[str] = ("-m", "cProfile", "-o", str(file))

    @contextlib.contextmanager
    def watching(self, pid: int, seconds: float, cores: Cores) -> Iterator[None]:
        """As ``Profiler``: the gateway's whole life is traced anyhow."""
        yield

    def summary(self, sample: Sample) -> str:
        """As ``Profiler``."""
        text = io.StringIO()
        stats = pstats.Stats(str(self._file), stream=text)
        stats.sort_stats("tottime").print_stats(LINES)
        return f"cProfile, its own cost included; {sample.answers} answers\n{text.getvalue()}"


def own_time(stacks: Iterable[str]) -> Counter[str]:
    """Samples by the function that ran, out of py-spy's lines ``outer;inner count``; waiting threads don't run."""
    seen: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        function = stack.rpartition(";")[2]
        if count.isdigit() and function and not function.startswith(_IDLE):
            seen[function] += int(count)
    return seen
