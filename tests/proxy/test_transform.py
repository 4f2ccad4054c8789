"""Answers taken as a whole: their content codings. Over HTTP they are tested with what uses them (tests/web)."""

from __future__ import annotations

import gzip
import zlib

import pytest

from gateway.errors import UpstreamUnreachable
from gateway.proxy.transform import decoded

TEXT = b"said once, " * 100


def zipped(text: bytes) -> bytes:
    """In gzip, with nothing of the time of day: workers must agree on the names of tests."""
    return gzip.compress(text, mtime=0)


@pytest.mark.parametrize(
    ("body", "codings"),
    [
        (TEXT, ()),
        (TEXT, [""]),
        (TEXT, ["Identity"]),
        (zipped(TEXT), ["gzip"]),
        (zipped(TEXT), ["X-GZIP"]),
        (zlib.compress(TEXT), ["deflate"]),
    ],
)
def test_a_coding_is_taken_off(body: bytes, codings: list[str]) -> None:
    assert decoded(body, codings, len(TEXT)) == TEXT


@pytest.mark.parametrize(
    ("body", "codings"),
    [
        (TEXT, ["gzip"]),
        (TEXT, ["br"]),
        (TEXT, ["zstd"]),
        (zipped(TEXT), ["deflate"]),
        (zipped(zipped(TEXT)), ["gzip, gzip"]),
        (zipped(zipped(TEXT)), ["gzip", "gzip"]),
        (zipped(TEXT)[:-1], ["gzip"]),
        (b"", ["gzip"]),
        (zipped(TEXT + b"."), ["gzip"]),
        (zipped(bytes(50_000_000)), ["gzip"]),
    ],
)
def test_a_broken_unknown_or_exploding_one_is_refused(body: bytes, codings: list[str]) -> None:
    with pytest.raises(UpstreamUnreachable):
        decoded(body, codings, len(TEXT))
