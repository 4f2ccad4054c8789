"""What the rules cost, in instructions of the processor: the scripts for one user, beside those of an earlier version.

Valgrind counts what Redis executes. Unlike a time, the number does not depend on what else runs on the machine.
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from redis import Redis

from benchmarks.gateways import redis_server
from benchmarks.options import Options
from benchmarks.processes import Cores, Unavailable
from benchmarks.report import Table
from benchmarks.scale import SHORT
from benchmarks.scripts import COLUMNS, Version, VersionLine, judged, versions, with_ratios

_CALLS = 1000
_BETWEEN_SWEEPS = 1.0
_SUMMARY = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def run(options: Options) -> list[Table]:
    """Count the earlier version, and this one with every new feature off and on."""
    if options.against is None:
        raise Unavailable("--against names no folder with an earlier version's lua_scripts")
    if shutil.which("callgrind_control") is None:
        raise Unavailable("valgrind is not installed")
    cells, notes = [], []
    with _counted_redis() as (client, count):
        for what in ("lineup", "status", "gate"):
            costs = [_instructions(client, count, version, what) for version in versions(options.against)]
            cells.append([what, *with_ratios(costs)])
            notes += judged(what, costs)
    title = f"instructions: a script for one user, {SHORT:,} waiting, every new feature off and on"
    return [Table(title, ("", *COLUMNS), cells, notes)]


def _instructions(client: Redis, count: Callable[[], int], version: Version, what: str) -> int:
    client.flushall()
    line = VersionLine(client, SHORT, version=version)
    line.fill()
    empty = client.script_load("return 0")
    line.call(what, 1)
    count()
    whole, swept_at = 0, -math.inf
    for _ in range(_CALLS):
        if time.monotonic() > swept_at + _BETWEEN_SWEEPS:
            # As often as a gateway does. A sweep leaves what other scripts then need not read.
            whole += count()
            line.call("sweep", 0)
            swept_at = time.monotonic()
            count()
        line.call(what, 1)
    whole += count()
    # Reading a call and answering it is no part of a script.
    for _ in range(_CALLS):
        client.evalsha(empty, 0)
    return (whole - count()) // _CALLS


@contextlib.contextmanager
def _counted_redis() -> Iterator[tuple[Redis, Callable[[], int]]]:
    """A Redis, and a function that returns how many instructions it has executed since that function's last call."""
    with tempfile.TemporaryDirectory(prefix="gw-bench-") as name:
        folder = Path(name)
        command = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={folder}/counts"]
        with redis_server(folder, Cores.split().server, command) as client:
            # What Redis does at regular times is no part of a script, and there is more of it on a slow machine.
            client.config_set("hz", 1)
            pid = str(client.info("server")["process_id"])

            def count() -> int:
                # A dump sets the counts to 0. It is written before Redis goes on, so after a call it is there.
                subprocess.run(["callgrind_control", "--dump", pid], check=True, capture_output=True)
                client.ping()
                dumps = sorted(folder.glob("counts.*"), key=lambda file: int(file.suffix[1:]))
                found = _SUMMARY.search(dumps[-1].read_text(errors="replace"))
                for dump in dumps:
                    dump.unlink()
                if found is None:
                    raise Unavailable("callgrind's output names no sum")
                return int(found[1])

            yield client, count
