"""The docs are held against each other and against the code: links, scripts, keys, error codes, events, commands."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from gateway.api.envelope import STATUS_OF
from gateway.api.i18n import message
from gateway.app import management_endpoints, public_endpoints
from gateway.cli.main import make_parser
from gateway.errors import GatewayError
from gateway.settings.model import Settings
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.scripts import NAMES
from gateway.waiting_room.state import Summary
from tests.support.pages import names, rows, section

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DOCS = [page for page in PAGES if page.is_relative_to(ROOT / "docs")]
QUEUE = (ROOT / "docs" / "reference" / "queue.md").read_text(encoding="utf-8")
API = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")

_LINK = re.compile(r"!?\[[^\]\n]*\]\(([^)\s]+)\)")
_UNNAMED = re.compile(
    r"\b(?:whoever|whomever|nobody|somebody|anybody|everybody|those in|who is in)\b|(?:^|[.;:|] |- )Who\b",
    re.IGNORECASE | re.MULTILINE,
)
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)


def without_code(text: str) -> str:
    """A page without its code blocks and code spans."""
    return re.sub(r"`[^`\n]+`", "", _FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """What may stand behind ``#`` in a link to this page, as GitHub makes it of headings."""
    headings = re.findall(r"^#{1,6} +(.+?) *#*$", _FENCE.sub("", text), re.MULTILINE)
    found: set[str] = set()
    for heading in headings:
        plain = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        anchor, count = plain, 0
        while anchor in found:
            count += 1
            anchor = f"{plain}-{count}"
        found.add(anchor)
    return found


def broken_links(page: Path) -> list[str]:
    """Links of ``page`` to files or headings that don't exist. Other sites are not asked."""
    broken = []
    for link in _LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One two\n\n## One two\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n[a](other.md#one-two) [b](other.md#one-two-1) [c](#page) [d](https://example.org)\n"
        "[e](gone.md) [f](other.md#three) [g](#four)\n```\n[h](not-a-link)\n```\n`[i](neither)`\n"
    )
    assert broken_links(page) == ["gone.md", "other.md#three", "#four"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        linked = _LINK.findall(without_code(page.read_text(encoding="utf-8")))
        targets = {(page.parent / link.partition("#")[0]).resolve() for link in linked if ":" not in link}
        ahead += [each for each in PAGES if each in targets and each not in reached]
    assert set(DOCS) <= reached


def test_every_script_is_described_and_nothing_else() -> None:
    table = section(QUEUE, "## Scripts")
    assert sorted(names(row[0] for row in rows(table, 5))) == sorted(NAMES)


def test_every_include_is_described_and_nothing_else() -> None:
    table = section(QUEUE, "## Scripts")
    includes = {file.stem for file in (ROOT / "lua_scripts" / "includes").glob("*.lua")}
    assert set(names(row[0] for row in rows(table, 2))) == includes


def test_what_is_said_to_be_published_is_what_the_heads_say() -> None:
    said = {names(row[:1])[0]: set(names(row[4:])) for row in rows(section(QUEUE, "## Scripts"), 5)[1:]}
    for name in NAMES:
        head = (ROOT / "lua_scripts" / f"{name}.lua").read_text().partition("--- @include")[0]
        published = re.search(r"^-- Publishes(.*?)(?=^--$|^(?!--))", head, re.MULTILINE | re.DOTALL)
        events = set(
            re.findall(
                r"\b(ADMITTED|FRONT|LEFT|ABSENT|UNCLAIMED|SOLD_OUT|OPERATOR|MOVED)\b",
                published[1] if published else "",
            )
        )
        assert said[name] == events, name


def all_keys(room: str) -> list[str]:
    """The names of a room's keys, without a prefix."""
    keys = RoomKeys("", room)
    named = [value for name, value in vars(keys).items() if not name.startswith("_")]
    named += [
        keys.here("<instance>"),
        keys.several("<instance>"),
        keys.invitation("<id>"),
        keys.about("<instance>"),
        keys.of_address("<hash>"),
        *keys.of_lanes(["<name>"]),
    ]
    return [name for name in named if name not in {"", room}]


def test_every_key_is_described_and_nothing_else() -> None:
    table = rows(section(QUEUE, "## Keys"), 5)[1:]
    assert sorted(names(row[0] for row in table)) == sorted(all_keys("default"))
    # One lock serves all rooms, so that of another room is never made.
    others = [name for name in all_keys("vip") if not name.endswith("sweep-lock")]
    assert sorted(names(row[1] for row in table)) == sorted(others)


def test_every_total_is_described() -> None:
    totals = Summary._fields[Summary._fields.index("admitted") : Summary._fields.index("waits")]
    tally = next(row for row in rows(section(QUEUE, "## Keys"), 5) if row[0] == "`gw:{default}:tally`")
    # Moves, and users put in front, are no part of the summary, since no number of the room follows from them.
    assert names([tally[3]]) == [*totals, "moved", "fronted"]


def test_every_error_code_is_described_with_its_status_and_nothing_else() -> None:
    table = rows(section(API, "### Error codes"), 4)[1:]
    described = [(int(row[0]), names([row[1]])[0]) for row in table]
    in_code = {(status, error.code) for error, status in STATUS_OF.items()} | {(500, GatewayError.code)}
    assert sorted(described) == sorted(in_code)


def test_no_other_code_is_mentioned_anywhere() -> None:
    """Words in capitals with an underscore are settings, events or codes; a code that is no more would be none."""
    known = {error.code for error in STATUS_OF} | {GatewayError.code, "REMOVED", "MOVED", "TOO_MANY_STREAMS"}
    for page in (
        "README.md",
        "docs/reference/api.md",
        "docs/reference/queue.md",
        "docs/explanation/architecture.md",
    ):
        text = (ROOT / page).read_text(encoding="utf-8")
        after_status = set(re.findall(r"\b[45]\d\d `?([A-Z][A-Z_]+[A-Z])\b", text))
        assert after_status <= known, page


def test_every_own_call_is_described_and_nothing_else() -> None:
    settings = Settings.from_env({})
    endpoints = [*public_endpoints(settings), *management_endpoints(settings)]
    described = set(
        re.findall(r"\b(GET|POST|DELETE) (/(?:api/v1/queue|actuator|metrics|v3/|swagger-ui)[^`?\s]*)", API)
    )
    below = [endpoint.path for endpoint in endpoints if endpoint.below]
    assert described == {(each.method, each.path) for each in endpoints if not each.below}
    assert [path for path in below if f"all methods below `{path}`" not in API] == []


@pytest.mark.parametrize("key", ["lineup.admitted", "lineup.already", "lineup.waiting"])
def test_messages_of_lineup_are_those_of_the_catalogues(key: str) -> None:
    told = {(row[1], row[2]) for row in rows(section(API, "### Lineup"), 3)}
    assert (message("ko", key), message("en", key)) in told


def test_examples_are_sound_json() -> None:
    for block in re.findall(r"^```json\n(.*?)^```", API, re.MULTILINE | re.DOTALL):
        json.loads(block)
    for line in re.findall(r"^data: (.*)$|^    (\{.*\})$", API + QUEUE, re.MULTILINE):
        json.loads(line[0] or line[1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_examples_exist(page: Path) -> None:
    """Each ``gateway …`` line of a shell example is one that the command line takes."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for line in re.findall(r"^ *gateway (.*)$", "".join(blocks), re.MULTILINE):
        words = shlex.split(re.split(r"\s+(?:#|>|&)", line)[0])
        make_parser().parse_args(words)


def test_the_readme_names_every_command() -> None:
    commands = set(re.findall(r"^    (\w+)(?: |$)", make_parser().format_help(), re.MULTILINE))
    assert {"serve", "demo"} < commands
    for text in (README, (ROOT / "README.ko.md").read_text(encoding="utf-8")):
        assert commands <= set(re.findall(r"`(\w+)`", text.rpartition("`gateway --help`")[2]))


@pytest.mark.parametrize("name", ["architecture", "demo"])
def test_a_picture_is_small_and_has_a_text_for_readers_who_cannot_see_it(name: str) -> None:
    picture = (ROOT / "docs" / "assets" / f"{name}.svg").read_bytes()
    assert len(picture) < 12 * 1024
    assert b"<title" in picture
    assert b"<desc" in picture


@pytest.mark.parametrize("page", ["README", "docs/tutorials/first-waiting-room"])
def test_a_korean_page_has_the_same_code_and_leads_to_the_same_pages(page: str) -> None:
    english, korean = ((ROOT / f"{page}{end}").read_text(encoding="utf-8") for end in (".md", ".ko.md"))
    assert [found[0] for found in _FENCE.finditer(korean)] == [found[0] for found in _FENCE.finditer(english)]
    # Each leads to the other, and to Korean pages where there are any.
    own = Path(page).name
    to_english, to_korean = (
        {link.replace(".ko.md", ".md") for link in _LINK.findall(text)} - {f"{own}.md"}
        for text in (english, korean)
    )
    assert to_korean == to_english


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_in_the_navigation_and_says_first_whom_it_is_for(page: Path) -> None:
    """The order of a page: its title, then one paragraph with whom it is for and what they can do afterwards."""
    assert f" {page.relative_to(ROOT / 'docs')}\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    title, opening = page.read_text(encoding="utf-8").split("\n\n")[:2]
    assert re.fullmatch("# .+", title)
    if not page.name.endswith(".ko.md"):
        assert opening.startswith("For ")
        assert re.search(
            r"\b[Oo]n\s+this\s+page|\b[Aa]fter\s+(?:reading\s+)?this\s+page|In ten minutes you", opening
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_are_short_but_for_tables_and_code(page: Path) -> None:
    lines = _FENCE.sub("", page.read_text(encoding="utf-8")).splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith(("|", "    "))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sentences_name_their_subject(page: Path) -> None:
    """The client, the user, the operator, the gateway: never somebody whom the reader has to guess."""
    text = without_code(page.read_text(encoding="utf-8"))
    assert _UNNAMED.findall(text) == []


def test_every_page_that_files_name_exists() -> None:
    """Messages, comments and configuration lead to pages by their path."""
    folders = ("gateway", "lua_scripts", "deploy", "tests", "benchmarks")
    files = [ROOT / "routes.yaml", *(file for folder in folders for file in (ROOT / folder).rglob("*"))]
    texts = {
        file: file.read_text(encoding="utf-8")
        for file in files
        if file.suffix in {".py", ".lua", ".yaml", ".yml", ".conf", ".env", ".service"} and file.is_file()
    }
    named = {name for text in texts.values() for name in re.findall(r"\bdocs/[\w/-]+\.(?:md|svg)", text)}
    assert len(named) > 5
    assert {name for name in named if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("see [`deploy/`](../../deploy)", "see `deploy`"),
        ("the [shipped routes.yaml](../../routes.yaml#x).", "the shipped routes.yaml (`routes.yaml`)."),
        (
            "[Redis](redis.md) [a](https://example.org) [b](#c)",
            "[Redis](redis.md) [a](https://example.org) [b](#c)",
        ),
        ("![picture](../assets/demo.svg)", "![picture](../assets/demo.svg)"),
        ("```\n[`deploy/`](../../deploy)\n```\n", "```\n[`deploy/`](../../deploy)\n```\n"),
    ],
)
def test_on_the_site_a_link_to_a_file_elsewhere_is_its_name(markdown: str, shown: str) -> None:
    hooks = runpy.run_path(str(ROOT / "docs" / "hooks.py"))
    page = SimpleNamespace(file=SimpleNamespace(src_uri="how-to/deploy.md"))
    assert hooks["on_page_markdown"](markdown, page=page) == shown


def test_the_site_loads_nothing_from_elsewhere() -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "\n  font: false\n" in settings
    assert "http" not in settings


def test_calls_with_a_body_say_how_slow_it_may_come() -> None:
    document = yaml.safe_load((ROOT / "gateway/pages/files/openapi.yaml").read_text(encoding="utf-8"))
    with_body = [
        operation
        for path in document["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict) and "requestBody" in operation
    ]
    assert len(with_body) >= 4
    for operation in with_body:
        assert {"408", "413", "429"} <= operation["responses"].keys(), operation["operationId"]


def test_descriptions_of_leaving_do_not_contradict_each_other() -> None:
    document = yaml.safe_load((ROOT / "gateway/pages/files/openapi.yaml").read_text(encoding="utf-8"))
    leave = document["paths"]["/api/v1/queue/leave"]["post"]["description"]
    assert "not for `pagehide`" in leave
    assert "Never leave on `pagehide`" in API
