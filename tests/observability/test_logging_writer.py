"""The log's writer: order, a stuck reader, a reader that has gone."""

from __future__ import annotations

import errno
import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.observability.logging import Descriptor, LineWriter, standard_output
from tests.observability.rig import StuckSink


def test_lines_come_out_whole_and_in_order_from_many_threads() -> None:
    sink = io.StringIO()
    writer = LineWriter(sink)

    def write(name: int) -> None:
        for number in range(2000):
            writer.write(f"{name} {number}")

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    lines = sink.getvalue().splitlines()
    assert len(lines) == 8000
    for name in range(4):
        assert [line for line in lines if line.startswith(f"{name} ")] == [f"{name} {n}" for n in range(2000)]


def test_a_stuck_reader_costs_lines_but_no_time_and_is_told_how_many() -> None:
    sink = StuckSink()
    writer = LineWriter(sink, most_waiting=3)
    writer.write("first")
    assert sink.entered.wait(10)
    for number in range(5):
        writer.write(str(number))
    sink.released.set()
    writer.close()
    first, *rest = sink.getvalue().splitlines()
    assert first == "first"
    assert rest == ["0", "1", "2", "WARNING log: 2 lines were dropped, the reader is too slow"]


def test_closing_does_not_wait_for_a_stuck_reader() -> None:
    sink = StuckSink()
    writer = LineWriter(sink)
    writer.write("first")
    assert sink.entered.wait(10)
    writer.close(patience=0.01)
    sink.released.set()


def test_a_reader_that_has_gone_is_no_error() -> None:
    """An error in the writing thread would fail this test."""

    class Gone(io.StringIO):
        asked = False

        def write(self, text: str, /) -> int:
            self.asked = True
            return super().write(text)

    sink = Gone()
    sink.close()
    writer = LineWriter(sink)
    writer.write("unheard")
    writer.close()
    assert sink.asked


class Full(io.StringIO):
    """Takes nothing until ``room``."""

    room = False

    def write(self, text: str, /) -> int:
        if not self.room:
            self.refused.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)

    def __init__(self) -> None:
        super().__init__()
        self.refused = threading.Event()


def test_lines_that_could_not_be_written_are_told_with_the_reason() -> None:
    sink = Full()
    writer = LineWriter(sink, notice="({})".format)
    writer.write("unheard")
    assert sink.refused.wait(10)
    sink.room = True
    writer.write("heard")
    writer.close()
    assert sink.getvalue().splitlines() == [
        "heard",
        "(1 lines could not be written: No space left on device)",
    ]


def test_a_sink_with_a_fault_of_its_own_does_not_end_the_log() -> None:
    class Faulty(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.failed = threading.Event()

        def write(self, text: str, /) -> int:
            if not self.failed.is_set():
                self.failed.set()
                raise AttributeError("write")
            return super().write(text)

    sink = Faulty()
    writer = LineWriter(sink)
    writer.write("unheard")
    assert sink.failed.wait(10)
    writer.write("heard")
    writer.close()
    assert sink.getvalue().splitlines() == [
        "heard",
        "WARNING log: 1 lines could not be written: AttributeError",
    ]


@pytest.mark.parametrize("real", [True, False], ids=["file", "stream"])
@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-15", "utf-8"])
def test_characters_that_the_output_does_not_know_are_escaped(
    encoding: str, real: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw: Any = (tmp_path / "log").open("wb") if real else io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding)
    monkeypatch.setattr("sys.stdout", stream)
    sink = standard_output()
    assert isinstance(sink, Descriptor) is real
    writer = LineWriter(sink)
    for line in ("before", "김철수 \u20ac \ud800", "after"):
        writer.write(line)
    writer.close()
    stream.flush()
    written = ((tmp_path / "log").read_bytes() if real else raw.getvalue()).decode(encoding).splitlines()
    name = {
        "ascii": "\\uae40\\ucca0\\uc218 \\u20ac",
        "iso-8859-15": "\\uae40\\ucca0\\uc218 €",
        "utf-8": "김철수 €",
    }[encoding]
    assert written == ["before", f"{name} \\ud800", "after"]
    stream.close()


def test_all_is_written_to_a_pipe_that_takes_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, end = os.pipe()
    os.set_blocking(end, False)
    with open(reader, "rb") as source, open(end, "w", encoding="utf-8") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        writer = LineWriter(standard_output())
        for number in range(3000):
            writer.write(f"{number} {'x' * 100}")
        read = [source.readline() for _ in range(3000)]
        writer.close()
    assert [int(line.split()[0]) for line in read] == list(range(3000))


def test_nothing_is_written_where_there_is_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    sink = standard_output()
    sink.write("unheard\n")
    sink.flush()
