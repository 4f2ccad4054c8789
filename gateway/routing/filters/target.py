"""Filters that change the path and the query with which the service is called.

As Spring's filters, they work on the encoded path as the client sent it. Variables are encoded when they are filled in,
so that one segment stays one segment and one parameter one parameter. The route table makes the result canonical again,
and refuses a request whose path has become ambiguous. A filter that makes every path ambiguous is a fault of the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_plus

from gateway.errors import BadRequest
from gateway.routing.filters.base import (
    Filter,
    FunctionFilter,
    LeadingSlashCheck,
    RequestRewrite,
    Template,
    parse_template,
)
from gateway.routing.java_regex import Replacement, compile_java, parse_replacement
from gateway.routing.path import MAX_TARGET, parse_target
from gateway.routing.spec.arguments import Arg, Arguments, Factory
from gateway.routing.spec.value_types import whole

_PATH_SAFE: Final = "/:@!$&'()*+,=~%"
_QUERY_SAFE: Final = "/:@!$&'()*+,=~%;?"
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# The beginning of a capturing group in a regex.
_GROUP = re.compile(r"\((?:\?<[A-Za-z][A-Za-z0-9]*>)?(?!\?)")
_NESTED = re.compile(r"%(?:25)+(?=[0-9A-Fa-f]{2}|[uU][0-9A-Fa-f]{4})")


def _strip_prefix(args: Arguments) -> Filter:
    parts = args.integer("parts", 1)

    def apply(rewrite: RequestRewrite) -> None:
        segments = [segment for segment in rewrite.raw_path.split("/") if segment][parts:]
        slash = "/" if segments and rewrite.raw_path.endswith("/") else ""
        rewrite.raw_path = "/" + "/".join(segments) + slash

    return FunctionFilter(f"[StripPrefix parts = {parts}]", apply, by_path=True)


def _rewrite_path(args: Arguments) -> Filter:
    source = args.text("regexp")
    regexp = args.with_warning(compile_java(source))
    replacement = parse_replacement(args.text("replacement"), regexp)
    for literal in replacement.literals():
        if "?" in literal or "#" in literal:
            raise args.wrong("the replacement is a path; '?' and '#' can't be part of it")
        if "{" in literal or "}" in literal:
            raise args.wrong(
                "the replacement takes groups of the regex, $\\{name}; variables mean nothing there"
            )

    # With "x" for each group, any fault that is found comes from the text around the groups.
    description = "".join(part if isinstance(part, str) else "x" for part in replacement.parts)
    demand_sound(args, "the replacement", description if description.startswith("/") else f"/x{description}")

    def apply(rewrite: RequestRewrite) -> None:
        rewrite.raw_path = regexp.replace(rewrite.raw_path, replacement.expand)
        if len(rewrite.raw_path) > MAX_TARGET:
            raise BadRequest("the path is too long for the service")

    slash_check = None
    if not description.startswith("/") and _may_leave_bare(source, replacement):
        warning = (
            f"RewritePath: {source!r} replaced by {replacement.source!r} can leave no path, or one without a slash in "
            "front, which services get as '/' and with a slash; begin the replacement with '/'"
        )
        slash_check = LeadingSlashCheck(lambda path: regexp.replace(path, replacement.expand), warning)
    return FunctionFilter(
        f"[RewritePath {source} = '{replacement.source}']", apply, by_path=True, slash_check=slash_check
    )


def _may_leave_bare(regexp: str, replacement: Replacement) -> bool:
    """Whether a path may lose its leading slash: the regex may match that slash, and the replacement begins neither
    with a slash nor with a group that begins with one."""
    first = replacement.parts[0] if replacement.parts else ""
    if not isinstance(first, str):
        group = _group_source(regexp, first)
        if re.match(r"/(?![?*{|])[^|]*\Z", group):
            return False
    begin = re.sub(r"\A(?:\^|\((?:\?:|\?<[A-Za-z0-9]+>)?)+", "", regexp)
    return "|" in regexp or re.match(r"[A-Za-z0-9_%-](?![?*{|])", begin) is None


def _group_source(regexp: str, group: int) -> str:
    """The text between a group's parentheses; "" if it can't be found."""
    number, at = 0, 0
    while at < len(regexp):
        if regexp[at] == "\\":
            at += 2
            continue
        if regexp[at] == "[":
            at = max(regexp.find("]", at + 2), at)
        elif found := _GROUP.match(regexp, at):
            number += 1
            if group == number:
                return regexp[found.end() : _closing(regexp, found.end())]
        at += 1
    return ""


def _closing(regexp: str, at: int) -> int:
    depth = 1
    while at < len(regexp):
        depth += (regexp[at] == "(") - (regexp[at] == ")")
        if not depth:
            return at
        at += 2 if regexp[at] == "\\" else 1
    return at


def demand_sound(args: Arguments, what: str, raw_path: str) -> None:
    """Raise RuleViolation (rule ``argument``) if ``raw_path``, a part of each result, makes every path ambiguous."""
    try:
        parse_target(innermost(restore_path(raw_path)))
    except BadRequest as error:
        raise args.wrong(f"{what} can reach no service: {error.reason}") from None


def _path_template(args: Arguments, name: str) -> Template:
    source = args.text(name)
    # The value of a variable {*rest} begins with a slash.
    if not source.startswith(("/", "{")):
        raise args.wrong(f"{name} must begin with '/'")
    if "?" in source or "#" in source:
        raise args.wrong(f"{name} is a path; '?' and '#' can't be part of it")
    template = parse_template(source).encoded(path_variable)
    demand_sound(args, name, "".join(part if isinstance(part, str) else "x" for part in template.parts))
    if _ESCAPE.search(source):
        args.warn(
            "path",
            f"{args.kind}: {name} {source!r} is no encoded path: '%' goes out as '%25', as with Spring; write the "
            "character itself",
        )
    return template


def path_variable(value: str) -> str:
    # A {*rest} variable holds several segments; any other variable holds no slash. A "%" in either is no escape.
    return quote(value, safe="/:@!$&'()*+,=~")


def _set_path(args: Arguments) -> Filter:
    template = _path_template(args, "template")

    def apply(rewrite: RequestRewrite) -> None:
        rewrite.raw_path = template.expand(rewrite.variables, path_variable)

    return FunctionFilter(f"[SetPath template = '{template.source}']", apply, template.needs, by_path=True)


def _prefix_path(args: Arguments) -> Filter:
    template = _path_template(args, "prefix")

    def apply(rewrite: RequestRewrite) -> None:
        # Only the first prefix counts, so that those of a default filter and of the route do not add up.
        if not rewrite.prefixed:
            rewrite.prefixed = True
            rewrite.raw_path = template.expand(rewrite.variables, path_variable) + rewrite.raw_path

    return FunctionFilter(f"[PrefixPath prefix = '{template.source}']", apply, template.needs, by_path=True)


def _add_parameter(args: Arguments) -> Filter:
    name = quote(args.text("name"), safe=_QUERY_SAFE.replace("=", "").replace("&", ""))
    source = args.text("value")
    if "#" in source:
        raise args.wrong("'#' can't be part of a query")
    # A '%' that begins no escape is a literal percent sign.
    template = parse_template(source).encoded(
        lambda literal: _BARE_PERCENT.sub("%25", quote(literal, safe=_QUERY_SAFE))
    )

    def apply(rewrite: RequestRewrite) -> None:
        _demand_sound_query(rewrite)
        added = f"{name}={template.expand(rewrite.variables, lambda value: quote(value, safe=''))}"
        rewrite.raw_query = joined(rewrite.raw_query, added)

    return FunctionFilter(f"[AddRequestParameter {args.text('name')} = '{source}']", apply, template.needs)


def _demand_sound_query(rewrite: RequestRewrite) -> None:
    """Raise BadRequest if the client's query is malformed, because the service could read other parameters in it."""
    rewrite.request.parameters()


def joined(raw_query: str, added: str) -> str:
    """The query with one parameter appended. The rest stays the same, byte for byte."""
    return f"{raw_query}{added}" if not raw_query or raw_query.endswith("&") else f"{raw_query}&{added}"


def _without(raw_query: str, name: str) -> str:
    parts = _named_parts(raw_query)
    kept = [part for known, part in parts if known != name]
    return raw_query if len(kept) == len(parts) else "&".join(kept)


# Several filters of a route parse the same query, so the last result is cached.
@lru_cache(maxsize=1)
def _named_parts(raw_query: str) -> list[tuple[str, str]]:
    """The parts of a query as pairs: the decoded name of the parameter, and the part as sent."""
    return [(unquote_plus(part.partition("=")[0]), part) for part in raw_query.split("&")]


def _remove_parameter(args: Arguments) -> Filter:
    name = args.text("name")

    def apply(rewrite: RequestRewrite) -> None:
        _demand_sound_query(rewrite)
        rewrite.raw_query = _without(rewrite.raw_query, name)

    return FunctionFilter(f"[RemoveRequestParameter name = '{name}']", apply)


def _rewrite_parameter(args: Arguments) -> Filter:
    name = args.text("name")
    replacement = quote(args.text("replacement"), safe="")

    def apply(rewrite: RequestRewrite) -> None:
        _demand_sound_query(rewrite)
        rest = _without(rewrite.raw_query, name)
        if rest != rewrite.raw_query:
            rewrite.raw_query = joined(rest, f"{quote(name, safe='')}={replacement}")

    return FunctionFilter(f"[RewriteRequestParameter {name} = '{args.text('replacement')}']", apply)


def restore_path(raw_path: str) -> str:
    """Make a valid path of the filters' result, which may be empty: one leading slash, no empty segments, and all
    characters encoded that a path may not hold."""
    return quote(re.sub(r"/{2,}", "/", f"/{raw_path}"), safe=_PATH_SAFE + ";")


def innermost(raw_path: str) -> str:
    """The path without nested escapes (``%2520`` becomes ``%20``), as a service sees it that decodes until nothing is
    encoded. Gates are matched with that path, and a request is refused if that path is ambiguous."""
    return _NESTED.sub("%", raw_path) if "%25" in raw_path else raw_path


FACTORIES: Final[Mapping[str, Factory[Filter]]] = {
    kind.name: kind
    for kind in (
        Factory(
            "StripPrefix",
            (Arg("parts", required=False, of=whole(0)),),
            _strip_prefix,
            "Takes that many segments off the beginning of the path; 1 if missing.",
        ),
        Factory(
            "RewritePath",
            (Arg("regexp"), Arg("replacement", empty=True)),
            _rewrite_path,
            "Replaces every match of the regex in the path; $\\{name} is a group.",
        ),
        Factory("PrefixPath", (Arg("prefix"),), _prefix_path, "Puts the prefix before the path."),
        Factory("SetPath", (Arg("template"),), _set_path, "Replaces the path by the template."),
        Factory(
            "AddRequestParameter",
            (Arg("name"), Arg("value")),
            _add_parameter,
            "Adds a parameter to the query.",
        ),
        Factory(
            "RemoveRequestParameter", (Arg("name"),), _remove_parameter, "Removes a parameter from the query."
        ),
        Factory(
            "RewriteRequestParameter",
            (Arg("name"), Arg("replacement", empty=True)),
            _rewrite_parameter,
            "Gives a parameter that is there this one value.",
        ),
    )
}
