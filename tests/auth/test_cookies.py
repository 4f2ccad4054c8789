from __future__ import annotations

import pytest

from gateway.auth.cookies import cookie_values, is_pass, without_cookies


def left(*lines: bytes) -> list[bytes]:
    """The values of ``Cookie`` that a service gets of these."""
    headers = [(b"Host", b"h"), *((b"Cookie", line) for line in lines), (b"X", b"queue-pass=kept")]
    kept = without_cookies(headers, is_pass)
    assert [kept[0], kept[-1]] == [headers[0], headers[-1]]
    return [value for name, value in kept if name == b"Cookie"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"queue-pass=ey"], []),
        ([b"queue-pass-vip=ey"], []),
        ([b"a=1; queue-pass=ey; b=2"], [b"a=1; b=2"]),
        ([b"queue-pass=ey; b=2"], [b"b=2"]),
        ([b"a=1;queue-pass=ey"], [b"a=1"]),
        ([b"a=1; queue-pass = ey"], [b"a=1"]),
        ([b"queue-pass"], []),
        ([b"queue-pass=a; queue-pass=b; queue-pass-x=c"], []),
        ([b"a=1; queue-pass=ey", b"queue-pass=ey", b"b=2"], [b"a=1", b"b=2"]),
        # A semicolon ends a cookie, also between quotes.
        ([b'a="x; queue-pass=ey; y"'], [b'a="x; y"']),
        ([b"Queue-Pass=ey; xqueue-pass=1; queue-passes=2; a=queue-pass=3"], None),
        ([b"a=1;  b=2 ; c", b""], None),
    ],
)
def test_a_service_gets_all_cookies_but_the_gateways_own(
    lines: list[bytes], expected: list[bytes] | None
) -> None:
    assert left(*lines) == (lines if expected is None else expected)


def test_headers_without_such_a_cookie_stay_the_same_object() -> None:
    headers = [(b"cookie", b"a=1; b=2"), (b"X", b"y")]
    assert without_cookies(headers, is_pass) is headers


def test_the_header_is_known_in_any_case() -> None:
    assert without_cookies([(b"COOKIE", b"queue-pass=ey; a=1")], is_pass) == [(b"COOKIE", b"a=1")]


def test_every_value_of_a_name_is_found() -> None:
    assert cookie_values(["a=1; b=2; a=3", "a=4", "A=5"], "a") == ["1", "3", "4"]
