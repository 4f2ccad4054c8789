"""Own templates: what they may do, that this bounds them, and that what is filled in is escaped."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.pages.waiting_page.page import Facts, Variant, WaitingPage
from gateway.pages.waiting_page.states import PageState
from gateway.pages.waiting_page.template import (
    MAX_TEMPLATE_BYTES,
    VARIABLES,
    compile_template,
    faults_of,
    styles_of,
)
from gateway.pages.waiting_page.theme import Theme, ThemeError
from tests.support.pages import names, rows, section

FRAME = "<!doctype html><html lang={{ lang }}><head>{{ head }}</head><body>{{ queue }}%s</body></html>"


def test_a_frame_with_every_variable_is_sound() -> None:
    others = " ".join(
        f"{{{{ {name} }}}}" for name in VARIABLES if name not in ("head", "queue", "texts", "languages")
    )
    loop = "{% for each in languages %}{{ each.code }}{{ each.name|upper }}{% endfor %}"
    more = '{{ texts["button.leave"] }}{% if state == "waiting" and not logo %}x{% else %}y{% endif %}'
    source = FRAME % (others + loop + more)
    assert faults_of(source) == []
    WaitingPage(Theme(template=source)).check()


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        ("{% for a in range(10) %}{% endfor %}", "a loop must be over languages"),
        (
            "{% for a in languages %}{% for b in languages %}{% endfor %}{% endfor %}",
            "not within another loop",
        ),
        ("{% for a in languages recursive %}{% endfor %}", "a loop must be over languages"),
        ("{% set a = title %}", "has no {% set %}"),
        ("{{ title.upper() }}", "has no calls"),
        ("{{ 'a' * 1000000000 }}", "no arithmetic"),
        ("{{ 2 ** 100000 }}", "no arithmetic"),
        ("{% include 'x' %}", "has no {% include %}"),
        ("{% extends 'x' %}", "has no {% extends %}"),
        ("{% import 'x' as y %}", "has no {% import %}"),
        ("{% macro m() %}{% endmacro %}", "has no {% macro %}"),
        ("{% block b %}{% endblock %}", "has no {% block %}"),
        ("{{ title|safe }}", "unknown filter safe"),
        ("{{ title|center(100000000) }}", "unknown filter center"),
        ("{{ title is sameas title }}", "unknown test sameas"),
        ("{{ nonsense }}", "unknown variable nonsense; there are behind, colour"),
        ("{{ config }}", "unknown variable config"),
        ("{% if %}", "can't be read"),
        ("{{ title", "can't be read"),
        ("\0", "NUL"),
        ("x" * MAX_TEMPLATE_BYTES, "longer than 64 KiB"),
        ("(" * 50_000, None),
        ("{{ " + "(" * 20_000 + " }}", "nested too deeply"),
        ("{% if a %}" * 2500 + "{% endif %}" * 2500, "nested too deeply"),
    ],
)
def test_what_a_template_may_not_do(part: str, fault: str | None) -> None:
    faults = faults_of(FRAME % ("\n" + part))
    if fault is None:
        assert faults == []
        return
    assert any(fault in each.message for each in faults), faults
    with pytest.raises(ThemeError):
        compile_template(FRAME % ("\n" + part))


def test_a_fault_has_its_line() -> None:
    assert faults_of("a\nb\n{{ nonsense }}")[0].line == 3


@pytest.mark.parametrize("missing", ["{{ head }}", "{{ queue }}"])
def test_what_the_page_needs_must_be_there_once(missing: str) -> None:
    for source in (FRAME.replace(missing, ""), FRAME.replace(missing, 2 * missing)):
        with pytest.raises(ThemeError, match="exactly once"):
            WaitingPage(Theme(template=source % "")).check()


@pytest.mark.parametrize(
    "part", ["{{ texts.nonsense }}", "{{ title.__class__.__mro__ }}", "{{ texts['x']['y'] }}"]
)
def test_a_template_that_fails_is_refused(part: str) -> None:
    with pytest.raises(ThemeError, match="the template fails"):
        WaitingPage(Theme(template=FRAME % part)).check()


@pytest.mark.parametrize(
    "part",
    [
        "{% if position > 10 %}far{% endif %}",
        "{% if notice %}<aside>{{ notice }}</aside>{% endif %}",
        "{{ notice|upper }}",
        "{{ room|title }}",
        "{{ (notice ~ room)|lower }}",
        "{{ notice[0] }}",
        "{{ opens.length }}",
        "{{ title if notice else text }}",
        "{{ title|default(notice) }}",
        "{{ [notice] }}",
        "{{ notice == title }}",
        "{{ notice is none }}",
        "{% for each in languages if notice %}{{ each.code }}{% endfor %}",
        "{{ head|upper }}",
        "{{ queue|trim }}",
        "{{ style[1] }}",
    ],
)
def test_what_is_filled_in_for_each_request_can_only_be_written(part: str) -> None:
    """A filter would change the mark in its place, and the page would fail when it is asked for."""
    faults = faults_of(FRAME % part)
    assert any("can only be written as it is" in each.message for each in faults), faults


def test_what_is_filled_in_can_be_written_in_any_place() -> None:
    part = "{{ notice|e }}{{ room ~ ': ' ~ position }}{{ opens if logo else estimate }}{{ behind|escape }}"
    page = WaitingPage(Theme(template=FRAME % f"<p id=own>{part}</p>"))
    page.check()
    facts = Facts(room="default", now=1, notice="<b>", position=7, behind=3)
    html = page.prepared(Variant(PageState.WAITING, "en")).fill(facts).decode()
    assert "<p id=own>&lt;b&gt;default: 7not known yet3</p>" in html


@pytest.mark.parametrize(
    "part",
    [
        "<style>" * 9000,
        "<style " * 9000,
        "<style></style" + " " * 60_000,
        "</style>" * 8000,
        "{{ queue }}" * 5500,
        "{% for each in languages %}" + "{{ queue }}" * 5500 + "{% endfor %}",
        "{{ " + "logo ~ " * 9000 + "logo }}",
    ],
    ids=["styles", "tags", "blanks", "ends", "queues", "queues in a loop", "logos"],
)
def test_no_template_takes_long_or_much_memory(part: str) -> None:
    theme = Theme(template=FRAME % part, logo="data:," + "x" * 11_000)
    began = time.process_time()
    with suppress(ThemeError):
        WaitingPage(theme).check()
    took = time.process_time() - began
    # Apart from the time, which it makes several times as long.
    tracemalloc.start()
    try:
        with suppress(ThemeError):
            WaitingPage(theme).check()
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Before the bound: 93 s for the styles, 1.3 GB for the pages in the loop.
    assert took < 10
    assert most < 400 * 1024 * 1024


def test_what_is_filled_in_is_escaped() -> None:
    hostile = "\"'><script>alert(1)</script>"
    page = WaitingPage(
        Theme(
            title=hostile,
            text={"en": hostile},
            template=FRAME % '<p title="{{ title }}">{{ text }}{{ notice }}{{ room }}</p>',
        )
    )
    facts = Facts(room=hostile, now=1, notice=hostile, message=hostile, back=hostile, status=hostile)
    for state in PageState:
        html = page.prepared(Variant(state, "en", visitor=True)).fill(facts).decode()
        assert "<script>alert" not in html
        assert "\"'>" not in html


def test_styles_are_found() -> None:
    assert styles_of("<style>a{}</style><STYLE type=x>b{}</STYLE >") == ["a{}", "b{}"]
    assert styles_of("<style\n>a</styles></style\n><style-x>b</style-x><style>c</style/>") == [
        "a</styles>",
        "c",
    ]
    assert styles_of("<style>a</style><style>b") == ["a"]
    assert styles_of("<style>a</style><style") == ["a"]


def test_every_variable_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/gates.md").read_text(encoding="utf-8")
    table = rows(section(text, "#### Templates of your own"), 2)[1:]
    assert {names([name])[0]: words for name, words in table} == dict(VARIABLES)
