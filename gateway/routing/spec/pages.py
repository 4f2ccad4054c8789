"""Reads ``page:`` of rooms: the page that browsers get while they wait. Reads the files that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.pages.waiting_page.page import WaitingPage
from gateway.pages.waiting_page.template import MAX_TEMPLATE_BYTES, TemplateFault, faults_of
from gateway.pages.waiting_page.texts import LANGUAGES
from gateway.pages.waiting_page.theme import (
    DEFAULT_COLOUR,
    MAX_LOGO_BYTES,
    Theme,
    ThemeError,
    check_colour,
    logo_address,
)
from gateway.routing.gates import RoomLimits, RoomPage
from gateway.routing.spec.document import Fields, Node, Text
from gateway.routing.spec.issues import Issues, unknown
from gateway.routing.spec.model import PAGE
from gateway.routing.spec.sections import expect_mapping, fields_of, given, value_of
from gateway.routing.spec.value_types import (
    COLOUR,
    FILE_NAME,
    OWN_PATH,
    PAGE_STATUS,
    PAGE_TEXT,
    PAGE_TITLE,
)

_RULE = "page"
_BY_LOWER_CASE = {language.lower(): language for language in LANGUAGES}


def with_pages(node: Node | None, rooms: Mapping[str, RoomLimits], issues: Issues) -> dict[str, RoomLimits]:
    """The rooms with their pages. ``node`` is the section ``rooms``."""
    found = dict(rooms)
    for name, value in node.entries.items() if isinstance(node, Fields) else ():
        page = value.entries.get("page") if isinstance(value, Fields) else None
        if page is not None and name in found:
            found[name] = replace(found[name], page=_page(page, f"rooms.{name}.page", issues))
    return found


def _page(node: Node, title: str, issues: Issues) -> RoomPage | None:
    """The page of one room. Null stands for an empty mapping. None if a part of it has a fault."""
    before = len(issues.errors)
    fields = fields_of(node, PAGE, issues, title)
    theme = _theme(fields, title, issues)
    status = value_of(fields.get("status"), "status", PAGE_STATUS, _RULE, issues)
    login = value_of(given(fields, "login"), "login", OWN_PATH, _RULE, issues)
    if len(issues.errors) > before:
        return None
    try:
        page = WaitingPage(theme)
        page.check()
    except ThemeError as error:
        issues.add(_line(fields.get("template"), node.line), _RULE, f"{title}: {error}")
        return None
    return RoomPage(page, theme, status or 503, login or "", node.line)


def _theme(fields: dict[str, Node], title: str, issues: Issues) -> Theme:
    colour = value_of(given(fields, "colour"), "colour", COLOUR, _RULE, issues)
    try:
        if colour is not None:
            check_colour(colour)
    except ThemeError as error:
        issues.add(fields["colour"].line, _RULE, f"{title}: {error}")
    return Theme(
        title=value_of(given(fields, "title"), "title", PAGE_TITLE, _RULE, issues) or "",
        logo=_logo(given(fields, "logo"), title, issues),
        colour=colour or DEFAULT_COLOUR,
        text=_texts(fields.get("text"), f"{title}.text", issues),
        template=_template(given(fields, "template"), title, issues),
    )


def _texts(node: Node | None, title: str, issues: Issues) -> dict[str, str]:
    """The operator's texts by language."""
    if not isinstance(node, Fields):
        expect_mapping(node, title, issues)
        return {}
    found = {}
    for key, value in node.entries.items():
        language = _BY_LOWER_CASE.get(key.lower().replace("_", "-"))
        if language is None:
            issues.add(node.lines.get(key, node.line), "key", unknown(f"language in {title}", key, LANGUAGES))
            continue
        text = value_of(value, key, PAGE_TEXT, _RULE, issues)
        if text is not None:
            found[language] = text
    return found


def _logo(node: Node | None, title: str, issues: Issues) -> str:
    data = _content(node, "logo", MAX_LOGO_BYTES, title, issues)
    if data is None or node is None:
        return ""
    try:
        return logo_address(data)
    except ThemeError as error:
        issues.add(node.line, _RULE, f"{title}: {error}")
        return ""


def _template(node: Node | None, title: str, issues: Issues) -> str:
    data = _content(node, "template", MAX_TEMPLATE_BYTES, title, issues)
    if data is None or node is None:
        return ""
    try:
        source = data.decode("utf-8")
    except UnicodeDecodeError:
        faults = [TemplateFault(1, "the template is not UTF-8")]
    else:
        faults = faults_of(source)
        if not faults:
            return source
    name = node.value if isinstance(node, Text) else ""
    for fault in faults:
        issues.add(node.line, _RULE, f"{title}: {name}, line {fault.line}: {fault.message}")
    return ""


def _content(node: Node | None, key: str, most: int, title: str, issues: Issues) -> bytes | None:
    """The content of the file that ``key`` names, and at most one byte more than ``most``. None if it can't be read."""
    name = value_of(node, key, FILE_NAME, _RULE, issues)
    if node is None or name is None:
        return None
    path = Path(issues.file).parent / name
    try:
        if not path.is_file():
            raise FileNotFoundError(2, "it is no regular file" if path.exists() else "there is no such file")
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        issues.add(node.line, _RULE, f"{title}: {key} {name!r} can't be read: {error.strerror}")
        return None


def _line(node: Node | None, other: int) -> int:
    return other if node is None else node.line
