"""The texts of the desk: the same in English and Korean, with words for every code that it shows of a user."""

from __future__ import annotations

import re
from importlib.resources import files

from gateway.waiting_room.history import EVENTS, REASONS

STATES = ("NONE", "REGISTERED", "WAITING", "PARKED", "ALLOWED_IN")
_ENTRY = re.compile(r'(?:"([\w-]+)"|\b(\w+)): "(?:[^"\\]|\\.)*"')


def keys_of(language: str) -> list[str]:
    source = files("gateway.pages").joinpath("desk", "texts.js").read_text(encoding="utf-8")
    block = source.partition(f"const {language} = {{")[2].partition("\n};")[0]
    return [quoted or plain for quoted, plain in _ENTRY.findall(block)]


def test_both_languages_have_the_same_texts_each_once() -> None:
    english, korean = keys_of("EN"), keys_of("KO")
    assert len(english) > 200
    assert len(english) == len(set(english))
    assert sorted(english) == sorted(korean)


def test_every_state_and_event_of_a_user_is_said_in_words() -> None:
    wanted = [
        *(f"state_{each}" for each in STATES),
        *(f"event_{each}" for each in EVENTS),
        *(f"reason_{each}" for each in REASONS),
    ]
    assert [each for each in wanted if each not in keys_of("EN")] == []
