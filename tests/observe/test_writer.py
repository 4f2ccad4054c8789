"""The log's writer: order, a stuck reader, a reader that has gone."""

from __future__ import annotations

import io
import threading

from gateway.observe.writer import LineWriter


class StuckSink(io.StringIO):
    """Writes nothing until released."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.released = threading.Event()

    def write(self, text: str, /) -> int:
        self.entered.set()
        assert self.released.wait(30)
        return super().write(text)


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
    assert writer.dropped == 0


def test_a_stuck_reader_costs_lines_but_no_time_and_is_told_how_many() -> None:
    sink = StuckSink()
    writer = LineWriter(sink, most_waiting=3)
    writer.write("first")
    assert sink.entered.wait(10)
    for number in range(5):
        writer.write(str(number))
    assert writer.dropped == 2
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
    sink = io.StringIO()
    sink.close()
    writer = LineWriter(sink)
    writer.write("unheard")
    writer.close()
    assert writer.dropped == 1
