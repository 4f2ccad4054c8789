"""Which key signs, and which keys everyone is told."""

from __future__ import annotations

import json
import logging

import pytest

from gateway.auth.key_ring import MAX_PUBLISHED, KeyRing, KeyTurn
from gateway.auth.signing import SigningKey, generate_private_key
from tests.support.clock import Clock

KEYS = [generate_private_key() for _ in range(3)]
IDS = [SigningKey(private).id for private in KEYS]
A, B, C = (
    KeyTurn(name, private, 1000.0 + 100 * at, 1100.0 + 100 * at, 1200.0 + 100 * at)
    for at, (name, private) in enumerate(zip(IDS, KEYS, strict=True))
)


def published(ring: KeyRing) -> list[str]:
    return [key["kid"] for key in json.loads(ring.document())["keys"]]


def signer(ring: KeyRing) -> str | None:
    key = ring.signing_key()
    return key and key.id


@pytest.fixture
def clock() -> Clock:
    return Clock(5.0)


@pytest.fixture
def ring(clock: Clock) -> KeyRing:
    ring = KeyRing(clock)
    ring.update(1000.0, [A, B])
    return ring


def test_an_empty_ring_signs_nothing() -> None:
    ring = KeyRing(Clock())
    assert not ring.known
    assert ring.sign("a", {}) is None
    assert published(ring) == []
    assert ring.seconds_to_next_turn() is None


def test_the_time_is_that_of_the_shared_clock(ring: KeyRing, clock: Clock) -> None:
    clock.now += 7
    assert ring.now == 1007.0


def test_each_key_signs_in_its_turn_without_being_told(ring: KeyRing, clock: Clock) -> None:
    assert (signer(ring), published(ring)) == (IDS[0], IDS[:2])
    assert ring.seconds_to_next_turn() == 100
    clock.now += 99.9
    assert signer(ring) == IDS[0]
    clock.now += 0.2
    assert signer(ring) == IDS[1]
    assert ring.seconds_to_next_turn() is None


def test_a_key_is_published_until_its_passes_have_ended(ring: KeyRing, clock: Clock) -> None:
    clock.now += 199
    assert published(ring) == IDS[:2]
    clock.now += 1
    assert published(ring) == [IDS[1]]


def test_when_all_known_turns_are_over_nothing_is_signed(ring: KeyRing, clock: Clock) -> None:
    clock.now += 229
    assert signer(ring) == IDS[1]
    clock.now += 1
    assert signer(ring) is None


def test_a_key_that_was_lost_signs_no_more_but_stays_published(ring: KeyRing, clock: Clock) -> None:
    ring.update(1010.0, [C._replace(signs_from=1010.0)])
    assert signer(ring) == IDS[2]
    assert set(published(ring)) == set(IDS)
    clock.now += 190
    assert IDS[0] not in published(ring)


def test_before_any_turn_has_begun_the_first_key_signs(clock: Clock) -> None:
    ring = KeyRing(clock)
    ring.update(10.0, [A, B])  # the clock of Redis went back
    assert signer(ring) == IDS[0]


def test_a_turn_may_be_extended(ring: KeyRing, clock: Clock) -> None:
    ring.update(1000.0, [A._replace(signs_until=5000.0), B._replace(signs_from=5000.0)])
    clock.now += 3000
    assert signer(ring) == IDS[0]


def test_a_key_that_can_not_be_read_is_passed_over_and_told_once(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing(clock)
    broken = A._replace(id="broken", private="-----BEGIN SECRET-----")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            ring.update(1000.0, [broken, B])
    assert signer(ring) == IDS[1]
    (record,) = caplog.records
    assert "'broken'" in record.message
    assert "SECRET" not in record.message


def test_an_id_that_is_not_that_of_its_key_does_not_count(clock: Clock) -> None:
    ring = KeyRing(clock)
    ring.update(1000.0, [A._replace(id="other")])
    assert published(ring) == [IDS[0]]


def test_the_document_is_bounded(clock: Clock) -> None:
    ring = KeyRing(clock)
    for at in range(MAX_PUBLISHED + 20):
        private = generate_private_key()
        ring.update(1000.0, [KeyTurn(str(at), private, 1000.0 + at, 1100.0 + at, 9000.0)])
    assert len(published(ring)) == MAX_PUBLISHED
