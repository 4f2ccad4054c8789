"""Filters that change where a request goes at the service: its path and its query.

They work on the encoded path as the client sent it, as Spring's do. Variables are encoded as they are put
in, so that what was one segment or one parameter stays one. The result is made canonical again by the
route table, which refuses it if it has become ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote_plus

from gateway.routing.arguments import Arg, Arguments, Kind
from gateway.routing.faults import RuleBroken
from gateway.routing.filters import Draft, Filter, Simple, Template, parse_template
from gateway.routing.javaregex import compile_java, parse_replacement

_PATH_SAFE: Final = "/:@!$&'()*+,=~%"
_QUERY_SAFE: Final = "/:@!$&'()*+,=~%;?"


def _strip_prefix(args: Arguments) -> Filter:
    parts = args.integer("parts", 1)

    def act(draft: Draft) -> None:
        segments = [segment for segment in draft.raw_path.split("/") if segment][parts:]
        slash = "/" if segments and draft.raw_path.endswith("/") else ""
        draft.raw_path = "/" + "/".join(segments) + slash

    return Simple(f"[StripPrefix parts = {parts}]", act, by_path=True)


def _rewrite_path(args: Arguments) -> Filter:
    regexp = args.told(compile_java(args.text("regexp")))
    replacement = parse_replacement(args.text("replacement"), regexp)
    for literal in replacement.literals():
        if "?" in literal or "#" in literal:
            raise args.wrong("the replacement is a path; '?' and '#' can't be part of it")
        if "{" in literal or "}" in literal:
            raise args.wrong(
                "the replacement takes groups of the regex, $\\{name}; variables mean nothing there"
            )

    def act(draft: Draft) -> None:
        draft.raw_path = regexp.replace(draft.raw_path, replacement.expand)

    return Simple(f"[RewritePath {args.text('regexp')} = '{replacement.source}']", act, by_path=True)


def _path_template(args: Arguments, name: str) -> Template:
    source = args.text(name)
    if not source.startswith("/"):
        raise args.wrong(f"{name} must begin with '/'")
    if "?" in source or "#" in source:
        raise args.wrong(f"{name} is a path; '?' and '#' can't be part of it")
    return parse_template(source).encoded(lambda literal: quote(literal, safe=_PATH_SAFE))


def _path_variable(value: str) -> str:
    # A {*rest} variable is several segments; anything else holds no slash.
    return quote(value, safe="/:@!$&'()*+,=~")


def _set_path(args: Arguments) -> Filter:
    template = _path_template(args, "template")

    def act(draft: Draft) -> None:
        draft.raw_path = template.expand(draft.variables, _path_variable)

    return Simple(f"[SetPath template = '{template.source}']", act, template.needs, by_path=True)


def _prefix_path(args: Arguments) -> Filter:
    template = _path_template(args, "prefix")

    def act(draft: Draft) -> None:
        # Only the first prefix counts, so that a default filter doesn't add to a route's own.
        if not draft.prefixed:
            draft.prefixed = True
            draft.raw_path = template.expand(draft.variables, _path_variable) + draft.raw_path

    return Simple(f"[PrefixPath prefix = '{template.source}']", act, template.needs, by_path=True)


def _add_parameter(args: Arguments) -> Filter:
    name = quote(args.text("name"), safe=_QUERY_SAFE.replace("=", "").replace("&", ""))
    source = args.text("value")
    if "#" in source:
        raise args.wrong("'#' can't be part of a query")
    template = parse_template(source).encoded(lambda literal: quote(literal, safe=_QUERY_SAFE))

    def act(draft: Draft) -> None:
        added = f"{name}={template.expand(draft.variables, lambda value: quote(value, safe=''))}"
        draft.raw_query = f"{draft.raw_query}&{added}" if draft.raw_query else added

    return Simple(f"[AddRequestParameter {args.text('name')} = '{source}']", act, template.needs)


def _without(raw_query: str, name: str) -> str:
    return "&".join(part for part in raw_query.split("&") if unquote_plus(part.partition("=")[0]) != name)


def _remove_parameter(args: Arguments) -> Filter:
    name = args.text("name")

    def act(draft: Draft) -> None:
        draft.raw_query = _without(draft.raw_query, name)

    return Simple(f"[RemoveRequestParameter name = '{name}']", act)


def _rewrite_parameter(args: Arguments) -> Filter:
    name = args.text("name")
    replacement = quote(args.text("replacement"), safe="")

    def act(draft: Draft) -> None:
        rest = _without(draft.raw_query, name)
        if rest != draft.raw_query:
            draft.raw_query = f"{rest}&" * bool(rest) + f"{quote(name, safe='')}={replacement}"

    return Simple(f"[RewriteRequestParameter {name} = '{args.text('replacement')}']", act)


def restore_path(raw_path: str) -> str:
    """Make a path of what the filters left: one leading slash, single slashes, everything else encoded.

    Raises RuleBroken (rule ``path``) if that is no absolute path at all.
    """
    if not raw_path.startswith("/"):
        raise RuleBroken("path", "the filters left a path that does not begin with '/'")
    return quote(re.sub(r"/{2,}", "/", raw_path), safe=_PATH_SAFE + ";")


KINDS: Final[Mapping[str, Kind[Filter]]] = {
    kind.name: kind
    for kind in (
        Kind("StripPrefix", (Arg("parts", required=False),), _strip_prefix),
        Kind("RewritePath", (Arg("regexp"), Arg("replacement", empty=True)), _rewrite_path),
        Kind("PrefixPath", (Arg("prefix"),), _prefix_path),
        Kind("SetPath", (Arg("template"),), _set_path),
        Kind("AddRequestParameter", (Arg("name"), Arg("value")), _add_parameter),
        Kind("RemoveRequestParameter", (Arg("name"),), _remove_parameter),
        Kind("RewriteRequestParameter", (Arg("name"), Arg("replacement", empty=True)), _rewrite_parameter),
    )
}
