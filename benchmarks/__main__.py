"""``python -m benchmarks [names…]``: measure, and print tables."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.drive import has_wrk
from benchmarks.options import Options
from benchmarks.processes import Unavailable
from benchmarks.report import Table

NAMES = {
    "forward": "a small answer through the gateway, a plain proxy, and known ones",
    "forward-auth": "decisions about calls that another proxy describes, beside nginx's auth_request",
    "large": "an answer of 1 MiB through the same: CPU, and the memory of the gateway",
    "latency": "how late answers come at half of what Caddy can take, through the same",
    "calls": "function calls and time of one request inside the gateway, without sockets",
    "pages": "the page of a person who waits, beside the status in JSON",
    "lineup": "people who arrive, each with a token never seen before",
    "scale": "a million waiting beside a thousand",
    "scripts": "the Lua scripts beside those of an earlier version (--against)",
    "instructions": "the same scripts in instructions of the processor, by valgrind (--against)",
    "streams": "many streams at one gateway: memory, opening, a turn of status updates, stalls",
    "fanout": "one frame to each of many streams",
    "overload": "twice as many newcomers as can be taken, and those who are in beside them",
    "opening": "the opening of a room with 100,000 registered users",
    "rooms": "1,000 rooms of which 20 are busy, beside 25 busy rooms",
    "freed_slot": "from a freed slot to ALLOWED_IN at the stream of the next",
}


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    default = Options()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure, as ratios within one run. Everything is started here, on loopback, and ended.",
        epilog="\n".join(f"  {name:13} {what}" for name, what in NAMES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure (all)")
    add = parser.add_argument
    add("--seconds", type=_seconds, default=default.seconds, metavar="N", help="one measurement (3)")
    add("--rounds", type=_count, default=default.rounds, metavar="N", help="measurements of each (3)")
    add("--connections", type=_count, default=default.connections, metavar="N", help="of the load (64)")
    add("--own-load", action="store_true", help="our load generator even where wrk is installed")
    add(
        "--streams",
        type=_count,
        default=default.streams,
        metavar="N",
        help="streams, fanout, freed_slot (15000)",
    )
    add("--waiting", type=_count, default=default.waiting, metavar="N", help="scale (1000000)")
    add("--frees", type=_count, default=default.frees, metavar="N", help="slots freed in each case (200)")
    add(
        "--profile",
        type=Path,
        nargs="?",
        const=Path("profile-forward.txt"),
        metavar="FILE",
        help="forward: no table, but where the gateway's time goes, to FILE (profile-forward.txt)",
    )
    add(
        "--against",
        type=Path,
        metavar="FOLDER",
        help="scripts, instructions: an earlier version's lua_scripts",
    )
    add("--json", type=Path, metavar="FILE", help="the tables for machines, too")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status: 0, 1 if something could not be measured, 2 for wrong use."""
    parser = make_parser()
    given = vars(parser.parse_args(argv))
    names, file = given.pop("names") or list(NAMES), given.pop("json")
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(NAMES)}")
    options = Options(**given)
    if options.profile is not None and names != ["forward"]:
        parser.error("--profile goes with forward alone")
    _raise_descriptor_limit()
    about = machine()
    print(" · ".join(f"{name}: {value}" for name, value in about.items()), flush=True)
    tables, status = {}, 0
    for name in names:
        began = time.monotonic()
        try:
            tables[name] = _run(name, options)
        except Unavailable as reason:
            print(f"\n{name}: could not be measured: {reason}", file=sys.stderr)
            status = 1
            continue
        for table in tables[name]:
            print(f"\n{table.as_text()}")
        print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
    if file is not None:
        found = {name: [table.as_json() for table in made] for name, made in tables.items()}
        file.write_text(json.dumps({"machine": about, "tables": found}, indent=2, ensure_ascii=False) + "\n")
    return status


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "Python": platform.python_version(),
        "load before": round(os.getloadavg()[0], 1),
        "wrk": "yes" if has_wrk() else "no",
    }


def _run(name: str, options: Options) -> list[Table]:
    # Each only when asked for: they import what they measure.
    module = importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
    tables: list[Table] = module.run(options)
    return tables


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError("above 0 and at most 600")
    return value


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
