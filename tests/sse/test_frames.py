"""Events as bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sse import frames


def test_an_event_is_one_block_with_compact_json() -> None:
    frame = frames.event("STATUS_UPDATE", {"room": "기본", "ticket": 7})

    assert frame.raw.decode() == 'event: STATUS_UPDATE\ndata: {"room":"기본","ticket":7}\n\n'


def test_a_last_event_carries_an_id_and_a_reconnection_time_in_milliseconds() -> None:
    frame = frames.event("ERROR", {"code": "REMOVED"}, last_id="end", retry=600)

    assert frame.raw == b'event: ERROR\nid: end\nretry: 600000\ndata: {"code":"REMOVED"}\n\n'


def test_the_chunk_holds_the_same_bytes() -> None:
    frame = frames.event("HEARTBEAT", {"timestamp": 1})
    size, _, rest = frame.chunked.partition(b"\r\n")

    assert int(size, 16) == len(frame.raw)
    assert rest == frame.raw + b"\r\n"


@given(st.text(st.characters()) | st.text('\r\n\0\u2028\u0085\ud800"\\'))
def test_no_text_breaks_out_of_its_line_or_gets_lost(text: str) -> None:
    raw = frames.event("X", {"message": text}).raw.decode("utf-8")

    assert "\r" not in raw
    first, data = raw.removesuffix("\n\n").split("\n")
    assert first == "event: X"
    assert json.loads(data.removeprefix("data: ")) == {"message": text}


@pytest.mark.parametrize("name", ["A\nB", "A\rB", "A\r\nB", "A\0B"])
def test_a_name_or_id_that_is_not_one_line_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not one line"):
        frames.event(name, {})
    with pytest.raises(ValueError, match="not one line"):
        frames.event("X", {}, last_id=name)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        frames.event("X", {"estimatedWaitSeconds": number})


@pytest.mark.parametrize("retry", [-1, float("nan")])
def test_an_impossible_reconnection_time_is_refused(retry: float) -> None:
    with pytest.raises(ValueError, match="reconnection time"):
        frames.opening(retry)


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\r\nb"])
def test_every_line_of_a_comment_is_a_comment(text: str) -> None:
    assert frames.comment(text, retry=2.5).raw == b"retry: 2500\n: a\n: b\n\n"


def test_the_opening_is_completed_by_the_event_after_it() -> None:
    stream = frames.opening(3.25).raw + frames.event("STATUS_UPDATE", {}).raw

    assert stream == b"retry: 3250\nevent: STATUS_UPDATE\ndata: {}\n\n"
