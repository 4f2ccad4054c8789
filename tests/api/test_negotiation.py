"""Which clients get a page."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from gateway.api.negotiation import takes_gzip, wants_page

CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (CHROME, True),
        ("text/html", True),
        ("TEXT/HTML", True),
        ("application/xhtml+xml", True),
        ("text/html;level=1;q=0.5, application/json;q=0.4", True),
        ("text/html, application/json", True),
        ("application/json, text/html", True),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=0.5, */*", False),
        ("text/html;q=0.5, application/*", False),
        ("text/html, */*", True),
        ("text/html;q=0.9, */*;q=0.9", True),
        ("text/html;q=0.5, */*, application/json;q=0.4", True),
        ("text/html;q=0.5, */*;q=0.4, application/*;q=0.6", False),
        ("text/html;q=0", False),
        ("text/html;q=nonsense", False),
        ("text/html;q=2", False),
        ("text/*", False),
        ("*/*", False),
        ("application/json", False),
        ("", False),
        (";;,,", False),
        ("x/y," * 40 + "text/html", False),
        # The weight that is out of reach counts as none.
        ("text/html" + ";a" * 7 + ";q=0", False),
        ("text/html" + ";a" * 8 + ";q=0", True),
    ],
)
def test_accept_decides_where_browsers_say_nothing(accept: str, page: bool) -> None:
    assert wants_page(CIMultiDict(Accept=accept)) is page


def test_several_lines_are_one_list() -> None:
    assert wants_page(CIMultiDict([("Accept", "text/html;q=0.5"), ("Accept", "application/json")])) is False


@pytest.mark.parametrize(
    ("fetch", "page"),
    [
        ({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, True),
        ({"Sec-Fetch-Mode": "navigate"}, True),
        ({"Sec-Fetch-Dest": "document"}, True),
        ({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, False),
        ({"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, False),
        ({"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "document"}, False),
        ({"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, False),
        ({"Sec-Fetch-Mode": "Navigate"}, False),
    ],
)
@pytest.mark.parametrize("accept", [CHROME, "*/*", "application/json"])
def test_what_a_browser_says_decides_alone(fetch: dict[str, str], page: bool, accept: str) -> None:
    assert wants_page(CIMultiDict(fetch, Accept=accept)) is page


def test_two_of_one_name_are_no_navigation() -> None:
    assert not wants_page(CIMultiDict([("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Mode", "navigate")]))


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("br", False),
        ("", False),
    ],
)
def test_gzip_must_be_named(header: str, taken: bool) -> None:
    assert takes_gzip(header) is taken
