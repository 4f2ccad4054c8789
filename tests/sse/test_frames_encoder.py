"""Frames of one room."""

from __future__ import annotations

import pytest

from gateway.sse.frames import Encoder, Frame
from gateway.sse.termination import AllowedIn, StreamEnd, StreamRefused
from tests.sse.rig import Block, State, Words, parse


def block(frame: Frame) -> Block:
    return parse(frame.raw.decode().removesuffix("\n\n").removesuffix("\n"))


@pytest.mark.parametrize(
    ("ending", "locale", "expected"),
    [
        (
            AllowedIn(239.5),
            "ko",
            Block(
                "ALLOWED_IN",
                {"message": "입장 가능합니다.", "room": "default", "expiresInSeconds": 239},
                "end",
                239_500,
            ),
        ),
        (
            AllowedIn(-1.0),
            "en",
            Block(
                "ALLOWED_IN",
                {"message": "You may enter.", "room": "default", "expiresInSeconds": -1},
                "end",
                0,
            ),
        ),
        (
            StreamRefused("REMOVED", "ABSENT"),
            "en",
            Block("ERROR", {"code": "REMOVED", "message": "en", "reason": "ABSENT"}, "end", 600_000),
        ),
        (
            StreamRefused("NOT_IN_QUEUE"),
            "ko",
            Block("ERROR", {"code": "NOT_IN_QUEUE", "message": "ko"}, "end", 600_000),
        ),
    ],
)
def test_a_last_frame_carries_the_end_and_a_long_reconnection_time(
    ending: StreamEnd, locale: str, expected: Block
) -> None:
    assert block(Encoder(Words()).ending(ending, locale)) == expected


def test_the_same_ending_is_encoded_once_per_language() -> None:
    encoder = Encoder(Words())
    first = encoder.ending(AllowedIn(240.0), "ko")

    assert encoder.ending(AllowedIn(240.0), "ko") is first
    assert encoder.ending(AllowedIn(240.0), "en") is not first


def test_endings_that_differ_by_user_are_not_shared() -> None:
    words = Words()
    words.personal = True
    encoder = Encoder(words)
    for user, ticket in (("kim", 5), ("lee", 6)):
        told = block(encoder.ending(AllowedIn(240.0), "en", user, ticket)).data
        assert told is not None
        assert told["pass"] == f"{user}:{ticket}"
    refused = StreamRefused("NOT_IN_QUEUE")
    assert encoder.ending(refused, "en", "kim", 5) is encoder.ending(refused, "en", "lee", 6)


def test_remembered_endings_are_bounded() -> None:
    encoder = Encoder(Words())
    first = encoder.ending(AllowedIn(0.0), "ko")
    for seconds in range(1, 1000):
        encoder.ending(AllowedIn(float(seconds)), "ko")

    assert encoder.ending(AllowedIn(0.0), "ko") is not first


@pytest.mark.parametrize(
    ("make", "low", "high"),
    [
        (Encoder.opening, 2000, 6000),
        (lambda encoder: encoder.only_status(State(), "ko"), 5000, 15_000),
        (Encoder.no_room, 5000, 15_000),
        (Encoder.going_away, 2000, 10_000),
    ],
)
def test_reconnection_times_are_spread(make: object, low: int, high: int) -> None:
    assert callable(make)
    retries = [block(make(Encoder(Words()))).retry for _ in range(300)]

    assert low <= min(retries) < low + (high - low) / 10
    assert high - (high - low) / 10 < max(retries) <= high


def test_a_heartbeat_tells_the_time_in_milliseconds() -> None:
    frame = Encoder(Words(), now=lambda: 1_700_000_000.1234).heartbeat()

    assert block(frame) == Block("HEARTBEAT", {"timestamp": 1_700_000_000_123})


def test_a_registered_user_gets_an_event_of_another_name() -> None:
    encoder = Encoder(Words())
    assert encoder.status(State("REGISTERED", 0, 0), "ko").raw.startswith(b"event: REGISTERED\n")
    assert encoder.only_status(State("REGISTERED", 0, 0), "ko").raw.startswith(b"event: REGISTERED\n")
    assert encoder.status(State(), "ko").raw.startswith(b"event: STATUS_UPDATE\n")
