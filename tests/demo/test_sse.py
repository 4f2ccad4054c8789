"""The event stream parser."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.sse import Event, Parser


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"data: a\n\n", [Event("message", "a", "")]),
        (b"data:a\n\n", [Event("message", "a", "")]),
        (b"data:  a\n\n", [Event("message", " a", "")]),
        (b"event: ALLOWED_IN\ndata: {}\n\n", [Event("ALLOWED_IN", "{}", "")]),
        (b"data: a\ndata: b\n\n", [Event("message", "a\nb", "")]),
        (b"data\n\n", [Event("message", "", "")]),
        (b"event: x\n\ndata: a\n\n", [Event("message", "a", "")]),
        (b"id: end\ndata: a\n\ndata: b\n\n", [Event("message", "a", "end"), Event("message", "b", "end")]),
        (b"id: 1\ndata: a\nid\n\n", [Event("message", "a", "")]),
        (b"id: a\0b\ndata: a\n\n", [Event("message", "a", "")]),
        (b": hello\ndata: a\n\n", [Event("message", "a", "")]),
        (b"nonsense: x\ndata: a\n\n", [Event("message", "a", "")]),
        (b"data: a\r\n\r\ndata: b\r\r", [Event("message", "a", ""), Event("message", "b", "")]),
        ("\ufeffdata: 입장\n\n".encode(), [Event("message", "입장", "")]),
        (b"data: never finished\n", []),
    ],
)
def test_streams_are_read_as_the_standard_says_however_they_are_cut(raw: bytes, events: list[Event]) -> None:
    assert Parser().feed(raw) == events

    parser = Parser()
    byte_by_byte = [event for index in range(len(raw)) for event in parser.feed(raw[index : index + 1])]
    assert byte_by_byte == events


@given(
    st.lists(st.sampled_from(["data: a", "event: e", "id: 1", ": c", "", "입장"])),
    st.sampled_from(["\n", "\r", "\r\n"]),
    st.lists(st.integers(0, 200)),
)
def test_cutting_a_stream_anywhere_changes_nothing(lines: list[str], end: str, cuts: list[int]) -> None:
    raw = "".join(line + end for line in lines).encode()
    whole, parts = Parser(), Parser()
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    events = [e for a, b in pairwise(edges) for e in parts.feed(raw[a:b])]
    assert events == whole.feed(raw)
    assert parts.comments == whole.comments


@pytest.mark.parametrize(
    ("value", "retry"), [("3000", 3000), ("3s", None), ("-1", None), ("", None), ("²", None)]
)
def test_retry_counts_only_in_digits(value: str, retry: int | None) -> None:
    parser = Parser()
    parser.feed(f"retry: {value}\n".encode())
    assert parser.retry == retry


def test_the_last_id_and_comments_are_kept_for_a_reconnection() -> None:
    parser = Parser()
    parser.feed(b"id: end\ndata: a\n\n: bye\n")
    assert parser.last_event_id == "end"
    assert parser.comments == 1
