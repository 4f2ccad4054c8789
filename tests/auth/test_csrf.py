from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.auth.csrf import NO_ORIGINS, check_csrf, is_unsafe
from gateway.errors import CsrfRejected

SITE = "Sec-Fetch-Site"
OWN = "https://shop.example"
ALLOWED = "https://partner.example"


class Shop:
    """Says yes to more than a gateway does, so that only the order of the checks refuses."""

    def is_own(self, origin: str, /) -> bool:
        return origin in (OWN, "null", "")

    def may_act(self, origin: str, /) -> bool:
        return origin in (ALLOWED, "null", "")


def headers(*lines: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(lines))


@pytest.mark.parametrize(
    ("lines", "passes"),
    [
        ([(SITE, "same-origin")], True),
        ([(SITE, "none")], True),
        ([("sec-fetch-site", "same-origin"), ("Origin", "https://evil.example")], True),
        ([("Origin", OWN)], True),
        ([("Origin", ALLOWED)], True),
        ([(SITE, "cross-site"), ("Origin", ALLOWED)], True),
        ([(SITE, "same-site"), ("Origin", ALLOWED)], True),
        ([], False),
        ([(SITE, "same-site")], False),
        ([(SITE, "cross-site")], False),
        ([(SITE, "Same-Origin")], False),
        ([(SITE, "")], False),
        ([(SITE, "something-new")], False),
        ([(SITE, "same-origin"), (SITE, "cross-site")], False),
        ([(SITE, "same-origin"), (SITE, "same-origin")], False),
        ([(SITE, "same-origin, cross-site")], False),
        # What the browser says about the site decides, not an origin that looks like the gateway's own.
        ([(SITE, "cross-site"), ("Origin", OWN)], False),
        ([(SITE, "same-site"), ("Origin", OWN)], False),
        ([("Origin", "https://evil.example")], False),
        ([("Origin", OWN + ".evil.example")], False),
        ([("Origin", OWN), ("Origin", "https://evil.example")], False),
        ([("Origin", OWN), ("Origin", OWN)], False),
        ([("Origin", "null")], False),
        ([("Origin", "")], False),
        ([("Referer", OWN + "/page")], False),
        ([("X-Requested-With", "XMLHttpRequest")], False),
    ],
)
def test_an_unsafe_request_must_come_from_an_own_page_or_an_allowed_one(
    lines: list[tuple[str, str]], passes: bool
) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "PROPFIND", "get"):
        if passes:
            check_csrf(method, headers(*lines), Shop())
        else:
            with pytest.raises(CsrfRejected):
                check_csrf(method, headers(*lines), Shop())


@pytest.mark.parametrize(
    ("method", "lines", "unsafe"),
    [
        ("GET", [], False),
        ("HEAD", [], False),
        ("OPTIONS", [], False),
        ("POST", [], True),
        ("QUERY", [], True),
        ("GET", [("Upgrade", "websocket")], True),
        ("GET", [("Upgrade", "WebSocket")], True),
        ("GET", [("Upgrade", "h2c, websocket")], True),
        ("GET", [("Upgrade", "h2c"), ("Upgrade", "websocket")], True),
        ("GET", [("Upgrade", "h2c")], False),
        ("GET", [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")], True),
        ("GET", [("Sec-WebSocket-Version", "13")], True),
    ],
)
def test_requests_that_change_something_and_websockets_are_unsafe(
    method: str, lines: list[tuple[str, str]], unsafe: bool
) -> None:
    assert is_unsafe(method, headers(*lines)) is unsafe
    if unsafe:
        with pytest.raises(CsrfRejected):
            check_csrf(method, headers(*lines), NO_ORIGINS)
    else:
        check_csrf(method, headers(*lines, (SITE, "cross-site")), NO_ORIGINS)


def test_by_default_no_origin_is_own_or_allowed() -> None:
    with pytest.raises(CsrfRejected):
        check_csrf("POST", headers(("Origin", OWN)), NO_ORIGINS)
