"""HMAC-SHA256, beside the one of the standard library."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pytest

from gateway.auth.mac import hmac_sha256


@pytest.mark.parametrize("length", [0, 1, 32, 63, 64, 65, 200])
def test_it_is_that_of_the_standard_library(length: int) -> None:
    key = bytes(range(length))
    for text in (b"", b"a", b"x" * 55, b"x" * 64, "é".encode() * 1000):
        # Twice, so that the second call finds the key already there.
        for _ in range(2):
            assert hmac_sha256(key, text) == hmac.digest(key, text, sha256)


def test_keys_that_differ_in_their_end_alone_are_told_apart() -> None:
    assert hmac_sha256(b"k" * 64, b"text") != hmac_sha256(b"k" * 65, b"text")
    # Keys are padded with zeros, so these two are one key, as RFC 2104 has it.
    assert hmac_sha256(b"key", b"text") == hmac_sha256(b"key\0", b"text")
