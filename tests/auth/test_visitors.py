from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from hashlib import sha256

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.auth.csrf import NO_ORIGINS
from gateway.auth.visitors import (
    MAX_AGE_SECONDS,
    Found,
    VisitorCookies,
    is_visitor_cookie,
    key_of,
    may_set_cookie,
    subject,
    visitor_key,
    written,
)

NOW = 1_800_000_000
SECRET, OLDER, FOREIGN = "a-secret-of-the-tests", "an-older-secret-of-them", "a-secret-of-a-stranger"
ID, OTHER_ID = "A" * 22, "B" * 22


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def headers(*lines: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(lines))


def cookies(*secrets: str, clock: Clock | None = None, seen: list[str] | None = None) -> VisitorCookies:
    outcomes = [] if seen is None else seen
    return VisitorCookies(secrets or (SECRET,), on_cookie=outcomes.append, clock=clock or Clock())


def value_of(line: str) -> str:
    """The value in a Set-Cookie."""
    return line.partition(";")[0].partition("=")[2]


def found(jar: VisitorCookies, *lines: str, secure: bool = False) -> Found:
    return jar.find(headers(*(("Cookie", line) for line in lines)), secure=secure)


def signed(text: str, secret: str = SECRET) -> str:
    digest = hmac.digest(secret.encode(), text.encode(), sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def cookie(visitor: str = ID, issued: str = str(NOW), secret: str = SECRET, name: str = "visitor") -> str:
    return f"{visitor}.{issued}.{signed(f'{name}{chr(10)}{visitor}{chr(10)}{issued}', secret)}"


def test_a_visitor_is_known_by_the_cookie_that_was_set() -> None:
    jar = cookies()
    for secure, name in ((False, "visitor"), (True, "__Host-visitor")):
        line = jar.new(secure=secure)
        end = "; Secure" if secure else ""
        assert line == f"{name}={value_of(line)}; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax{end}"
        visitor, count = found(jar, f"a=b; {name}={value_of(line)}", secure=secure)
        assert visitor is not None
        assert (visitor.id, visitor.stale, count) == (value_of(line)[:22], False, 1)
    assert len({value_of(jar.new(secure=False)) for _ in range(100)}) == 100


ATTACKS = {
    "signed by a stranger": cookie(secret=FOREIGN),
    "signed by nothing": cookie(secret=""),
    "no signature": f"{ID}.{NOW}.",
    "an empty signature": f"{ID}.{NOW}",
    "a signature of zeros": f"{ID}.{NOW}.{'A' * 43}",
    "the signature of another visitor": f"{OTHER_ID}.{NOW}.{cookie().rpartition('.')[2]}",
    "the signature of another time": f"{ID}.{NOW + 1}.{cookie().rpartition('.')[2]}",
    "a signature with a stray bit": cookie()[:-1] + chr(ord(cookie()[-1]) + 1),
    "a signature in padding": cookie() + "=",
    "a longer signature": cookie() + "A",
    "the cookie of TLS": cookie(name="__Host-visitor"),
    "the cookie of a pass": cookie(name="queue-pass"),
    "expired to the second": cookie(issued=str(NOW - MAX_AGE_SECONDS)),
    "expired long ago": cookie(issued="1"),
    "from the far future": cookie(issued=str(NOW + 301)),
    "a time that is no number": cookie(issued="now"),
    "a negative time": cookie(issued=f"-{NOW}"),
    "a time with an exponent": cookie(issued="1e9"),
    "a time in other digits": cookie(issued="١" * 10),
    "an endless time": cookie(issued="9" * 400),
    "no id": cookie(visitor=""),
    "a shorter id": cookie(visitor="A" * 21),
    "a longer id": cookie(visitor="A" * 23),
    "an id with a point": cookie(visitor="A" * 20 + ".A"),
    "an id with a line break": cookie(visitor="A" * 20 + "\nA"),
    "an id in other letters": cookie(visitor="é" * 22),
    "a key of a room": cookie(visitor=visitor_key(ID)),
    "something in front": "x" + cookie(),
    "something behind": cookie() + ".x",
    "blanks inside": cookie().replace(".", ". ", 1),
    "an empty value": "",
    "a text": "kim",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_no_forged_swapped_or_expired_cookie_makes_a_visitor(name: str) -> None:
    seen: list[str] = []
    jar = cookies(SECRET, OLDER, seen=seen)
    assert found(jar, f"visitor={ATTACKS[name]}").visitor is None
    assert found(jar, f"__Host-visitor={ATTACKS[name]}").visitor is None
    assert "ok" not in seen


def test_the_form_that_the_attacks_change_is_good() -> None:
    for value in (cookie(), cookie(issued=str(NOW - MAX_AGE_SECONDS + 1)), cookie(issued=str(NOW + 300))):
        assert found(cookies(), f"visitor={value}").visitor is not None


@pytest.mark.parametrize("secure", [False, True])
def test_only_the_cookie_of_the_connections_kind_counts(secure: bool) -> None:
    jar = cookies()
    mine, other = ("__Host-visitor", "visitor") if secure else ("visitor", "__Host-visitor")
    good = cookie(name=mine)
    assert found(jar, f"{mine}={good}", secure=secure).visitor is not None
    assert found(jar, f"{other}={good}", secure=secure) == (None, 0)
    # The other kind's own cookie neither helps nor harms.
    both = f"{other}={cookie(OTHER_ID, name=other)}; {mine}={good}"
    assert found(jar, both, secure=secure).visitor == (ID, False)
    for spelled in (mine.upper(), mine.replace("v", "V"), f"{mine}."):
        assert found(jar, f"{spelled}={good}", secure=secure) == (None, 0)


@pytest.mark.parametrize(
    "lines",
    [
        [f"visitor={cookie()}; visitor={cookie(OTHER_ID)}"],
        [f"visitor={cookie()}", f"visitor={cookie(OTHER_ID)}"],
        [f"visitor={cookie()}; visitor={cookie()}"],
        [f"visitor={cookie()}; visitor=x"],
        [f"visitor={cookie()}; visitor="],
        [f'visitor="{cookie()}"; visitor={cookie()}'],
    ],
)
def test_two_cookies_of_the_name_count_as_none(lines: Sequence[str]) -> None:
    seen: list[str] = []
    assert found(cookies(seen=seen), *lines) == (None, 2)
    assert seen == ["several"]


def test_a_cookie_is_renewed_after_half_of_its_time_and_stays_the_same_visitor() -> None:
    clock, seen = Clock(), []
    jar = cookies(clock=clock, seen=seen)
    value = value_of(jar.new(secure=False))
    for age, stale in ((43_199, False), (43_200, True), (86_399, True)):
        clock.now = NOW + age
        visitor = found(jar, f"visitor={value}").visitor
        assert visitor == (value[:22], stale)
    assert visitor is not None
    renewed = value_of(jar.renewed(visitor, secure=False))
    clock.now = NOW + 86_400 + 80_000
    assert found(jar, f"visitor={value}").visitor is None
    assert found(jar, f"visitor={renewed}").visitor == (value[:22], True)
    assert seen == ["new", "ok", "ok", "ok", "renewed", "invalid", "ok"]


def test_the_first_secret_signs_and_all_verify() -> None:
    clock = Clock()
    older, both, newer = (cookies(*each, clock=clock) for each in ((OLDER,), (SECRET, OLDER), (SECRET,)))
    value = value_of(older.new(secure=True))
    visitor = found(both, f"__Host-visitor={value}", secure=True).visitor
    # Renewed at once, so that the older secret can be taken away.
    assert visitor == (value[:22], True)
    assert visitor is not None
    assert found(newer, f"__Host-visitor={value}", secure=True).visitor is None
    renewed = value_of(both.renewed(visitor, secure=True))
    assert found(newer, f"__Host-visitor={renewed}", secure=True).visitor == (value[:22], False)
    assert not VisitorCookies().known
    assert both.known


SITE, MODE, DEST = "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest"


@pytest.mark.parametrize(
    ("method", "lines", "allowed"),
    [
        ("GET", [], True),
        ("POST", [], True),
        ("POST", [(SITE, "same-origin")], True),
        ("POST", [(SITE, "same-site")], True),
        ("POST", [(SITE, "none")], True),
        ("GET", [(SITE, "cross-site"), (MODE, "navigate"), (DEST, "document")], True),
        ("HEAD", [(SITE, "cross-site"), (MODE, "navigate"), (DEST, "document")], True),
        # A browser sends no Lax cookie with any of these, and would take a new one for the old one.
        ("POST", [(SITE, "cross-site"), (MODE, "navigate"), (DEST, "document")], False),
        ("GET", [(SITE, "cross-site"), (MODE, "navigate"), (DEST, "iframe")], False),
        ("GET", [(SITE, "cross-site"), (MODE, "no-cors"), (DEST, "image")], False),
        ("GET", [(SITE, "cross-site"), (MODE, "cors"), (DEST, "empty")], False),
        ("GET", [(SITE, "cross-site"), (MODE, "navigate")], False),
        ("GET", [(SITE, "cross-site")], False),
        ("GET", [(SITE, "something-new")], False),
        ("GET", [(SITE, "same-origin"), (SITE, "cross-site")], False),
        ("POST", [("Origin", "https://evil.example")], False),
        ("POST", [("Origin", "null")], False),
        ("POST", [("Origin", "https://own"), ("Origin", "https://own")], False),
        ("POST", [("Origin", "https://own")], True),
    ],
)
def test_no_request_of_another_site_changes_the_cookie(
    method: str, lines: list[tuple[str, str]], allowed: bool
) -> None:
    class Own:
        def is_own(self, origin: str, /) -> bool:
            return origin == "https://own"

        def may_act(self, origin: str, /) -> bool:
            return True

    assert may_set_cookie(method, headers(*lines), Own()) is allowed
    if ("Origin", "https://own") in lines:
        assert not may_set_cookie(method, headers(*lines), NO_ORIGINS)


def test_people_write_visitors_and_users_so_that_no_two_are_the_same() -> None:
    keys = [
        *(f"{words}visitor:{ID}" for words in ("", "user:", "user:user:", "User:", "xuser:")),
        *("kim", ID, "user:7", "visitor:", "visitor:short", f"visitor:{ID}x", f"Visitor:{ID}", "user:"),
        *(visitor_key(ID), visitor_key(OTHER_ID)),
    ]
    texts = [written(key) for key in keys]
    assert len(set(texts)) == len(keys)
    assert [key_of(text) for text in texts] == keys
    assert written(visitor_key(ID)) == f"visitor:{ID}"
    assert written(f"visitor:{ID}") == f"user:visitor:{ID}"
    assert [written(key) for key in ("kim", "user:7", "visitor:short")] == ["kim", "user:7", "visitor:short"]


def test_a_pass_names_users_as_their_tokens_do() -> None:
    assert [subject(key) for key in ("kim", f"visitor:{ID}", visitor_key(ID))] == [
        "kim",
        f"visitor:{ID}",
        f"visitor:{ID}",
    ]


def test_the_cookies_are_known_by_their_exact_names() -> None:
    names = (b"visitor", b"__Host-visitor", b"Visitor", b"visitors", b"__host-visitor", b"")
    assert [is_visitor_cookie(name) for name in names] == [True, True, False, False, False, False]
