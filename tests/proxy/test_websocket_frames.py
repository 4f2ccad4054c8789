"""Where frames end, however the bytes are cut, and where a frame of the gateway's own may be put."""

from __future__ import annotations

import random

import pytest

from gateway.proxy.websocket_frames import FRAMES_PER_TURN, Closing, FrameReader, close_frame

REASON = "the session in the waiting room is over"


def frame(size: int, *, masked: bool = False, opcode: int = 0x82) -> bytes:
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes((opcode, bit | size))
    elif size < 1 << 16:
        head = bytes((opcode, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((opcode, bit | 127)) + size.to_bytes(8, "big")
    return head + (b"\x01\x02\x03\x04" if masked else b"") + b"\x81" * size


MANY = 1 << 30
"""More frames than there are in these tests."""
SIZES = (0, 1, 125, 126, 127, 65535, 65536, 70_000)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_a_frame_of_any_length_ends_where_it_ends(size: int, masked: bool) -> None:
    data = frame(size, masked=masked)
    reader = FrameReader()
    assert reader.feed(data[:-1], MANY) == len(data) - 1
    assert not reader.between_frames
    assert reader.feed(data[-1:], MANY) == 1
    assert reader.between_frames
    assert reader.feed(data + data[:1], 1) == len(data)
    assert reader.between_frames


@pytest.mark.parametrize("seed", range(20))
def test_the_ends_are_found_wherever_the_reads_end(seed: int) -> None:
    chance = random.Random(seed)
    frames = [frame(chance.choice(SIZES[:6]), masked=chance.random() < 0.5) for _ in range(20)]
    ends, total = {0}, 0
    for each in frames:
        total += len(each)
        ends.add(total)
    data, reader, at = b"".join(frames), FrameReader(), 0
    while at < total:
        size = chance.choice((1, 2, 3, 7, 1000, 70_000))
        assert reader.feed(data[at : at + size], MANY) == len(data[at : at + size])
        at = min(at + size, total)
        assert reader.between_frames == (at in ends)


def test_the_closing_frame_has_code_and_reason_and_is_covered_for_a_service() -> None:
    payload = b"\x03\xf0" + REASON.encode()
    assert close_frame(1008, REASON, masked=False) == bytes((0x88, len(payload))) + payload
    masked = close_frame(1008, REASON, masked=True)
    assert masked[:2] == bytes((0x88, 0x80 | len(payload)))
    key, covered = masked[2:6], masked[6:]
    assert bytes(byte ^ key[at % 4] for at, byte in enumerate(covered)) == payload
    assert len(close_frame(1008, "x" * 1000, masked=False)) == 2 + 125


def test_many_small_frames_are_read_in_several_turns() -> None:
    closing, data = Closing(masked=False), frame(0) * (2 * FRAMES_PER_TURN) + frame(5)[:3]
    turns = []
    left = data
    while left:
        passed, left = closing.passed_on(left)
        turns.append(passed)
    assert b"".join(turns) == data
    assert [len(each) for each in turns] == [2 * FRAMES_PER_TURN, 2 * FRAMES_PER_TURN, 3]
    assert closing.close(1008, REASON) == b""


def test_the_last_bytes_are_passed_on_whatever_their_frames_are() -> None:
    data = frame(0) * (3 * FRAMES_PER_TURN)
    assert Closing(masked=False).last(data) == data


def test_behind_the_closing_frame_no_last_bytes_are_passed_on() -> None:
    closing = Closing(masked=False)
    assert closing.passed_on(frame(10)[:5]) == (frame(10)[:5], b"")
    closing.close(1008, REASON)
    assert closing.last(frame(10)[5:] + frame(3)) == frame(10)[5:] + close_frame(1008, REASON, masked=False)
    assert closing.last(frame(3)) == b""


def test_between_frames_it_comes_at_once_and_nothing_after_it() -> None:
    closing = Closing(masked=False)
    assert closing.passed_on(frame(10)) == (frame(10), b"")
    assert closing.close(1008, REASON) == close_frame(1008, REASON, masked=False)
    assert closing.closed
    assert closing.passed_on(frame(10)) == (b"", b"")
    assert closing.close(1008, REASON) == b""


@pytest.mark.parametrize("cut", [1, 2, 3, 9, 5000])
def test_within_a_frame_it_waits_for_the_end_of_that_frame_only(cut: int) -> None:
    data, closing = frame(70_000), Closing(masked=False)
    assert closing.passed_on(data[:cut]) == (data[:cut], b"")
    assert closing.close(1008, REASON) == b""
    assert closing.passed_on(data[cut : cut + 100]) == (data[cut : cut + 100], b"")
    assert not closing.closed
    rest = data[cut + 100 :]
    assert closing.passed_on(rest + frame(5)) == (rest + close_frame(1008, REASON, masked=False), b"")
    assert closing.passed_on(frame(5)) == (b"", b"")
