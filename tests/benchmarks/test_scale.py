"""A filled line is one that the scripts take for their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gateways import redis_server
from benchmarks.processes import Cores
from benchmarks.scale import Line


@pytest.mark.parametrize("what", ["lineup", "status", "gate", "sweep"])
def test_calls_leave_a_filled_line_as_long_as_it_was(what: str, tmp_path: Path) -> None:
    with redis_server(tmp_path, Cores.split().server) as client:
        line = Line(client, 300)
        line.fill()
        cost = line.measure(what, 0 if what == "sweep" else 8, calls=5)
        assert client.zcard("queue:wait") == 300
        assert client.hlen("allowedIn:users") == 1000
    assert 0 < cost.script < cost.wall
    assert cost.slowest > 0
