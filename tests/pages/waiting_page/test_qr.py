"""QR codes: what is in them, and that none is long in the making, since the gateway serves no one meanwhile."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import segno

from gateway.pages.waiting_page import qr

LARGEST_VERSION = 11
"""Of 61 by 61 modules. The largest of all, 40, has 177 by 177, and takes half a second."""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The codes that were made."""
    found: list[Any] = []
    make = segno.make_qr

    def recorded(*args: Any, **options: Any) -> Any:
        found.append(make(*args, **options))
        return found[-1]

    monkeypatch.setattr(segno, "make_qr", recorded)
    qr.drawn.cache_clear()
    return found


def test_an_address_is_an_image(made: list[Any]) -> None:
    assert qr.qr_address("https://shop.example/a").startswith("data:image/svg+xml")
    assert len(made) == 1


def test_no_address_makes_a_large_code(made: list[Any]) -> None:
    longest = "https://" + "a" * (qr.MAX_BYTES - 8)
    assert qr.qr_address(longest)
    assert qr.qr_address(longest + "a") == ""
    assert qr.qr_address("é" * qr.MAX_BYTES) == ""
    assert [code.version <= LARGEST_VERSION for code in made] == [True]


def test_one_address_is_drawn_once(made: list[Any]) -> None:
    assert qr.qr_address("https://shop.example/b") == qr.qr_address("https://shop.example/b")
    assert len(made) == 1


def test_codes_of_ever_new_addresses_take_a_tenth_of_the_time() -> None:
    """Clients choose ``Host``, so each page can have another code."""
    now, of_each = 0.0, 0.25
    processor = itertools.count(step=of_each)
    allowance = qr.Allowance(lambda: now, lambda: float(next(processor)))

    def drawn_by(moment: float) -> int:
        nonlocal now
        now = moment
        for count in itertools.count():
            try:
                assert allowance.draw("https://shop.example/a")
            except qr.NoTime:
                return count
        raise AssertionError

    assert drawn_by(0.0) == qr.BURST_SECONDS / of_each
    assert [drawn_by(each) for each in (2.0, 2.4, 3.0)] == [1, 0, 1]
    assert drawn_by(1000.0) == qr.BURST_SECONDS / of_each


def test_a_page_without_time_for_its_code_is_shown_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_time(text: str) -> str:
        raise qr.NoTime

    monkeypatch.setattr(qr, "drawn", no_time)
    assert qr.qr_address("https://shop.example/c") == ""


def test_no_pattern_is_searched_for(made: list[Any]) -> None:
    """The best of eight masks costs as much as all the rest five times, and each of them can be read."""
    for at in range(8):
        qr.qr_address(f"https://shop.example/{at}")
    assert {code.mask for code in made} == {qr.MASK}
