"""The formulas of the draw: what they refuse. ``test_docs.py`` compares their values with the test vectors."""

from __future__ import annotations

import pytest

from gateway.draw.formulas import commitment_of, entry_of, seed_of

SALT = b"s" * 16


def test_users_rooms_and_salts_can_not_be_mistaken_for_each_other() -> None:
    entries = {
        entry_of("a", "b", SALT),
        entry_of("a", "b\0", SALT),
        entry_of("a", "\0b", SALT),
        entry_of("", "a\0b", SALT),
        entry_of("a", "b", b"t" * 16),
    }
    assert len(entries) == 5


def test_a_room_with_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        entry_of("a\0b", "c", SALT)


@pytest.mark.parametrize("length", [0, 15, 17])
def test_salts_have_one_length(length: int) -> None:
    with pytest.raises(ValueError, match="not 16"):
        entry_of("a", "b", b"s" * length)


def test_secrets_and_roots_have_one_length() -> None:
    with pytest.raises(ValueError, match="secret has 31 bytes, not 32"):
        commitment_of(b"s" * 31)
    with pytest.raises(ValueError, match="secret"):
        seed_of(b"s" * 33, b"r" * 32)
    with pytest.raises(ValueError, match="root"):
        seed_of(b"s" * 32, b"r" * 31)


def test_a_user_that_utf8_can_not_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        entry_of("a", "\ud800", SALT)
