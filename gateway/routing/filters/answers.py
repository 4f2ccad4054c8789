"""Filters that limit a request's size, or set the response's status, or answer instead of the service."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlsplit

from gateway.routing.filters.base import DirectResponse, Filter, FunctionFilter, RequestRewrite, header_name
from gateway.routing.filters.statuses import WANTED, status_number
from gateway.routing.filters.target import joined
from gateway.routing.spec.arguments import Arg, Arguments, Factory
from gateway.routing.spec.value_types import FLAG, SIZE

_MALFORMED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_IN_QUERY: Final = "/:@!$&'()*+,=~%;?[]"


def _status(args: Arguments, name: str = "status") -> int:
    """Read a status, written as a number or as Spring's name (``NOT_FOUND``)."""
    number = status_number(args.text(name))
    if number is None:
        raise args.wrong(f"{name} must be {WANTED}, not {args.text(name)!r}")
    return number


def _set_status(args: Arguments) -> Filter:
    status = _status(args)

    def apply(rewrite: RequestRewrite) -> None:
        rewrite.status = status

    return FunctionFilter(f"[SetStatus status = '{args.text('status')}']", apply)


def _redirect(args: Arguments) -> Filter:
    status, url = _status(args), args.text("url")
    if not 300 <= status <= 399:
        raise args.wrong(f"status must be a redirection (300 to 399), not {status}")
    if quote(url, safe="/:@!$&'()*+,=~%;?#[]") != url or (urlsplit(url).scheme not in ("http", "https", "")):
        raise args.wrong(f"{url!r} is no http(s) address or path; variables mean nothing in it")
    if _MALFORMED.search(url):
        raise args.wrong(f"{url!r} holds a malformed percent escape")
    with_parameters = args.flag("includeRequestParams", False)
    address, hash_mark, fragment = url.partition("#")
    address, _, query = address.partition("?")

    def apply(rewrite: RequestRewrite) -> None:
        location = url
        if with_parameters and rewrite.raw_query:
            # A client may send characters raw in a query that a URL may not hold.
            sent = quote(rewrite.raw_query.encode("utf-8", "surrogateescape"), safe=_IN_QUERY)
            location = f"{address}?{joined(query, sent)}{hash_mark}{fragment}"
        if rewrite.answer is None:
            rewrite.answer = DirectResponse(status, (("Location", location),))

    description = (
        f"[RedirectTo {args.text('status')} = {url}, includeRequestParams = {str(with_parameters).lower()}]"
    )
    return FunctionFilter(description, apply, answers=True)


def _request_size(args: Arguments) -> Filter:
    limit = args.size("maxSize", "5MB")

    def apply(rewrite: RequestRewrite) -> None:
        rewrite.body_limit = limit if rewrite.body_limit is None else min(limit, rewrite.body_limit)

    return FunctionFilter(f"[RequestSize max = {limit}B]", apply)


def _request_header_size(args: Arguments) -> Filter:
    limit = args.size("maxSize", "16000B")
    why = header_name(args, "errorHeaderName", "errorMessage")

    def apply(rewrite: RequestRewrite) -> None:
        for name in dict.fromkeys(key.lower() for key in rewrite.request.headers):
            size = len(name) + sum(map(len, rewrite.request.headers.getall(name)))
            if size > limit and rewrite.answer is None:
                text = f"Request header {name!r} takes {size} bytes; {limit} are allowed."
                rewrite.answer = DirectResponse(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE.value, ((why, text),)
                )

    return FunctionFilter(f"[RequestHeaderSize maxSize = {limit}B]", apply)


FACTORIES: Final[Mapping[str, Factory[Filter]]] = {
    kind.name: kind
    for kind in (
        Factory("SetStatus", (Arg("status"),), _set_status, "Replaces the status of the service's answer."),
        Factory(
            "RedirectTo",
            (Arg("status"), Arg("url"), Arg("includeRequestParams", required=False, of=FLAG)),
            _redirect,
            "Answers with a redirection, without the service.",
        ),
        Factory(
            "RequestSize",
            (Arg("maxSize", required=False, of=SIZE),),
            _request_size,
            "Refuses longer bodies with 413; 5MB if missing.",
        ),
        Factory(
            "RequestHeaderSize",
            (Arg("maxSize", required=False, of=SIZE), Arg("errorHeaderName", required=False)),
            _request_header_size,
            "Refuses requests with a longer header with 431; 16000B if missing.",
        ),
    )
}
