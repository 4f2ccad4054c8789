"""One stream, over a transport that does what the test says."""

from __future__ import annotations

from gateway.sse import frames
from gateway.sse.subscriber import Subscriber
from tests.sse.rig import Line

FRAME = frames.event("HEARTBEAT", {"timestamp": 1})
LAST = frames.event("ERROR", {"code": "REMOVED"}, last_id="end")


def stream(line: Line, *, chunked: bool = True) -> Subscriber:
    return Subscriber("kim", "ko", "ko", line, chunked=chunked, limit=1000)


async def test_frames_go_out_as_chunks_and_the_last_one_ends_the_body_in_the_same_piece() -> None:
    line = Line()
    subscriber = stream(line)

    assert subscriber.write(FRAME)
    assert subscriber.finish(LAST, "refused")
    assert line.sent == [FRAME.chunked, LAST.chunked + b"0\r\n\r\n"]
    assert (subscriber.ended, subscriber.completed, line.closing, line.aborted) == (
        "refused",
        True,
        True,
        False,
    )


async def test_without_chunks_frames_go_out_bare() -> None:
    line = Line()
    subscriber = stream(line, chunked=False)
    subscriber.write(FRAME)
    subscriber.finish(LAST, "refused")

    assert line.sent == [FRAME.raw, LAST.raw]


async def test_nothing_follows_a_last_frame() -> None:
    line = Line()
    subscriber = stream(line)
    subscriber.finish(LAST, "refused")

    assert not subscriber.write(FRAME)
    assert not subscriber.finish(LAST, "admitted")
    subscriber.close("gone")
    assert len(line.sent) == 1
    assert subscriber.ended == "refused"


async def test_a_reader_is_cut_off_when_more_than_the_limit_waits_for_it() -> None:
    line = Line()
    subscriber = stream(line)
    line.waiting = 1000
    assert subscriber.write(FRAME)
    line.waiting = 1001

    assert not subscriber.write(FRAME)
    assert line.aborted
    assert (subscriber.ended, subscriber.completed) == ("cut_off", False)


async def test_a_reader_too_slow_for_its_last_frame_is_cut_off_as_well() -> None:
    line = Line()
    subscriber = stream(line)
    line.waiting = 1001

    assert not subscriber.finish(LAST, "admitted")
    assert (line.sent, subscriber.ended) == ([], "cut_off")


async def test_a_connection_that_is_closing_ends_the_stream_without_a_write() -> None:
    line = Line()
    subscriber = stream(line)
    line.closing = True

    assert not subscriber.write(FRAME)
    assert (line.sent, line.aborted, subscriber.ended) == ([], False, "gone")


async def test_a_stream_has_no_dictionary() -> None:
    assert not hasattr(stream(Line()), "__dict__")
