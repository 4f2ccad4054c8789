"""A prepared page is the same whether it is filled plainly or in gzip."""

from __future__ import annotations

import gzip
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pages.waiting_page.prepared import Prepared, slot


def test_slots_are_filled_where_they_are() -> None:
    page = Prepared(f"<p>{slot('a')}, {slot('b')} and {slot('a')}</p>")
    assert page.slots == ("a", "b", "a")
    assert page.fill({"a": b"1", "b": b"2"}) == b"<p>1, 2 and 1</p>"


def test_a_mark_that_is_not_closed_is_refused() -> None:
    with pytest.raises(ValueError, match="not closed"):
        Prepared("a\0b")


@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1),
    st.binary(),
)
def test_gzip_holds_the_same(pieces: list[str], value: bytes) -> None:
    page = Prepared(slot("value").join(pieces))
    assert gzip.decompress(page.fill_gzip({"value": value})) == page.fill({"value": value})


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 200_000])
def test_gzip_holds_values_of_any_length(size: int) -> None:
    page, value = Prepared(f"before {slot('value')} after"), os.urandom(size)
    assert gzip.decompress(page.fill_gzip({"value": value})) == b"before " + value + b" after"


def test_what_is_prepared_is_compressed() -> None:
    page = Prepared("the same again and again " * 100 + slot("value"))
    assert len(page.fill_gzip({"value": b"x"})) < 200
