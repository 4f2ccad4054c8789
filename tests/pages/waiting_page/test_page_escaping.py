"""What people and services can put into the page never becomes a part of its HTML: in no state and no language."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Final

import pytest

from gateway.pages.waiting_page.page import Facts, Variant, WaitingPage
from gateway.pages.waiting_page.states import PageState
from gateway.pages.waiting_page.texts import LANGUAGES
from gateway.pages.waiting_page.theme import Theme

HOSTILE: Final = (
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "</title></style></textarea></noscript><svg onload=alert(1)>",
    "' onfocus='alert(1)' x='",
    "&quot;&gt;&#60;script&#62;",
    "<!--",
    "]]>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "\u2028\u2029\x0b`${1}`",
    "</main><base href=//evil.example>",
)


class Structure(HTMLParser):
    """The elements of a page with the names of their attributes, and the texts and values that are in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.said: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.said += [value for _, value in attrs if value]

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((f"/{tag}", ()))

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment", (data,)))

    def handle_decl(self, decl: str) -> None:
        self.elements.append(("declaration", (decl,)))


def page_with(text: str, variant: Variant) -> str:
    """The page with ``text`` in every place that is filled in."""
    template = (
        "<!doctype html><html lang={{ lang }}><head>{{ head }}{{ style }}</head><body>"
        '<p title="{{ title }}{{ notice }}">{{ text }}{{ notice }}{{ room }}{{ texts["button.leave"] }}</p>'
        "{{ queue }}</body></html>"
    )
    theme = Theme(title=text, text={"en": text}, logo=f"data:,{text}", template=template)
    facts = Facts(
        room=text,
        now=1,
        status=text,
        notice=text,
        message=text,
        back=text,
        code=text,
        url=text,
        qr=text,
    )
    return WaitingPage(theme).prepared(variant).fill(facts).decode()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", PageState)
def test_a_hostile_text_changes_no_element(state: PageState, language: str) -> None:
    for refused in (False, True):
        variant = Variant(state, language, refused, visitor=True)
        harmless = Structure(page_with("harmless", variant))
        assert sum("harmless" in each for each in harmless.said) >= 8
        for text in HOSTILE if language == "en" else ("".join(HOSTILE),):
            hostile = Structure(page_with(text, variant))
            assert hostile.elements == harmless.elements, text
            assert any(text in each for each in hostile.said)
