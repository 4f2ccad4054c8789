"""Own time out of stacks."""

from __future__ import annotations

from pathlib import Path

from benchmarks.profiling import Sampler, own_time
from benchmarks.report import Sample

STACKS = [
    "main (a.py);serve (b.py) 3",
    "main (a.py);serve (b.py);write (c.py) 5",
    "serve (b.py) 2",
    "",
    "odd",
]


def test_own_time_is_that_of_the_innermost_function() -> None:
    assert own_time(STACKS) == {"serve (b.py)": 5, "write (c.py)": 5}


def test_a_summary_shows_shares_as_microseconds_of_an_answer(tmp_path: Path) -> None:
    file = tmp_path / "stacks"
    file.write_text("\n".join(STACKS))
    lines = Sampler("py-spy", file).summary(Sample(1000, 1.0, cpu=0.1)).splitlines()
    assert lines[0] == "py-spy, 10 samples, 100.0 µs CPU an answer"
    assert {tuple(line.split(maxsplit=2)) for line in lines[3:]} == {
        ("50.0", "50.00", "serve (b.py)"),
        ("50.0", "50.00", "write (c.py)"),
    }
