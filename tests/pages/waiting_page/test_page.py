"""The page as HTML: its parts, its policy, and its size."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from html.parser import HTMLParser

import pytest

from gateway.pages.waiting_page.assets import assets
from gateway.pages.waiting_page.page import Facts, Variant, WaitingPage, sample_facts
from gateway.pages.waiting_page.states import RELOADING, WITH_PLACE, PageState, sections_of
from gateway.pages.waiting_page.texts import LANGUAGES, texts_of
from gateway.pages.waiting_page.theme import Theme

PAGE = WaitingPage(Theme(title="Winter sale", text={"en": "Two tickets each."}))
EVERY = [(state, language) for state in PageState for language in LANGUAGES]
MAX_FIRST_LOAD = 30 * 1024
VOID = {"meta", "link", "img", "input", "br"}


class Reader(HTMLParser):
    """Checks that elements are closed in their order, and notes attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.attributes if name == tag]


def html_of(state: PageState, language: str = "en", **variant: bool) -> str:
    return PAGE.prepared(Variant(state, language, **variant)).fill(sample_facts("default")).decode()


@pytest.mark.parametrize(("state", "language"), EVERY)
def test_each_page_is_sound(state: PageState, language: str) -> None:
    html = html_of(state, language, visitor=True)
    page = Reader(html)
    assert "\0" not in html
    assert page.of("html")[0]["lang"] == language
    main = page.of("main")[0]
    assert (main["id"], main["data-state"]) == ("queue", state)
    identifiers = [attributes["id"] for _, attributes in page.attributes if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    labels = {attributes.get("aria-labelledby") for _, attributes in page.attributes} - {None}
    assert labels <= set(identifiers)
    assert texts_of(language)[f"{state}.title"].replace("’", "’") in html
    # No request to another host, and nothing that the policy forbids.
    assert not re.search(r"\s(?:src|href|action)=\"(?!/api/v1/queue/|data:|\"|/\")", html)
    assert not re.search(r"\s(?:style|on\w+)=", html)


@pytest.mark.parametrize("state", PageState)
def test_a_page_reloads_itself_without_a_script_only_where_that_helps(state: PageState) -> None:
    assert ('http-equiv="refresh"' in html_of(state)) == (state in RELOADING)
    assert 'http-equiv="refresh"' not in html_of(state, refused=True)


@pytest.mark.parametrize("state", PageState)
def test_a_place_can_be_left_where_there_is_one(state: PageState) -> None:
    assert ('id="leave"' in html_of(state)) == (state in WITH_PLACE)
    assert ('id="transfer"' in html_of(state, visitor=True)) == (state in WITH_PLACE)
    assert 'id="transfer"' not in html_of(state)


def test_a_refused_request_has_a_way_back() -> None:
    page = PAGE.prepared(Variant(PageState.WAITING, "en", refused=True))
    html = page.fill(Facts(room="default", now=1, back="/cart?a=1&b=2")).decode()
    assert '<a id="back" class="q-button q-main" href="/cart?a=1&amp;b=2">' in html
    assert "data-refused" in html
    assert 'id="reload"' not in html


def test_the_policy_allows_the_pages_own_style_by_its_hash() -> None:
    prepared = PAGE.prepared(Variant(PageState.WAITING, "en"))
    style = re.search(r"<style>(.*?)</style>", prepared.fill(sample_facts("default")).decode(), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert prepared.policy == (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'sha256-{digest}'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


@pytest.mark.parametrize(("state", "language"), EVERY)
def test_the_first_load_takes_at_most_30_kb(state: PageState, language: str) -> None:
    page = PAGE.prepared(Variant(state, language, visitor=True)).fill(sample_facts("default"), gzip=True)
    files = sum(
        len(each.zipped or each.body) for each in map(assets().by_name.get, assets().names.values()) if each
    )
    assert len(page) + files <= MAX_FIRST_LOAD


def test_a_page_holds_the_texts_of_the_states_that_its_script_may_come_to() -> None:
    assert set(sections_of(PageState.WAITING)) >= {PageState.TURN, PageState.OFFLINE, PageState.SOLD_OUT}
    assert sections_of(PageState.LEFT) == (PageState.LEFT,)


def test_both_forms_of_a_page_are_the_same() -> None:
    prepared = PAGE.prepared(Variant(PageState.WAITING, "ko"))
    facts = sample_facts("default")
    assert gzip.decompress(prepared.fill(facts, gzip=True)) == prepared.fill(facts)


def test_a_status_survives_its_attribute() -> None:
    status = '{"room":"a","notice":"<b> & \'x\' \\"y\\""}'
    facts = Facts(room="a", now=1, status=status)
    main = Reader(PAGE.prepared(Variant(PageState.WAITING, "en")).fill(facts).decode()).of("main")[0]
    assert main["data-status"] == status


@pytest.mark.parametrize("state", PageState)
def test_a_preview_has_no_script_and_stays(state: PageState) -> None:
    html, policy = PAGE.preview(state, "en")
    assert b"<script" not in html
    assert b"refresh" not in html
    assert "script-src 'self'" in policy
