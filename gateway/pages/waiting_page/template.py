"""The templates of the page: the gateway's own, and those of operators.

An operator's template is the frame round the page's own parts. It can be rendered in a time and to a size that follow
from its length: it may use conditions and plain loops over the lists of the page, and neither calls nor arithmetic,
assignments, macros, or other templates. It is rendered once for each state and language, with slots in place of what
differs from request to request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gateway.pages.waiting_page.theme import ThemeError

MAX_TEMPLATE_BYTES: Final = 64 * 1024
MAX_PAGE_BYTES: Final = 256 * 1024

FILTERS: Final = frozenset({"capitalize", "default", "e", "escape", "lower", "title", "trim", "upper"})
"""The filters that an own template may use."""
TESTS: Final = frozenset({"defined", "none", "eq", "equalto", "ne", "in"})
LISTS: Final = frozenset({"languages"})
"""What an own template may loop over."""
VARIABLES: Final[Mapping[str, str]] = {
    "head": "what the page needs in its `<head>`: character set, title, icon, script. To be written exactly once",
    "style": "the page's own `<style>`; a template may have one of its own instead, or besides",
    "queue": "the page itself: everything that a person sees and uses. To be written exactly once",
    "lang": "the language, such as `zh-Hant`",
    "dir": "`ltr`, or `rtl` in Arabic",
    "title": "the room's title",
    "logo": "the logo as a `data:` address, or empty",
    "colour": "the room's colour",
    "text": "the room's own text in this language, or empty",
    "state": "the state, such as `waiting`",
    "texts": 'the texts of the page in this language: `texts["button.leave"]`',
    "languages": "the languages of the menu, each with `code` and `name`",
    "room": "the name of the room",
    "position": "the place in line",
    "behind": "the number of people behind",
    "registered": "the number of people registered for the opening",
    "estimate": "the estimated wait in words",
    "notice": "the operators' notice, or empty",
    "opens": "when the room opens, or empty",
}
"""What an own template can use, and what it is."""
PARTS: Final = frozenset({"head", "style", "queue"})
"""The page's own parts, which are HTML already."""
PER_REQUEST: Final = frozenset(
    {"room", "position", "behind", "registered", "estimate", "notice", "opens"},
)
"""What differs from request to request. The template is rendered with a mark in its place."""
_ALLOWED: Final = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.If,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Concat,
    nodes.List,
    nodes.Tuple,
    nodes.For,
    nodes.Filter,
    nodes.Test,
)
_ONCE: Final = ("head", "queue")


class TemplateFault(NamedTuple):
    """A fault of an own template, and its line."""

    line: int
    message: str


class Language(NamedTuple):
    """A language of the menu."""

    code: str
    name: str


@lru_cache(maxsize=1)
def environment() -> ImmutableSandboxedEnvironment:
    """Jinja's sandbox, which escapes what is filled in."""
    made = ImmutableSandboxedEnvironment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, auto_reload=False
    )
    made.globals.clear()
    return made


@lru_cache(maxsize=8)
def own_template(name: str) -> Template:
    """One of the gateway's own templates."""
    source = files("gateway.pages.waiting_page").joinpath("files", name).read_text(encoding="utf-8")
    return environment().from_string(source)


def compile_template(source: str) -> Template:
    """An operator's template. Raises ThemeError for one with faults."""
    faults = faults_of(source)
    if faults:
        raise ThemeError("; ".join(f"line {fault.line}: {fault.message}" for fault in faults))
    return environment().from_string(source)


def faults_of(source: str) -> list[TemplateFault]:
    """The faults of an operator's template, as far as its source shows them."""
    if len(source.encode("utf-8", "surrogateescape")) > MAX_TEMPLATE_BYTES:
        return [TemplateFault(1, f"the template is longer than {MAX_TEMPLATE_BYTES // 1024} KiB")]
    if "\0" in source:
        return [TemplateFault(1, "the template holds a NUL character")]
    try:
        tree = environment().parse(source)
        found = list(_faults(tree, in_loop=False, known=frozenset(VARIABLES), written=False))
        if not found:
            environment().from_string(source)
    except TemplateSyntaxError as error:
        return [TemplateFault(error.lineno, f"the template can't be read: {error.message}")]
    except (RecursionError, MemoryError, SyntaxError):
        # SyntaxError: Python refuses to compile what is nested too deeply.
        return [TemplateFault(1, "the template is nested too deeply")]
    return found


def _faults(
    node: nodes.Node, *, in_loop: bool, known: frozenset[str], written: bool
) -> Iterator[TemplateFault]:
    """``written``: the value of ``node`` goes into the page as it is."""
    if not isinstance(node, _ALLOWED):
        yield TemplateFault(node.lineno, f"a template of a page has no {_words(node)}")
        return
    match node:
        case nodes.For():
            if (
                in_loop
                or node.recursive
                or not (isinstance(node.iter, nodes.Name) and node.iter.name in LISTS)
            ):
                allowed = " or ".join(sorted(LISTS))
                yield TemplateFault(
                    node.lineno, f"a loop must be over {allowed}, and not within another loop"
                )
                return
            targets = [node.target, *node.target.find_all(nodes.Name)]
            known = known | {each.name for each in targets if isinstance(each, nodes.Name)}
            in_loop = True
        case nodes.Filter() if node.name not in FILTERS:
            yield TemplateFault(
                node.lineno, f"unknown filter {node.name}; allowed are {', '.join(sorted(FILTERS))}"
            )
        case nodes.Test() if node.name not in TESTS:
            yield TemplateFault(
                node.lineno, f"unknown test {node.name}; allowed are {', '.join(sorted(TESTS))}"
            )
        case nodes.Name() if node.ctx == "load" and node.name not in known:
            names = ", ".join(sorted(VARIABLES))
            yield TemplateFault(node.lineno, f"unknown variable {node.name}; there are {names}")
        case nodes.Name() if node.ctx == "load" and not written and node.name in PER_REQUEST | PARTS:
            yield TemplateFault(node.lineno, f"{node.name} can only be written as it is: {_why(node.name)}")
    if isinstance(node, nodes.For):
        # The target of a loop is no variable that is read.
        children: list[nodes.Node] = [*node.body, *node.else_, *([node.test] if node.test else [])]
    else:
        children = list(node.iter_child_nodes())
    for child in children:
        yield from _faults(child, in_loop=in_loop, known=known, written=_is_written(node, child, written))


def _is_written(node: nodes.Node, child: nodes.Node, written: bool) -> bool:
    """Whether the value of ``child`` goes into the page as it is, if that of ``node`` does so when ``written``."""
    match node:
        case nodes.Output():
            return True
        case nodes.Concat():
            return written
        case nodes.Filter():
            # What is filled in is escaped in any case.
            return written and node.name in ("e", "escape") and child is node.node
        case nodes.CondExpr():
            return written and child is not node.test
    return False


def _why(name: str) -> str:
    if name in PARTS:
        return "a filter would change the HTML of the page"
    return "it is filled in for each request, after conditions and filters"


def _words(node: nodes.Node) -> str:
    """What a part of a template is called."""
    return {
        "Call": "calls",
        "Assign": "{% set %}",
        "AssignBlock": "{% set %}",
        "Macro": "{% macro %}",
        "Include": "{% include %}",
        "Import": "{% import %}",
        "FromImport": "{% import %}",
        "Extends": "{% extends %}",
        "Block": "{% block %}",
    }.get(type(node).__name__, f"{type(node).__name__} (no arithmetic, no calls, no assignments)")


def render(template: Template, variables: Mapping[str, Any]) -> str:
    """The page. Raises ThemeError if that fails, or if a part of the page is missing or there twice."""
    try:
        text = _bounded(template.generate(variables))
    except TemplateError as error:
        raise ThemeError(f"the template fails: {error.message}") from None
    except (TypeError, ValueError, AttributeError, KeyError, LookupError) as error:
        raise ThemeError(f"the template fails: {error}") from None
    for name in _ONCE:
        found = text.count(str(variables[name]))
        if found != 1:
            raise ThemeError(
                f"the template must hold {{{{ {name} }}}} exactly once, and has it {found} times"
            )
    return text


def _bounded(pieces: Iterator[str]) -> str:
    """The pieces in one. Raises ThemeError as soon as they become too long."""
    found, length = [], 0
    for piece in pieces:
        length += len(piece)
        if length > MAX_PAGE_BYTES:
            raise ThemeError(f"the page becomes longer than {MAX_PAGE_BYTES // 1024} KiB")
        found.append(piece)
    return "".join(found)


_STYLE_BEGINS: Final = re.compile(r"<style(?=[\s/>])", re.IGNORECASE)
_STYLE_ENDS: Final = re.compile(r"</style(?=[\s/>])", re.IGNORECASE)


def styles_of(text: str) -> list[str]:
    """The contents of a page's ``<style>`` elements. Takes time in proportion to the text."""
    found = []
    begin = _STYLE_BEGINS.search(text)
    while begin is not None:
        opened = text.find(">", begin.end())
        end = _STYLE_ENDS.search(text, opened) if opened >= 0 else None
        if end is None:
            break
        found.append(text[opened + 1 : end.start()])
        begin = _STYLE_BEGINS.search(text, end.end())
    return found
