"""The page of a room: prepared for each state and language, and filled in for each request."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from gateway.pages.waiting_page import texts as words
from gateway.pages.waiting_page.assets import ICON, SCRIPT, assets
from gateway.pages.waiting_page.colours import hex_of, lightened, parse_colour
from gateway.pages.waiting_page.prepared import Prepared, slot
from gateway.pages.waiting_page.qr import qr_address
from gateway.pages.waiting_page.states import RELOADING, WITH_PLACE, PageState, sections_of
from gateway.pages.waiting_page.template import (
    Language,
    compile_template,
    own_template,
    render,
    styles_of,
)
from gateway.pages.waiting_page.texts import LANGUAGES, texts_of
from gateway.pages.waiting_page.theme import Theme

API: Final = "/api/v1/queue"
DEFAULT_LANE: Final = "default"


@dataclass(slots=True)
class Facts:
    """What one request fills into the page. Moments in epoch milliseconds, 0 for none; ``between`` in seconds."""

    room: str
    now: int
    status: str = ""
    """The status object as JSON."""
    position: int = 0
    behind: int = 0
    registered: int = 0
    between: Sequence[int] | None = None
    """The estimated wait; None if there is no estimate."""
    paused: bool = False
    unlikely: bool = False
    """Whether there will probably be nothing left."""
    lane: str = ""
    """The lane; empty if the room has none."""
    opens_at: int = 0
    notice: str = ""
    message: str = ""
    back: str = "/"
    """The path to go back to."""
    retry: int = 10
    """Seconds until the page asks again."""
    code: str = ""
    url: str = ""
    qr: str = ""
    """Of a transfer: the code, the address that the other device opens, and the same as an image; empty for none."""
    valid_until: int = 0


class Variant(NamedTuple):
    """Which page it is. ``refused``: it answers a refused POST. ``visitor``: the place is a visitor's, who may take it
    to another device."""

    state: PageState
    language: str
    refused: bool = False
    visitor: bool = False


class PreparedPage(NamedTuple):
    """A page that is ready to be filled. ``policy`` is its content security policy."""

    page: Prepared
    policy: str
    language: str

    def fill(self, facts: Facts, *, gzip: bool = False) -> bytes:
        """The page for one request."""
        values = {
            name: _FILLED[name](self.language, facts).encode("utf-8", "replace") for name in self.page.names
        }
        return self.page.fill_gzip(values) if gzip else self.page.fill(values)


class WaitingPage:
    """The page of all rooms with this theme. Raises ThemeError if the theme's template can't be used."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._template = compile_template(theme.template) if theme.template else own_template("page.html")
        self._prepared: dict[Variant, PreparedPage] = {}

    def prepared(self, variant: Variant) -> PreparedPage:
        """The page of this kind. There are as many as states and languages, four times."""
        found = self._prepared.get(variant)
        if found is None:
            found = self._prepared[variant] = self._prepare(variant)
        return found

    def check(self) -> None:
        """Renders the page in every state. Raises ThemeError if one of them fails."""
        for state in PageState:
            self._prepare(Variant(state, "en"))
        for language in LANGUAGES:
            self._prepare(Variant(PageState.WAITING, language))

    def preview(
        self, state: PageState, language: str, *, room: str = "default", refused: bool = False
    ) -> tuple[bytes, str]:
        """The page in this state with made-up numbers, and its content security policy; for operators who look at
        their theme. A preview has no script, so that it stays as it is."""
        page = self._prepare(Variant(state, language, refused, visitor=True), script=False)
        return page.fill(sample_facts(room, state)), page.policy

    def _prepare(self, variant: Variant, *, script: bool = True) -> PreparedPage:
        language = variant.language
        variables = _variables(self._theme, variant, script=script)
        for name in ("head", "queue"):
            part = own_template(f"{name}.html").render(variables)
            variables[name] = Markup(part)  # noqa: S704 - it was escaped when it was rendered
        text = render(self._template, variables)
        return PreparedPage(Prepared(text), _policy(text), language)


def _variables(theme: Theme, variant: Variant, *, script: bool) -> dict[str, Any]:
    state, language, refused, visitor = variant
    texts, own_files = texts_of(language), assets()
    # Their values are escaped when they are filled in.
    slots = {name: Markup(slot(name)) for name in _FILLED}  # noqa: S704
    return {
        **slots,
        "lang": language,
        "dir": words.direction(language),
        "intl": words.intl_tag(language),
        "title": theme.title or texts["title"],
        "logo": theme.logo,
        "colour": theme.colour,
        "text": theme.text_in(language),
        "state": state.value,
        "states": [each.value for each in sections_of(state)],
        "refused": refused,
        "visitor": visitor,
        "holds_place": state in WITH_PLACE,
        "reloads": state in RELOADING and not refused and script,
        "texts": texts.texts,
        "script_texts": texts.for_script(),
        "languages": [Language(code, texts_of(code)["name"]) for code in LANGUAGES],
        "api": API,
        "icon": own_files.address(ICON),
        "script": own_files.address(SCRIPT) if script else "",
        "style": Markup(f"<style>{_style(theme.colour)}</style>"),  # noqa: S704 - the gateway's own
    }


@lru_cache(maxsize=64)
def _style(colour: str) -> str:
    """The page's style with the colour of a theme."""
    light = parse_colour(colour) or (0, 0, 0)
    accents = f":root{{--light-accent:{hex_of(light)};--dark-accent:{hex_of(lightened(light))}}}"
    hidden = ",".join(
        f'#queue[data-state="{state}"] [data-show]:not([data-show~="{state}"])' for state in PageState
    )
    return f"{accents}{own_style()}{hidden}{{display:none!important}}"


@lru_cache(maxsize=1)
def own_style() -> str:
    """``page.css`` without comments and line breaks."""
    source = files("gateway.pages.waiting_page").joinpath("files", "page.css").read_text(encoding="utf-8")
    while "/*" in source:
        before, _, rest = source.partition("/*")
        source = before + rest.partition("*/")[2]
    return "".join(
        line.strip() + (" " if line.rstrip().endswith(",") else "") for line in source.splitlines()
    )


def _policy(text: str) -> str:
    """The content security policy of a page: of its own styles the hashes."""
    styles = (hashlib.sha256(style.encode()).digest() for style in styles_of(text))
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in styles)
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'{' ' + hashes if hashes else ''}; "
        "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def sample_facts(room: str, state: PageState = PageState.WAITING) -> Facts:
    """Made-up numbers for a preview of a state."""
    now = 1_764_583_200_000
    address = f"https://shop.example{API}/transfer/bdfghjkm"
    return Facts(
        room=room,
        now=now,
        position=0 if state is PageState.REGISTERED else 1234,
        behind=5678,
        registered=12_345,
        between=(540, 900),
        opens_at=now + 754_000,
        notice="",
        message="…",
        code="bdfghjkm",
        url=address,
        qr=qr_address(address),
        valid_until=now + 600_000,
    )


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)


def _attribute(json_text: str) -> str:
    """JSON for an attribute between single quotes, so that its double quotes stay as they are."""
    return json_text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;")


def _next(language: str, facts: Facts) -> str:
    if facts.position == 1:
        return texts_of(language)["next.first"]
    return texts_of(language)["next.waiting" if facts.position else "next.registered"]


def _lane(language: str, facts: Facts) -> str:
    """The lane by its name. Only the one of people who are in no other lane has a name in each language."""
    return texts_of(language)["lane.default"] if facts.lane == DEFAULT_LANE else facts.lane


def _moment(at: int, part: int) -> str:
    return words.moment(at)[part] if at else ""


_FILLED: Final[Mapping[str, Callable[[str, Facts], str]]] = {
    "room": lambda language, facts: _escaped(facts.room),
    "now": lambda language, facts: str(facts.now),
    "status": lambda language, facts: _attribute(facts.status),
    "position": lambda language, facts: words.number(language, facts.position),
    "behind": lambda language, facts: words.number(language, facts.behind),
    "registered": lambda language, facts: words.number(language, facts.registered),
    "estimate": lambda language, facts: _escaped(words.wait_of(language, facts.between, paused=facts.paused)),
    "next": lambda language, facts: _escaped(_next(language, facts)),
    "no_unlikely": lambda language, facts: "" if facts.unlikely else " hidden",
    "lane": lambda language, facts: _escaped(_lane(language, facts)),
    "no_lane": lambda language, facts: "" if facts.lane else " hidden",
    "opens": lambda language, facts: _moment(facts.opens_at, 1),
    "opens_iso": lambda language, facts: _moment(facts.opens_at, 0),
    "opens_ms": lambda language, facts: str(facts.opens_at or ""),
    "no_opens": lambda language, facts: "" if facts.opens_at else " hidden",
    "notice": lambda language, facts: _escaped(facts.notice),
    "no_notice": lambda language, facts: "" if facts.notice else " hidden",
    "message": lambda language, facts: _escaped(facts.message),
    "back": lambda language, facts: _escaped(facts.back),
    "retry": lambda language, facts: str(facts.retry),
    "code": lambda language, facts: _escaped(facts.code),
    "url": lambda language, facts: _escaped(facts.url),
    "qr": lambda language, facts: _escaped(facts.qr),
    "no_qr": lambda language, facts: "" if facts.qr else " hidden",
    "valid": lambda language, facts: _moment(facts.valid_until, 1),
    "valid_iso": lambda language, facts: _moment(facts.valid_until, 0),
}
"""What fills each slot, escaped for HTML. Attributes stand between double quotes, that with ``status`` between single
ones."""
