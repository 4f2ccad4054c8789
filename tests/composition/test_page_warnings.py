"""Warnings about rooms with a page whose other settings spoil it."""

from __future__ import annotations

import pytest

from gateway.composition.page_warnings import warnings_of_pages
from gateway.routing.spec.loader import parse
from gateway.settings.model import Settings

ABSENT, CLAIM, TOKEN = "page-absent", "page-claim", "page-token"
COOKIE = {"JWT_COOKIE_NAME": "session", "JWT_COOKIE_CALLS": "all"}


@pytest.mark.parametrize(
    ("room", "environ", "rules"),
    [
        ("identity: visitor, absent: 150s", {}, []),
        ("identity: either, absent: 0", {}, []),
        ("identity: visitor", {}, [ABSENT]),
        ("identity: visitor", {"QUEUE_ABSENT_SECONDS": "150"}, []),
        ("identity: visitor, absent: 149s", {"QUEUE_ABSENT_SECONDS": "150"}, [ABSENT]),
        ("identity: visitor, absent: 3m, claim: 19s", {}, [CLAIM]),
        ("identity: visitor, absent: 3m, claim: 20s", {}, []),
        ("identity: visitor, absent: 3m", {"QUEUE_CLAIM_SECONDS": "5"}, [CLAIM]),
        ("identity: visitor, absent: 3m, claim: 0", {"QUEUE_CLAIM_SECONDS": "5"}, []),
        ("absent: 3m", {}, [TOKEN]),
        ("absent: 3m", {"JWT_COOKIE_NAME": "session"}, [TOKEN]),
        ("absent: 3m", COOKIE, []),
    ],
)
def test_what_spoils_a_page_is_warned_of(room: str, environ: dict[str, str], rules: list[str]) -> None:
    table = parse(f"routes: []\nrooms: {{a: {{page: {{}}, {room}}}}}".encode(), "routes.yaml", {})
    found = warnings_of_pages(table, Settings.from_env(environ))
    assert [(each.rule, each.line) for each in found] == [(rule, 2) for rule in rules]


def test_a_room_without_a_page_is_not_warned_of() -> None:
    table = parse(b"routes: []\nrooms: {a: {claim: 1s}}", "routes.yaml", {})
    assert warnings_of_pages(table, Settings.from_env({})) == ()
