"""Admissions on the fast path: the bytes that the general way would write."""

from __future__ import annotations

import time
from typing import Any

import pytest
from aiohttp import HttpVersion11
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.auth.passes import Pass
from gateway.auth.tokens import Principal
from gateway.context import RequestContext
from gateway.forward_auth import AuthorizationCheck
from gateway.middleware.access_log import add_common_headers
from gateway.observability.tracing import begin
from gateway.proxy.security_headers import security_headers
from gateway.server import whole_response
from gateway.server.whole_response import SERVER_NAME
from gateway.settings.model import Settings

SIGNED = Settings.from_env({"IDENTITY_HMAC_SECRET": "s" * 32})
UNSIGNED = Settings.from_env({})


class Call:
    """A described call."""

    method = "GET"
    raw_path = "/sale/a?b=c"
    version = HttpVersion11
    headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
    raw_headers: tuple[tuple[bytes, bytes], ...] = ()
    remote = "127.0.0.1"
    scheme = "http"


def checked(**facts: Any) -> AuthorizationCheck:
    context = RequestContext(begin({}), "en", "192.0.2.1")
    for name, value in facts.items():
        setattr(context, name, value)
    return AuthorizationCheck(Call(), context, by_path=True)


@pytest.fixture(autouse=True)
def _one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_796_000_000.5)
    monkeypatch.setattr(whole_response, "rfc822_formatted_time", lambda: "Thu, 01 Jan 2026 00:00:00 GMT")


@pytest.mark.parametrize("settings", [SIGNED, UNSIGNED])
@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"principal": Principal("a b", "USER", 2e9)},
        {"principal": Principal("a", "", 2e9), "room": "default"},
        {"principal": Principal("a", "USER", 2e9), "room": "default", "renews_only": True},
        {"visitor": "v" * 22, "identity": "visitor", "room": "shop"},
        {"principal": Principal("a", "USER", 2e9), "visitor": "v" * 22, "identity": "either"},
    ],
)
def test_it_is_the_same_answer(facts: dict[str, Any], settings: Settings) -> None:
    check = checked(**facts)
    plain = check.plain_admission(settings)
    assert plain is not None
    whole = check.admission(settings)
    add_common_headers(whole, check._context)
    whole.headers.setdefault("Server", SERVER_NAME)
    for keep_alive in (True, False):
        assert plain.serialized(keep_alive=keep_alive) == whole.serialized(keep_alive=keep_alive)
    assert (plain.status, plain.whole_body, plain.keep_alive) == (200, whole.whole_body, whole.keep_alive)


@pytest.mark.parametrize(
    "facts",
    [
        {"principal": Principal("아이유", "USER", 2e9)},
        {"principal": Principal("a", "é", 2e9)},
        {"room": "공연"},
        {"queue_pass": Pass("token", "queue-pass=token")},
        {"visitor_cookie": "visitor=x"},
        {"cors_headers": (("Vary", "Origin"),)},
        {"limit_headers": (("X-RateLimit-Remaining", "1"),)},
        {"security": security_headers(strict_transport=False)},
    ],
)
def test_an_answer_with_more_than_usual_is_written_in_the_general_way(facts: dict[str, Any]) -> None:
    assert checked(**facts).plain_admission(SIGNED) is None
