"""Load on a server and what it costs there: by wrk where it is installed, else by our own generator."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.load import Load, Order
from benchmarks.options import Options
from benchmarks.processes import Cores, Unavailable, cpu_seconds
from benchmarks.report import Row, Sample

_WRK_SCRIPT = """
local requests, at = {}, 0
function init(arguments)
  local headers = {}
  for name, value in pairs(wrk.headers) do headers[name] = value end
  for token in io.lines(arguments[1]) do
    headers.Authorization = "Bearer " .. token
    requests[#requests + 1] = wrk.format(arguments[2], arguments[3], headers, wrk.body)
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
"""
_WARM_UP_SECONDS = 1.0
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Watched:
    """What is measured: the server's process and, if there is one, that of the Redis behind it."""

    pid: int
    redis: int | None = None


def measure(order: Order, watched: Watched, cores: Cores, *, own: bool = False) -> Sample:
    """Put load on a server and return rate and cost. ``own``: even if wrk is there.

    Raises Unavailable when the load breaks off.
    """
    if order.tls and (own or not has_wrk()):
        raise Unavailable("wrk is needed for TLS")
    cpu, redis = cpu_seconds(watched.pid), _redis_cpu(watched)
    result = by_ourselves(order, cores) if own or order.count or not has_wrk() else by_wrk(order, cores)
    return Sample(
        result.answers,
        result.seconds,
        cpu_seconds(watched.pid) - cpu,
        _redis_cpu(watched) - redis,
        result.failed,
    )


def has_wrk() -> bool:
    """Whether wrk is on the PATH."""
    return shutil.which("wrk") is not None


def by_ourselves(order: Order, cores: Cores) -> Load:
    """The load of ``benchmarks.load``, in a process of its own. Raises Unavailable."""
    said = _run([sys.executable, "-m", "benchmarks.load"], cores, order.seconds, json.dumps(asdict(order)))
    return Load(**json.loads(said))


def by_wrk(order: Order, cores: Cores) -> Load:
    """The load of wrk, in one thread. It takes whole seconds only. Raises Unavailable."""
    seconds = max(1, math.ceil(order.seconds))
    command = ["wrk", "-t1", f"-c{order.connections}", f"-d{seconds}s", "--latency"]
    command += [part for line in order.headers for part in ("-H", line)]
    url = f"{'https' if order.tls else 'http'}://127.0.0.1:{order.port}{order.path}"
    body = f'wrk.body = string.rep("x", {order.body_bytes})\n' if order.body_bytes else ""
    with tempfile.TemporaryDirectory(prefix="gw-wrk-") as folder:
        script, tokens = Path(folder, "load.lua"), Path(folder, "tokens")
        if order.tokens:
            script.write_text(body + _WRK_SCRIPT)
            tokens.write_text("\n".join(order.tokens))
            command += ["-s", str(script), url, "--", str(tokens), order.method, order.path]
        else:
            script.write_text(f'{body}wrk.method = "{order.method}"\n')
            command += ["-s", str(script), url]
        return parse_wrk(_run(command, cores, seconds))


def parse_wrk(text: str) -> Load:
    """What wrk printed, as figures. Raises Unavailable if it is something else."""
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m),", text)
    if total is None:
        raise Unavailable(f"wrk said {text[:200]!r}")
    failed = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    if broken is not None:
        failed += sum(map(int, broken.groups()))
    return Load(
        int(total[1]), failed, float(total[2]) * _UNITS[total[3]], _latency(text, 50), _latency(text, 99)
    )


def _latency(text: str, percent: int) -> float:
    found = re.search(rf"\b{percent}%\s+([\d.]+)(us|ms|s|m)\b", text)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


@dataclass(frozen=True, slots=True)
class Case:
    """A row and how it is measured."""

    row: Row
    order: Order
    watched: Watched


def warm_up(order: Order) -> Order:
    """The same load for a second."""
    return replace(order, seconds=_WARM_UP_SECONDS)


def measure_in_rounds(cases: Sequence[Case], options: Options, cores: Cores) -> None:
    """Measure one row after the other, all of them once a round, so that each round sees the same machine.

    The first round warms up and does not count."""
    for number in range(options.rounds + 1):
        for case in cases:
            order = case.order if number else warm_up(case.order)
            sample = measure(order, case.watched, cores, own=options.own_load)
            if number:
                case.row.samples.append(sample)


def _redis_cpu(watched: Watched) -> float:
    return 0.0 if watched.redis is None else cpu_seconds(watched.redis)


def _run(command: list[str], cores: Cores, seconds: float, told: str = "") -> str:
    pinned: Callable[[], None] = lambda: os.sched_setaffinity(0, cores.rest)  # noqa: E731
    try:
        done = subprocess.run(
            command,
            input=told,
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
            preexec_fn=pinned,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{Path(command[0]).name} did not end in time") from error
    if done.returncode:
        raise Unavailable(f"the load broke off: {done.stderr.strip()[-300:]}")
    return done.stdout
