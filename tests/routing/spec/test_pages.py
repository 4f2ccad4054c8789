"""``page:`` of rooms: what is read, and that each fault has its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.pages.waiting_page.theme import DEFAULT_COLOUR
from gateway.routing.gates import RoomPage
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.spec.loader import parse

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"


def page_of(folder: Path, page: str) -> RoomPage | None:
    text = f"routes: []\nrooms:\n  default:\n    page: {page}\n"
    return parse(text.encode(), str(folder / "routes.yaml"), {}).rooms["default"].page


@pytest.mark.parametrize("page", ["{}", ""])
def test_nothing_needs_to_be_set(tmp_path: Path, page: str) -> None:
    found = page_of(tmp_path, page)
    assert found is not None
    assert (found.status, found.login, found.theme.colour, found.line) == (503, "", DEFAULT_COLOUR, 4)


def test_a_room_without_the_key_has_no_page() -> None:
    assert parse(b"routes: []\nrooms: {default: {capacity: 1}}", "routes.yaml", {}).pages == {}


def test_all_is_read_and_files_are_found_beside_the_route_file(tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_bytes(SVG)
    (tmp_path / "page.html").write_text("<html><head>{{ head }}</head><body>{{ queue }}</body></html>")
    found = page_of(
        tmp_path,
        "{title: Winter sale, logo: logo.svg, colour: '#123', text: {ko: 가, ZH_hant: 票}, template: page.html, "
        "status: 429, login: '/login?a=1'}",
    )
    assert found is not None
    assert (found.theme.title, found.theme.colour, found.status, found.login) == (
        "Winter sale",
        "#123",
        429,
        "/login?a=1",
    )
    assert found.theme.logo.startswith("data:image/svg+xml;base64,")
    assert found.theme.text == {"ko": "가", "zh-Hant": "票"}
    assert found.theme.template.startswith("<html>")


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("{nonsense: 1}", "there is no key in rooms.default.page 'nonsense'"),
        ("[1]", "rooms.default.page must be a mapping"),
        ("{title: ''}", "title must be a text of 1 to 100 characters"),
        (f"{{title: {'a' * 101}}}", "title must be a text of 1 to 100 characters"),
        ("{colour: red}", "colour must be a colour as #1f4fd8"),
        ("{colour: '#ff0'}", "the contrast of #ff0 with white is 1.07:1, and WCAG 2.2 asks for 4.5:1"),
        ("{status: 404}", "status must be 503, 200, 202 or 429"),
        ("{login: 'https://evil.example/'}", "login must be a path of this site"),
        ("{login: '//evil.example/'}", "login must be a path of this site"),
        ("{login: '/\\evil.example/'}", "login must be a path of this site"),
        ("{text: {pt: a}}", "there is no language in rooms.default.page.text 'pt'"),
        ("{text: {en: ''}}", "en must be a text of 1 to 1000 characters"),
        ("{logo: gone.svg}", "logo 'gone.svg' can't be read: there is no such file"),
        ("{logo: .}", "logo '.' can't be read: it is no regular file"),
        ("{logo: text.txt}", "the logo is no SVG, PNG, JPEG, WebP or GIF"),
        ("{logo: long.gif}", "the logo is longer than 8192 bytes"),
        ("{template: bad.html}", "bad.html, line 2: unknown variable nonsense"),
        ("{template: empty.html}", "the template must hold {{ head }} exactly once, and has it 0 times"),
        ("{template: latin.html}", "latin.html, line 1: the template is not UTF-8"),
    ],
)
def test_a_fault_says_what_is_allowed_and_has_its_line(tmp_path: Path, page: str, message: str) -> None:
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "long.gif").write_bytes(b"GIF89a".ljust(9000))
    (tmp_path / "bad.html").write_text("{{ head }}{{ queue }}\n{{ nonsense }}")
    (tmp_path / "empty.html").write_text("nothing")
    (tmp_path / "latin.html").write_bytes(b"\xe4")
    with pytest.raises(RouteFileError) as refused:
        page_of(tmp_path, page)
    [issue] = refused.value.issues
    assert message in issue.message
    assert issue.line == 4
