"""Wrong tokens of an address: ten a minute, in bounded memory."""

from __future__ import annotations

import pytest

from gateway.auth.wrong_tokens import ALLOWED_OF_SITE, WrongTokens


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def wrong_tokens(clock: Clock, max_addresses: int = 100) -> WrongTokens:
    return WrongTokens(10, 60.0, max_addresses, clock)


def test_the_eleventh_within_a_minute_must_wait_until_the_first_is_a_minute_old() -> None:
    clock = Clock()
    counted = wrong_tokens(clock)
    for _ in range(10):
        assert counted.add("192.0.2.1") == 0
        clock.now += 1
    assert counted.add("192.0.2.1") == 50
    clock.now += 49
    assert counted.add("192.0.2.1") == 1
    clock.now += 1
    assert counted.add("192.0.2.1") == 0
    assert counted.add("192.0.2.1") == 1


def test_what_is_taken_back_was_not_counted() -> None:
    clock = Clock()
    counted = wrong_tokens(clock)
    for _ in range(9):
        counted.add("192.0.2.1")
    for _ in range(3):
        assert counted.add("192.0.2.1") == 0
        counted.take_back("192.0.2.1")
    assert counted.add("192.0.2.1") == 0
    assert counted.add("192.0.2.1") == 60
    counted.add("192.0.2.2")
    counted.take_back("192.0.2.2")
    counted.take_back("192.0.2.3")
    assert len(counted) == 1


def test_tokens_that_come_too_early_do_not_prolong_the_time() -> None:
    clock = Clock()
    counted = wrong_tokens(clock)
    for _ in range(100):
        counted.add("192.0.2.1")
    clock.now += 60
    assert [counted.add("192.0.2.1") for _ in range(11)] == [0] * 10 + [60]


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "unknown", True),
    ],
)
def test_addresses_that_one_client_can_choose_count_together(one: str, other: str, together: bool) -> None:
    counted = wrong_tokens(Clock())
    for _ in range(10):
        counted.add(one)
    assert (counted.add(other) > 0) is together


def test_the_address_whose_last_wrong_token_is_the_oldest_is_forgotten_first() -> None:
    counted = wrong_tokens(Clock(), max_addresses=3)
    for _ in range(10):
        counted.add("192.0.2.1")
    for other in range(2, 200):
        counted.add(f"192.0.2.{other}")
        assert counted.add("192.0.2.1") > 0
        assert len(counted) <= 3
    for other in range(3):
        counted.add(f"198.51.100.{other}")
    assert counted.add("192.0.2.1") == 0


def test_looking_how_long_an_address_has_to_wait_counts_nothing() -> None:
    clock = Clock()
    wrong = WrongTokens(allowed=2, seconds=60.0, clock=clock)
    for _ in range(5):
        assert wrong.seconds_left("192.0.2.1") == 0
    wrong.add("192.0.2.1")
    assert wrong.seconds_left("192.0.2.1") == 0
    wrong.add("192.0.2.1")
    assert wrong.seconds_left("192.0.2.1") == 60
    assert wrong.seconds_left("192.0.2.2") == 0
    clock.now += 60
    assert wrong.seconds_left("192.0.2.1") == 0


def test_a_site_with_many_networks_has_a_bound_of_its_own() -> None:
    """A provider gives one customer a /48: 65,536 networks, each of which could send ten a minute."""
    clock = Clock()
    wrong = wrong_tokens(clock, max_addresses=1000)
    accepted = [address for at in range(200) if wrong.add(address := f"2001:db8:7:{at:x}::1") == 0]
    assert len(accepted) == ALLOWED_OF_SITE
    # What is taken back counts for neither.
    wrong.take_back(accepted[0])
    assert wrong.add("2001:db8:7:ffff::1") == 0
    assert wrong.add("2001:db8:7:ffff::1") == 60
    # What the site's bound refused does not count for the address.
    clock.now += 60
    assert [wrong.add("2001:db8:7:ffff::1") for _ in range(11)] == [0] * 10 + [60]
    # Others are not concerned, and addresses of IPv4 have no site.
    assert wrong.add("2001:db8:8::1") == 0
    assert all(wrong.add(f"192.0.2.{at}") == 0 for at in range(200))
    assert wrong.seconds_left("2001:db8:7:ffff::1") == 60
