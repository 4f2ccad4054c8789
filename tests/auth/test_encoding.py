from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.encoding import decode_base64url, decode_object


@given(st.binary(max_size=64))
def test_whatever_was_encoded_is_decoded(data: bytes) -> None:
    assert decode_base64url(base64.urlsafe_b64encode(data).rstrip(b"=")) == data


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"YQ==", "padding"),
        (b"Y", "a single character"),
        (b"YWJjZ", "one character too many"),
        (b"YQ\n", "a line break"),
        (b" YQ", "a space"),
        (b"-_+_", "the standard alphabet's plus"),
        (b"-_/_", "the standard alphabet's slash"),
        (b"YR", "two characters with bits that decode to nothing"),
        (b"YWJ", "three characters with bits that decode to nothing"),
        (b"Y\x00JjZA", "a NUL"),
        (b"\xff\xff\xff\xff", "bytes beyond ASCII"),
        (b"YQ==YQ==", "padding in the middle"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_no_second_spelling_is_accepted(text: bytes, why: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        decode_base64url(text)


def test_an_object_is_read_as_it_stands() -> None:
    assert decode_object('{"a": [1, 2.5, null, {"b": "김"}]}'.encode()) == {"a": [1, 2.5, None, {"b": "김"}]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"a": 1, "a": 2}', "a member twice"),
        (b'{"a": {"b": 1, "b": 1}}', "a member twice, further in"),
        (b'{"a": 1, "\\u0061": 2}', "a member twice, once escaped"),
        (b"[]", "a list"),
        (b"null", "null"),
        (b'"{}"', "a string"),
        (b"", "nothing"),
        (b"{} {}", "two objects"),
        (b'{"a": NaN}', "not a number"),
        (b'{"a": -Infinity}', "infinity"),
        (b"\xef\xbb\xbf{}", "a byte order mark"),
        ("{}".encode("utf-16"), "UTF-16"),
        (b'{"a": "\xff"}', "bytes that are no UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "a surrogate in UTF-8"),
        (b'{"a":' + b"[" * 100_000, "nesting without end"),
        (b'{"a":' + b"9" * 5_000 + b"}", "a number without end"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_not_one_clear_object_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        decode_object(text)
