"""Filters that change headers of the request or of the response."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from gateway.errors import BadRequest
from gateway.observability.tracing import TRACE_ID
from gateway.routing.filters.base import (
    Filter,
    FunctionFilter,
    RequestRewrite,
    for_service,
    header_name,
    header_value,
    needed,
    parse_template,
)
from gateway.routing.filters.edits import (
    AddHeader,
    AddIfBlank,
    CopyHeader,
    DedupeHeader,
    HeaderEdit,
    RemoveForService,
    RemoveHeader,
    RewriteHeader,
    RewriteLocation,
    SetForService,
    SetHeader,
)
from gateway.routing.java_regex import compile_java, parse_replacement
from gateway.routing.own_headers import (
    describes_client,
    no_effect_in_request,
    no_effect_in_response,
    why_not_removable,
)
from gateway.routing.path import is_authority
from gateway.routing.spec.arguments import Arg, Arguments, Factory
from gateway.routing.spec.defaults import OPT_IN, SECURE_HEADERS, header_names
from gateway.routing.spec.value_types import FLAG, choice

_STRATEGIES: Final = ("RETAIN_FIRST", "RETAIN_LAST", "RETAIN_UNIQUE")
_STRIP_VERSION: Final = ("AS_IN_REQUEST", "ALWAYS_STRIP", "NEVER_STRIP")
_VERSIONED = re.compile(r"/v\d+/.*")


def _warn(args: Arguments, name: str, why: str) -> None:
    if why:
        args.warn("no-effect", f"{args.kind}: {name} has no effect: {why}")


def _edit_request(rewrite: RequestRewrite, name: str, edit: HeaderEdit) -> None:
    rewrite.request_edits.append(edit)
    if describes_client(name):
        rewrite.forwarding_edits.append(edit)


def _response(description: str, edit: HeaderEdit) -> Filter:
    return FunctionFilter(description, lambda rewrite: rewrite.response_edits.append(edit))


def _named_value(
    kind: str, make: Callable[[str, str], HeaderEdit], *, request: bool
) -> Callable[[Arguments], Filter]:
    """A factory function for filters that take a header's name and a value with variables."""

    def maker(args: Arguments) -> Filter:
        name, value = header_name(args), header_value(args)
        if request and name.lower() == "host":
            raise args.wrong("Host is set by SetRequestHostHeader or kept by PreserveHostHeader")
        _warn(args, name, no_effect_in_request(name) if request else no_effect_in_response(name))

        def apply(rewrite: RequestRewrite) -> None:
            if request:
                _edit_request(rewrite, name, make(name, for_service(value, rewrite.variables)))
            else:
                rewrite.response_edits.append(make(name, value.expand(rewrite.variables)))

        return FunctionFilter(f"[{kind} {name} = '{value.source}']", apply, value.needs)

    return maker


def _add_response(args: Arguments) -> Filter:
    beside = args.flag("override", True)
    return _named_value(
        "AddResponseHeader", lambda name, value: AddHeader(name, value, beside), request=False
    )(args)


def _add_if_not_present(args: Arguments) -> Filter:
    pairs = []
    for text in args.texts("keyValues"):
        name, colon, value = text.partition(":")
        if not colon or ":" in value:
            raise args.wrong(f"{text!r} must be name:value")
        single = Arguments(args.kind, {"name": name.strip(), "value": value.strip()})
        pairs.append((header_name(single), header_value(single)))
    names = tuple(dict.fromkeys(name for name, _ in pairs))
    for name in names:
        _warn(args, name, no_effect_in_request(name))

    def apply(rewrite: RequestRewrite) -> None:
        for name in names:
            values = tuple(for_service(value, rewrite.variables) for other, value in pairs if other == name)
            _edit_request(rewrite, name, AddIfBlank(name, values))

    description = ", ".join(f"{name} = '{value.source}'" for name, value in pairs)
    return FunctionFilter(
        f"[AddRequestHeadersIfNotPresent {description}]", apply, needed(value for _, value in pairs)
    )


def _remove_request(args: Arguments) -> Filter:
    name = header_name(args)
    _warn(args, name, why_not_removable(name))
    edit = RemoveForService(name)
    return FunctionFilter(
        f"[RemoveRequestHeader name = '{name}']", lambda rewrite: _edit_request(rewrite, name, edit)
    )


def _remove_response(args: Arguments) -> Filter:
    name = header_name(args)
    if name.lower() == TRACE_ID.lower():
        _warn(args, name, no_effect_in_response(name))
    return _response(f"[RemoveResponseHeader name = '{name}']", RemoveHeader(name))


def _map_request(args: Arguments) -> Filter:
    source, target = header_name(args, "fromHeader"), header_name(args, "toHeader")
    why = no_effect_in_request(target)
    if describes_client(target):
        why = "what a client says must not become what the gateway says of it"
    _warn(args, target, why)
    edit = CopyHeader(source, target)

    def apply(rewrite: RequestRewrite) -> None:
        if not why:
            rewrite.request_edits.append(edit)

    return FunctionFilter(f"[MapRequestHeader fromHeader = '{source}', toHeader = '{target}']", apply)


def _dedupe(args: Arguments) -> Filter:
    names = args.text("name").split()
    strategy = args.choice("strategy", _STRATEGIES, _STRATEGIES[0])
    for name in names:
        _warn(args, name, no_effect_in_response(name))
    edits = [DedupeHeader(header_name(Arguments(args.kind, {"name": name})), strategy) for name in names]
    return FunctionFilter(
        f"[DedupeResponseHeader {args.text('name')} = {strategy}]",
        lambda rewrite: rewrite.response_edits.extend(edits),
    )


def _rewrite_response(args: Arguments) -> Filter:
    name, source = header_name(args), args.text("regexp")
    _warn(args, name, no_effect_in_response(name))
    regexp = args.with_warning(compile_java(source))
    replacement = parse_replacement(args.text("replacement"), regexp)
    return _response(
        f"[RewriteResponseHeader name = '{name}', regexp = '{source}', replacement = '{replacement.source}']",
        RewriteHeader(name, regexp, replacement),
    )


def _rewrite_location(args: Arguments) -> Filter:
    mode = args.choice("stripVersion", _STRIP_VERSION, _STRIP_VERSION[0])
    name = header_name(args, "locationHeaderName", "Location")
    _warn(args, name, no_effect_in_response(name))
    host = args.text("hostValue")
    protocols = args.text("protocols", "https?|ftps?")
    args.with_warning(compile_java(protocols))
    with_version, without = (
        compile_java(rf"^((?:{protocols})://)[^:/]+(?::\d+)?{version}(?=/)")
        for version in (r"(?:/v\d+)?", "")
    )

    def apply(rewrite: RequestRewrite) -> None:
        versioned = _VERSIONED.fullmatch(rewrite.request.target.path) is not None
        strip = mode == "ALWAYS_STRIP" or (mode == "AS_IN_REQUEST" and not versioned)
        if value := host or rewrite.request.host:
            rewrite.response_edits.append(RewriteLocation(name, value, with_version if strip else without))

    return FunctionFilter(
        f"[RewriteLocationResponseHeader stripVersion = {mode}, locationHeaderName = '{name}', "
        f"hostValue = '{host}', protocols = '{protocols}']",
        apply,
    )


def _secure(args: Arguments) -> Filter:
    everywhere = args.defaults.secure_headers
    on, off = everywhere.enabled, everywhere.disabled
    policy = args.text("permissionsPolicy")
    if policy or args.has("enable") or args.has("disable"):
        # A route's own arguments replace the defaults for all routes.
        on, off = _switched(args, "enable"), _switched(args, "disable")
    edits = []
    for name, default in everywhere.values.items():
        value = args.text(_value_of(name), default)
        if name == OPT_IN:
            value = policy or value
            if name.lower() not in on:
                continue
        if name.lower() not in off:
            if "\n" in value or "\r" in value or "\0" in value:
                raise args.wrong(f"the value of {name} holds a control character")
            edits.append(AddHeader(name, value, beside=False))
    # Edits of the response are applied in reverse order.
    return FunctionFilter("[SecureHeaders]", lambda rewrite: rewrite.response_edits.extend(reversed(edits)))


def _switched(args: Arguments, switch: str) -> frozenset[str]:
    names = set()
    for name, warning in header_names(args.texts(switch)):
        names.add(name)
        if warning:
            args.warn("argument", f"{args.kind}: {switch}: {warning}")
    return frozenset(names)


def _value_of(header: str) -> str:
    """The name of the argument that sets a header's value, such as ``frameOptionsHeaderValue``."""
    if header == OPT_IN:
        return "permissionPolicyHeaderValue"
    first, *others = header.removeprefix("X-").split("-")
    return first.lower() + "".join(others) + "HeaderValue"


def _preserve_host(args: Arguments) -> Filter:
    def apply(rewrite: RequestRewrite) -> None:
        rewrite.preserve_host = True

    return FunctionFilter("[PreserveHostHeader]", apply)


def _set_host(args: Arguments) -> Filter:
    host = args.text("host")
    if not re.fullmatch(r"[A-Za-z0-9._\[\]:{}-]+", host):
        raise args.wrong(f"{host!r} is no host")
    template = parse_template(host)
    if not template.needs and not is_authority(host):
        raise args.wrong(f"{host!r} is no host")

    def apply(rewrite: RequestRewrite) -> None:
        made = template.expand(rewrite.variables)
        if not is_authority(made):
            raise BadRequest("the host that a filter makes of the request is none")
        rewrite.preserve_host = True
        rewrite.request_edits.append(SetHeader("Host", made))

    return FunctionFilter(f"[SetRequestHostHeader'{host}']", apply, template.needs)


_NAME_VALUE: Final = (Arg("name"), Arg("value"))

FACTORIES: Final[Mapping[str, Factory[Filter]]] = {
    kind.name: kind
    for kind in (
        Factory(
            "AddRequestHeader",
            _NAME_VALUE,
            _named_value("AddRequestHeader", AddHeader, request=True),
            "Adds a header to the request.",
        ),
        Factory(
            "SetRequestHeader",
            _NAME_VALUE,
            _named_value("SetRequestHeader", SetForService, request=True),
            "Sets a header of the request.",
        ),
        Factory(
            "AddRequestHeadersIfNotPresent",
            (Arg("keyValues", gathers=True),),
            _add_if_not_present,
            "Adds name:value pairs to the request where the header is missing.",
        ),
        Factory("RemoveRequestHeader", (Arg("name"),), _remove_request, "Removes a header from the request."),
        Factory(
            "MapRequestHeader",
            (Arg("fromHeader"), Arg("toHeader")),
            _map_request,
            "Copies a header of the request to another one.",
        ),
        Factory(
            "AddResponseHeader",
            (*_NAME_VALUE, Arg("override", required=False, of=FLAG)),
            _add_response,
            "Adds a header to the answer.",
        ),
        Factory(
            "SetResponseHeader",
            _NAME_VALUE,
            _named_value("SetResponseHeader", SetHeader, request=False),
            "Sets a header of the answer.",
        ),
        Factory(
            "RemoveResponseHeader", (Arg("name"),), _remove_response, "Removes a header from the answer."
        ),
        Factory(
            "DedupeResponseHeader",
            (Arg("name"), Arg("strategy", required=False, of=choice(_STRATEGIES))),
            _dedupe,
            "Leaves one of several values of headers, whose names stand with blanks between them.",
        ),
        Factory(
            "RewriteResponseHeader",
            (Arg("name"), Arg("regexp"), Arg("replacement", empty=True)),
            _rewrite_response,
            "Replaces every match of the regex in a header of the answer.",
        ),
        Factory(
            "RewriteLocationResponseHeader",
            (
                Arg("stripVersion", required=False, of=choice(_STRIP_VERSION)),
                Arg("locationHeaderName", required=False),
                Arg("hostValue", required=False),
                Arg("protocols", required=False),
            ),
            _rewrite_location,
            "Leads the answer's Location to the gateway.",
        ),
        Factory(
            "SecureHeaders",
            (
                Arg("enable", required=False, gathers=True, named=True),
                Arg("disable", required=False, gathers=True, named=True),
                Arg("permissionsPolicy", required=False, named=True),
                *(
                    Arg(_value_of(header), required=False, named=True)
                    for header, _ in SECURE_HEADERS.values()
                ),
            ),
            _secure,
            "Adds the usual headers for the safety of browsers to the answer.",
        ),
        Factory("PreserveHostHeader", (), _preserve_host, "Sends the client's Host to the service."),
        Factory("SetRequestHostHeader", (Arg("host"),), _set_host, "Sends this Host to the service."),
    )
}
