"""The language of the page: the one that the person has chosen in the menu, else that of all messages."""

from __future__ import annotations

from typing import Final

from gateway.auth.cookies import cookie_values
from gateway.context import RequestContext
from gateway.pages.waiting_page.texts import LANGUAGES
from gateway.server.head import RequestHead

COOKIE: Final = "queue-language"
_COOKIE_NAME: Final = COOKIE.encode()
_MAX_AGE_SECONDS: Final = 31_536_000


def language_of(request: RequestHead, context: RequestContext) -> str:
    """One of ``LANGUAGES``."""
    lines = request.headers.getall("Cookie", ())
    if lines:
        chosen = cookie_values(lines, COOKIE)
        if len(chosen) == 1 and chosen[0] in LANGUAGES:
            return chosen[0]
    return context.locale


def language_cookie(language: str, *, secure: bool) -> str:
    """The ``Set-Cookie`` that keeps the choice."""
    end = "; Secure" if secure else ""
    return f"{COOKIE}={language}; Path=/; Max-Age={_MAX_AGE_SECONDS}; HttpOnly; SameSite=Lax{end}"


def is_language_cookie(name: bytes) -> bool:
    """Whether a cookie of this name is the choice of a language."""
    return name == _COOKIE_NAME
