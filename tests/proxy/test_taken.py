"""Answers taken as a whole: their content codings. Over HTTP they are tested with what uses them (tests/web)."""

from __future__ import annotations

import gzip
import zlib

import pytest

from gateway.errors import UpstreamUnreachable
from gateway.proxy.taken import decoded

TEXT = b"said once, " * 100


@pytest.mark.parametrize(
    ("body", "codings"),
    [
        (TEXT, ()),
        (TEXT, [""]),
        (TEXT, ["Identity"]),
        (gzip.compress(TEXT), ["gzip"]),
        (gzip.compress(TEXT), ["X-GZIP"]),
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
        (gzip.compress(TEXT), ["deflate"]),
        (gzip.compress(gzip.compress(TEXT)), ["gzip, gzip"]),
        (gzip.compress(gzip.compress(TEXT)), ["gzip", "gzip"]),
        (gzip.compress(TEXT)[:-1], ["gzip"]),
        (b"", ["gzip"]),
        (gzip.compress(TEXT + b"."), ["gzip"]),
        (gzip.compress(bytes(50_000_000)), ["gzip"]),
    ],
)
def test_a_broken_unknown_or_exploding_one_is_refused(body: bytes, codings: list[str]) -> None:
    with pytest.raises(UpstreamUnreachable):
        decoded(body, codings, len(TEXT))
