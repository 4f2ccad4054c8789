"""Notices of operators in the language of each user."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Final

from gateway.api.i18n import weighted_locales
from gateway.waiting_room.notices import Notice

EVERYONE: Final = ""
"""The language of a text for users without one of their own."""

EVERYONE_SHOWN: Final = "*"
"""How operators see it."""


@lru_cache(maxsize=1024)
def notice_json(notice: Notice, languages: str) -> str:
    """The text for a client that asks for these languages, as JSON; empty if there is none for it. ``languages``: as in
    ``Accept-Language``."""
    text = text_for(notice, languages)
    return json.dumps(text, ensure_ascii=False) if text else ""


def text_for(notice: Notice, languages: str) -> str:
    """The text in the language that the client likes best, of those that the notice has; else the text for everyone,
    which may be missing too."""
    texts = notice.texts
    wanted = weighted_locales(languages)
    return next((texts[each] for each in wanted if each in texts), texts.get(EVERYONE, ""))
