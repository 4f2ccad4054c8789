"""What a route's filters make of a request and its answer, against what Spring Cloud Gateway was seen to do."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import CIMultiDict

from gateway.errors import BadRequest
from gateway.routing.factories import FILTERS, NO_FILTERS
from gateway.routing.filters.edits import HeaderEdit
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.table import RouteMatch, RouteTable
from tests.routing.vectors import Case, case_id, cases, facts_of, faults_of, load_json


def _names(case: Case) -> set[str]:
    return {each.partition("=")[0] if isinstance(each, str) else each["name"] for each in case["filters"]}


UNSUPPORTED = tuple(case for case in cases("filters") if _names(case) & set(NO_FILTERS))
SUPPORTED = tuple(case for case in cases("filters") if not _names(case) & set(NO_FILTERS))

# The file is refused here, where Spring fails at run time or drops something in silence: the fault's rule.
FAULTS = {
    "uri-05": "uri",  # forward: to a page of the application
    "AddRequestHeader-07": "variable",
    "CircuitBreaker-07": "argument",  # the second value of a shortcut is dropped there
    "CircuitBreaker-08": "argument",
    "CircuitBreaker-11": "argument",  # a fallback at another address
    # Their key is a program's.
    **{f"RequestRateLimiter-0{number}": "argument" for number in range(1, 8)},
    "AddRequestHeader-17": "argument",  # Host has filters of its own
    "AddRequestHeader-18": "argument",  # a second Content-Length
    "SecureHeaders-06": "argument",  # an argument that does nothing
    "PrefixPath-09": "argument",
    "SetPath-12": "variable",
    "SetPath-16": "argument",  # a query in a path
    "SetPath-17": "argument",
    "RewritePath-54": "argument",
    "RewritePath-55": "argument",
    "RewritePath-61": "regex",
    "RewritePath-62": "regex",
    "RewritePath-76": "argument",
    **{f"cors-star-credentials-0{number}": "cors" for number in range(2, 7)},
}
# Not marked unsafe, served there, refused here: the path itself is ambiguous.
REFUSED = {
    "plain-odd-17",
    "AddRequestHeader-04",
    "AddRequestHeader-06",
    "AddResponseHeader-06",
    "AddRequestParameter-10",
    "PrefixPath-08",
    "StripPrefix-08",
    "SetPath-08",
}
# Refused there, forwarded here: what browsers send raw in a path, and queries, which are opaque bytes.
FORWARDED = {
    "plain-odd-01": "/a%7Cb",
    "plain-odd-09": "/a?x=%zz",
    "plain-odd-11": "/a?x=a|b",
    "plain-odd-18": '/a?x="q"',
}
# What we send instead, with the reason.
TARGETS = {
    "AddRequestParameter-07": ("/r/x%20y?red=x%20y", "a variable is encoded, not a 500"),
    "AddRequestParameter-08": ("/r/x%26admin=1?red=x%26admin%3D1", "a captured & stays within its parameter"),
    "RemoveRequestParameter-06": ("/get?a=%20x+y&c=a%2Cb&RED=2", "the other parameters stay as sent"),
    "RewriteRequestParameter-04": ("/get?z=%20+&campaign=a%20b%26c", "the other parameters stay as sent"),
    "SetPath-13": ("/a/b%20c", "no segment is lost as a host"),
    "RewritePath-51": ("/y%20z", "the replacement is encoded, not a 500"),
    "plain-14": ("/a?", "an empty query is forwarded as it came"),
}
REQUEST_HEADERS: dict[str, dict[str, list[str] | None]] = {
    "hop-06": {"x-user-id": ["verified"]},  # Connection can't strip what the gateway has set
    "hop-07": {"x-user-id": ["verified"]},
    "MapRequestHeader-03": {"x-request-red": ["old", "1", "2"]},  # the source is not doubled
    "RemoveRequestHeader-03": {"accept": None},  # Reactor puts Accept: */* back
    "forwarded-trusted-10": {},  # X-Forwarded-* is the proxy's
    "forwarded-trusted-all-12": {"x-forwarded-for": None},
}
LOCATIONS = {"RedirectTo-10": "https://acme.org?q=%EC%98%88&p=a+b%2C&e="}  # parameters go on as they came
# Decided elsewhere: CORS, a body against its limit, the server's own bounds, repetitions (tests/resilience).
_ELSEWHERE = (
    "cors",
    "body-",
    "RequestSize-",
    "RequestHeaderSize-09",
    "failure-",
    "timeout-",
    "Retry-",
    "CircuitBreaker-",
    "RequestRateLimiter-",
)
_HOP_BY_HOP = {
    *(
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "te",
        "trailer",
        "transfer-encoding",
    ),
    *("upgrade", "x-named"),
}


def _table(case: Case, *, filters: bool = True) -> RouteTable:
    settings = case.get("settings") or {}
    uri = case.get("uri", "http://127.0.0.1:9").replace("<upstream>", "127.0.0.1:9")
    route: dict[str, Any] = {"id": "r", "uri": uri, "predicates": case["predicates"]}
    route |= {"filters": case["filters"] if filters else [], "metadata": case.get("metadata", {})}
    content: dict[str, Any] = {"routes": [route]}
    if "default-filters" in settings:
        content["default-filters"] = settings["default-filters"]
    if "globalcors" in settings:
        content["cors"] = settings["globalcors"]
    if "filter" in settings:
        content["filter"] = settings["filter"]
    return load_json(content)


@pytest.mark.parametrize("case", UNSUPPORTED, ids=case_id)
def test_a_filter_that_is_not_here_is_a_fault_that_says_what_there_is(case: Case) -> None:
    with pytest.raises(RouteFileError) as refusal:
        _table(case)
    assert {fault.rule for fault in refusal.value.issues} <= {"filter-name", "argument"}
    message = next(fault.message for fault in refusal.value.issues if fault.rule == "filter-name")
    assert "not supported here" in message
    assert "StripPrefix" in message


@pytest.mark.parametrize("case", SUPPORTED, ids=case_id)
def test_a_request_becomes_what_it_becomes_there(case: Case) -> None:
    name = case["id"]
    status = (case.get("client") or {}).get("status")
    table, issues = faults_of(lambda: _table(case))
    if table is None:
        assert case.get("routeRefused") or [fault.rule for fault in issues] == [FAULTS[name]]
        return
    assert not case.get("routeRefused")
    assert name not in FAULTS
    try:
        match = table.resolve(facts_of(case["request"]))
    except BadRequest:
        assert case.get("unsafe") or status == 400 or name in REFUSED
        return
    if match is None:
        assert status == 404 or name.startswith("cors")
        return
    _compare(case, match)


def _compare(case: Case, match: RouteMatch) -> None:
    name, client = case["id"], case.get("client") or {}
    if match.answer is not None:
        assert not case["upstream"]
        assert match.answer.status == client["status"]
        there = next((value for key, value in client["headers"] if key == "Location"), None)
        assert dict(match.answer.headers).get("Location") == LOCATIONS.get(name, there)
        return
    if name in FORWARDED:
        assert client["status"] == 400
        assert match.upstream_target == FORWARDED[name]
        return
    if not case["upstream"]:
        assert name.startswith(_ELSEWHERE) or client["status"] == 500
        return
    sent = case["upstream"][0]
    assert match.upstream_target == (TARGETS[name][0] if name in TARGETS else sent["target"])
    if "headersChanged" in sent:
        expected = REQUEST_HEADERS.get(name, sent["headersChanged"])
        assert _request_changes(case, match) == expected
    if not name.startswith(_ELSEWHERE):
        answered = case["answers"][0].get("status", 200)
        assert (match.changes.status or answered) == client["status"]
        assert _answer_headers(case, match.changes.response_headers) == _without_hops(client["headers"])


def _request_changes(case: Case, match: RouteMatch) -> dict[str, list[str] | None]:
    """What the filters changed, compared with the same route without its own filters."""
    plain = _table(case, filters=False).resolve(facts_of(case["request"]))
    assert plain is not None
    ours, base = (_sent_headers(case, each) for each in (match, plain))
    names = {name.lower() for name in [*ours, *base]}
    return {
        name: ours.getall(name, []) or None
        for name in names
        if ours.getall(name, []) != base.getall(name, [])
    }


def _sent_headers(case: Case, match: RouteMatch) -> CIMultiDict[str]:
    headers = CIMultiDict((name, value.strip()) for name, value in case["request"]["headers"])
    if not match.changes.preserve_host:
        headers["Host"] = "<upstream>"
    for edit in match.changes.request_headers:
        edit.apply(headers)
    return headers


def _answer_headers(case: Case, edits: tuple[HeaderEdit, ...]) -> list[tuple[str, str]]:
    headers = CIMultiDict((name, value) for name, value in case["answers"][0].get("headers", []))
    for edit in edits:
        edit.apply(headers)
    return _without_hops(headers.items())


def _without_hops(headers: Any) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in headers if name.lower() not in _HOP_BY_HOP)


@pytest.mark.parametrize(
    ("status", "limit"), [("RequestSize=10", 10), ("RequestSize=4KB", 4096), ("RequestSize", 5 * 1024**2)]
)
def test_a_request_size_bounds_the_body_in_either_notation(status: str, limit: int) -> None:
    table = load_json(
        {"routes": [{"id": "r", "uri": "lb://s", "predicates": ["Path=/**"], "filters": [status]}]}
    )
    match = table.resolve(facts_of({"target": "/a"}))
    assert match is not None
    assert match.changes.body_limit == limit


def test_every_filter_of_the_vectors_is_supported_or_known_to_be_elsewhere() -> None:
    used = set().union(*map(_names, cases("filters")))
    assert used <= set(FILTERS) | set(NO_FILTERS)
    assert {"StripPrefix", "RewritePath", "PreserveHostHeader"} <= used & set(FILTERS)


@pytest.mark.parametrize(
    ("regexp", "replacement", "path", "target"),
    [
        ("/red", "", "/red/x", "/x"),
        ("/red(?i)/Blue", "/b", "/red/BLUE/x", "/b/x"),
        ("(?i)/red", "/b", "/RED/x", "/b/x"),
        (r"/\p{Lu}[a-z&&[^xyz]]+\Q.\E(?i:TXT)", "/t", "/Red.txt", "/t"),
        ("(?<=/a)/b", "/c", "/a/b", "/a/c"),
    ],
)
def test_a_path_is_rewritten_by_whatever_regex_java_takes(
    regexp: str, replacement: str, path: str, target: str
) -> None:
    rewrite = {"name": "RewritePath", "args": {"regexp": regexp, "replacement": replacement}}
    table = load_json(
        {"routes": [{"id": "r", "uri": "http://s", "predicates": ["Path=/**"], "filters": [rewrite]}]}
    )
    match = table.resolve(facts_of({"method": "GET", "target": path, "headers": [("Host", "h")]}))
    assert match is not None
    assert match.upstream_target == target


def test_a_header_whose_rewriting_takes_too_long_is_left_out_of_the_answer() -> None:
    table = load_json(
        {
            "routes": [
                {
                    "id": "r",
                    "uri": "http://s",
                    "predicates": ["Path=/**"],
                    "filters": [
                        "RewriteResponseHeader=X-A, (a|aa)*(?<=a)c, b",
                        "RewriteResponseHeader=X-B, b, c",
                    ],
                }
            ]
        }
    )
    match = table.resolve(facts_of({"method": "GET", "target": "/", "headers": [("Host", "h")]}))
    assert match is not None
    headers = CIMultiDict([("X-A", "a" * 8000 + "bc"), ("X-B", "ab"), ("X-A", "aac")])
    for edit in match.changes.response_headers:
        edit.apply(headers)
    assert list(headers.items()) == [("X-B", "ac")]


STATUSES = (
    "OK=200 CREATED=201 ACCEPTED=202 NON_AUTHORITATIVE_INFORMATION=203 NO_CONTENT=204 RESET_CONTENT=205 "
    "PARTIAL_CONTENT=206 MULTI_STATUS=207 ALREADY_REPORTED=208 IM_USED=226 MULTIPLE_CHOICES=300 "
    "MOVED_PERMANENTLY=301 FOUND=302 MOVED_TEMPORARILY=302 SEE_OTHER=303 NOT_MODIFIED=304 USE_PROXY=305 "
    "TEMPORARY_REDIRECT=307 PERMANENT_REDIRECT=308 BAD_REQUEST=400 UNAUTHORIZED=401 "
    "PAYMENT_REQUIRED=402 FORBIDDEN=403 NOT_FOUND=404 METHOD_NOT_ALLOWED=405 NOT_ACCEPTABLE=406 "
    "PROXY_AUTHENTICATION_REQUIRED=407 REQUEST_TIMEOUT=408 CONFLICT=409 GONE=410 LENGTH_REQUIRED=411 "
    "PRECONDITION_FAILED=412 CONTENT_TOO_LARGE=413 PAYLOAD_TOO_LARGE=413 REQUEST_ENTITY_TOO_LARGE=413 "
    "REQUEST_URI_TOO_LONG=414 URI_TOO_LONG=414 UNSUPPORTED_MEDIA_TYPE=415 "
    "REQUESTED_RANGE_NOT_SATISFIABLE=416 EXPECTATION_FAILED=417 I_AM_A_TEAPOT=418 "
    "INSUFFICIENT_SPACE_ON_RESOURCE=419 METHOD_FAILURE=420 DESTINATION_LOCKED=421 "
    "MISDIRECTED_REQUEST=421 UNPROCESSABLE_CONTENT=422 UNPROCESSABLE_ENTITY=422 LOCKED=423 "
    "FAILED_DEPENDENCY=424 TOO_EARLY=425 UPGRADE_REQUIRED=426 PRECONDITION_REQUIRED=428 "
    "TOO_MANY_REQUESTS=429 REQUEST_HEADER_FIELDS_TOO_LARGE=431 UNAVAILABLE_FOR_LEGAL_REASONS=451 "
    "INTERNAL_SERVER_ERROR=500 NOT_IMPLEMENTED=501 BAD_GATEWAY=502 SERVICE_UNAVAILABLE=503 "
    "GATEWAY_TIMEOUT=504 HTTP_VERSION_NOT_SUPPORTED=505 VARIANT_ALSO_NEGOTIATES=506 "
    "INSUFFICIENT_STORAGE=507 LOOP_DETECTED=508 BANDWIDTH_LIMIT_EXCEEDED=509 NOT_EXTENDED=510 "
    "NETWORK_AUTHENTICATION_REQUIRED=511 "
)
"""Names of statuses in Spring 5.3 and 7.0, as its HttpStatus lists them."""


@pytest.mark.parametrize("status", STATUSES.split())
def test_every_name_that_spring_has_for_a_status_is_known(status: str) -> None:
    name, _, number = status.partition("=")
    filters = [f"SetStatus={name}", *([f"RedirectTo={name.lower()}, /x"] if number[0] == "3" else [])]
    route = {"id": "a", "uri": "http://h", "predicates": ["Path=/**"], "filters": filters}
    match = load_json({"routes": [route]}).resolve(facts_of({"target": "/"}))
    assert match is not None
    assert match.changes.status == int(number)
    assert match.answer is None or match.answer.status == int(number)
