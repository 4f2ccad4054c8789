"""Filters that change path and query: whatever they make, a service gets one sound target or nothing at all."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from gateway.errors import BadRequest
from gateway.routing.filters.target import innermost
from gateway.routing.path import parse_target
from gateway.routing.spec.issues import RouteFileError
from gateway.routing.table import RouteMatch, RouteTable
from tests.routing.vectors import facts_of, load_json


def table(*filters: object, path: str = "/**", **more: Any) -> RouteTable:
    route = {"id": "r", "uri": "http://127.0.0.1:9", "predicates": [f"Path={path}"], "filters": list(filters)}
    return load_json({"routes": [{**route, **more}]})


def sent(target: str, *filters: object, path: str = "/**", host: str = "gw.test", **more: Any) -> RouteMatch:
    match = table(*filters, path=path, **more).resolve(
        facts_of({"target": target, "headers": [("Host", host)]})
    )
    assert match is not None
    return match


@pytest.mark.parametrize(
    ("query", "becomes"),
    [
        ("", "red=blue"),
        ("?", "red=blue"),
        ("?a=1", "a=1&red=blue"),
        ("?a=1&", "a=1&red=blue"),
        ("?a=1&&", "a=1&&red=blue"),
        ("?&", "&red=blue"),
        ("?=", "=&red=blue"),
        ("?a&&b", "a&&b&red=blue"),
        ("?red", "red&red=blue"),
        ("?a=%7a+%20", "a=%7a+%20&red=blue"),
    ],
)
def test_a_parameter_is_added_behind_an_untouched_query(query: str, becomes: str) -> None:
    assert sent(f"/x{query}", "AddRequestParameter=red, blue").upstream_target == f"/x?{becomes}"


@pytest.mark.parametrize(
    ("query", "removed", "rewritten"),
    [
        ("", "", ""),
        ("?red", "", "?red=new"),
        ("?red=1&", "", "?red=new"),
        ("?red=1&a=2&", "?a=2&", "?a=2&red=new"),
        ("?a=1&&b&red", "?a=1&&b", "?a=1&&b&red=new"),
        ("?a=1&red&&b", "?a=1&&b", "?a=1&&b&red=new"),
        ("?&red", "", "?red=new"),
        ("?=&red=1", "?=", "?=&red=new"),
        ("?r%65d=1&a=%7a+%20", "?a=%7a+%20", "?a=%7a+%20&red=new"),
        ("?a&&b", "?a&&b", "?a&&b"),
        ("?&", "?&", "?&"),
        ("?=", "?=", "?="),
        ("?RED=1", "?RED=1", "?RED=1"),
    ],
)
def test_a_parameter_is_removed_or_rewritten_and_the_others_keep_their_bytes(
    query: str, removed: str, rewritten: str
) -> None:
    assert sent(f"/x{query}", "RemoveRequestParameter=red").upstream_target == f"/x{removed}"
    assert sent(f"/x{query}", "RewriteRequestParameter=red, new").upstream_target == f"/x{rewritten}"


@pytest.mark.parametrize(("value", "becomes"), [("100%", "100%25"), ("a%20b", "a%20b"), ("%zz", "%25zz")])
def test_a_percent_sign_that_begins_no_escape_is_itself(value: str, becomes: str) -> None:
    assert sent("/x", f"AddRequestParameter=red, {value}").upstream_target == f"/x?red={becomes}"


@pytest.mark.parametrize(
    ("url", "query", "location"),
    [
        ("https://a.test", "?x=1", "https://a.test?x=1"),
        ("https://a.test", "", "https://a.test"),
        ("https://a.test/p?z=9", "?x=1", "https://a.test/p?z=9&x=1"),
        ("https://a.test/p?z=9&", "?x=1", "https://a.test/p?z=9&x=1"),
        ("https://a.test/p?", "?x=1", "https://a.test/p?x=1"),
        ("https://a.test/#/page", "?x=1", "https://a.test/?x=1#/page"),
        ("https://a.test/p?z=9#f", "?x=1", "https://a.test/p?z=9&x=1#f"),
        ("https://a.test/a%20b", "?x=%20", "https://a.test/a%20b?x=%20"),
    ],
)
def test_a_redirection_takes_the_query_along(url: str, query: str, location: str) -> None:
    answer = sent(
        f"/x{query}",
        {"name": "RedirectTo", "args": {"status": 302, "url": url, "includeRequestParams": True}},
    )
    assert answer.answer is not None
    assert dict(answer.answer.headers) == {"Location": location}


@pytest.mark.parametrize("url", ["https://a.test/{x}", "https://a.test/%zz", "https://a.test/%", "/%2"])
def test_a_redirection_to_no_address_is_a_fault(url: str) -> None:
    with pytest.raises(RouteFileError):
        table(f"RedirectTo=302, {url}")


@pytest.mark.parametrize(
    ("filters", "path", "target", "becomes"),
    [
        # As recorded: templates are no encoded paths.
        (["SetPath=/a%20b"], "/**", "/x", "/a%2520b"),
        (["SetPath=/100%"], "/**", "/x", "/100%25"),
        (["PrefixPath=/a%20b"], "/**", "/x%20y", "/a%2520b/x%20y"),
        (["SetPath=/{seg}"], "/red/{seg}", "/red/a%20b", "/a%20b"),
        (["SetPath=/{seg}"], "/red/{seg}", "/red/%25", "/%25"),
        (["SetPath={rest}"], "/red/{*rest}", "/red/a/b", "/a/b"),
        (["SetPath={rest}"], "/red/{*rest}", "/red", "/"),
        (["SetPath={seg}"], "/red/{seg}", "/red/a", "/a"),
        (["SetPath=/"], "/**", "/x?q", "/?q"),
        (["PrefixPath={rest}"], "/red/{*rest}", "/red/a", "/a/red/a"),
        (["StripPrefix=9"], "/**", "/a/b/c?q", "/?q"),
        (["StripPrefix=1", "StripPrefix=1"], "/**", "/a", "/"),
        (["RewritePath=/x(?<rest>.*), $\\{rest}"], "/**", "/x", "/"),
        (["RewritePath=/x(?<rest>.*), $\\{rest}"], "/**", "/x?q", "/?q"),
        (["RewritePath=/x(?<rest>.*), $\\{rest}"], "/**", "/x/a", "/a"),
        (["RewritePath=/x(?<rest>.*), $\\{rest}"], "/**", "/xa", "/a"),
        (["RewritePath=/x/(?<rest>.*), $\\{rest}"], "/**", "/x/a", "/a"),
        (["RewritePath=/x, y"], "/**", "/x", "/y"),
        (["RewritePath=/x, y"], "/**", "/x/x", "/yy"),
        (["RewritePath=/.*, http://evil.test/"], "/**", "/x", "/http:/evil.test/"),
        (["RewritePath=/x(.*), //a//$1"], "/**", "/x/y", "/a/y"),
        (["RewritePath=/x, /a b"], "/**", "/x", "/a%20b"),
        (["RewritePath=/x, /예"], "/**", "/x", "/%EC%98%88"),
        (["RewritePath=/x, /a%20b"], "/**", "/x", "/a%20b"),
    ],
)
def test_what_a_service_gets(filters: list[str], path: str, target: str, becomes: str) -> None:
    assert sent(target, *filters, path=path).upstream_target == becomes


def test_a_variable_that_holds_an_escape_is_encoded_again_and_the_gate_sees_what_it_hides() -> None:
    host = {"predicates": ["Path=/**", "Host={name}.test"]}
    match = sent("/x", "SetPath=/{name}", host="a%20b.test", **host)
    assert match.upstream_target == "/a%2520b"
    gated = load_json(
        {
            "routes": [{"id": "r", "uri": "lb://s", **host, "filters": ["SetPath=/{name}"]}],
            "gates": [{"calls": ["POST /buy"]}],
        }
    )
    for spelling in ("buy", "b%75y", "b%2575y", "%62%75%79", "b%252575y"):
        found = gated.resolve(
            facts_of({"method": "POST", "target": "/x", "headers": [("Host", f"{spelling}.test")]})
        )
        assert found is not None
        assert gated.gate_for("POST", "/x", found.upstream_path) is not None, spelling
    for hidden in ("a%2fb", "%2e%2e", "%252e%252e", "a%00", "a%0d%0a", "%ff", "a%5cb", "a%25u002fb"):
        with pytest.raises(BadRequest):
            sent("/x", "SetPath=/{name}", host=f"{hidden}.test", **host)


def test_a_literal_escape_hides_no_gated_call_and_no_actuator() -> None:
    gated = load_json(
        {
            "routes": [
                {"id": "r", "uri": "lb://s", "predicates": ["Path=/x"], "filters": ["SetPath=/b%75y"]},
                {
                    "id": "a",
                    "uri": "lb://s",
                    "predicates": ["Path=/a/**"],
                    "filters": ["PrefixPath=/%61ctuator"],
                },
            ],
            "gates": [{"calls": ["POST /buy"]}],
        }
    )
    match = gated.resolve(facts_of({"target": "/x"}))
    assert match is not None
    assert gated.gate_for("POST", "/x", match.upstream_path) is not None
    assert gated.resolve(facts_of({"target": "/a"})) is None


@pytest.mark.parametrize(
    "each",
    [
        "SetPath=/a/../b",
        "SetPath=/./a",
        "SetPath=/a/..",
        "SetPath=/a\\b",
        "SetPath=/%2e%2e/a",
        "SetPath=/a%2fb",
        "SetPath=/a%00",
        {"name": "SetPath", "args": {"template": "/a\x01b"}},
        {"name": "SetPath", "args": {"template": "/a\r\nHost: b"}},
        "PrefixPath=/..",
        "PrefixPath=prefix",
        "SetPath=path",
        "RewritePath=/x, /a/../b",
        "RewritePath=/x, /..",
        "RewritePath=/x(.*), /a/./$1",
        "RewritePath=/x, /a;b",
        "RewritePath=/x, /%zz",
        "RewritePath=/x, /a%2Fb",
        "RewritePath=/x, /a?b",
        "RewritePath=/x, /a#b",
        {"name": "RewritePath", "args": {"regexp": "/x", "replacement": "/a\x00b"}},
        {"name": "RewritePath", "args": {"regexp": "/x", "replacement": "/a\r\nX: b"}},
        {"name": "RewritePath", "args": {"regexp": "/x", "replacement": "/a\\\\b"}},
    ],
)
def test_what_no_request_could_go_out_with_is_a_fault_of_the_file(each: object) -> None:
    with pytest.raises(RouteFileError) as refusal:
        table(each)
    assert {fault.rule for fault in refusal.value.issues} == {"argument"}


@pytest.mark.parametrize(
    ("regexp", "target", "becomes"),
    [
        ("/x", "/x", "/"),
        ("/x", "/x?q=1", "/?q=1"),
        ("/x", "/x/y", "/y"),
        (".*", "/x", "/"),
        ("/", "/x/y", "/xy"),
    ],
)
def test_an_empty_replacement_leaves_a_path_and_a_warning(regexp: str, target: str, becomes: str) -> None:
    rewrite = {"name": "RewritePath", "args": {"regexp": regexp, "replacement": ""}}
    assert sent(target, rewrite).upstream_target == becomes
    assert [warning.rule for warning in table(rewrite).warnings] == ["path"]


@pytest.mark.parametrize(
    ("each", "warned"),
    [
        ("RewritePath=/x(?<rest>.*), $\\{rest}", True),
        ("RewritePath=/x(?<rest>/.*), $\\{rest}", False),
        ("RewritePath=/x(?<rest>/?.*), $\\{rest}", True),
        ("RewritePath=/x(?<rest>(?:/.*)?), $\\{rest}", True),
        ("RewritePath=/x/?(?<rest>.*), /$\\{rest}", False),
        ("RewritePath=/x(/.*), $1", False),
        ("RewritePath=/x(a)(/.*), $2", False),
        ("RewritePath=/x, y", True),
        ("RewritePath=^/x, y", True),
        ("RewritePath=(?<all>.*), $\\{all}", True),
        ("RewritePath=(.*), x$1", True),
        ("RewritePath=[/]x, y", True),
        ("RewritePath=red, blue", False),
        ("RewritePath=red|/x, blue", True),
        ("RewritePath=a?/x, blue", True),
        ("RewritePath=/x, /y", False),
        ("SetPath=/a%20b", True),
        ("PrefixPath=/a%20b", True),
        ("SetPath=/100%", False),
    ],
)
def test_what_may_leave_no_path_or_is_hardly_meant_is_a_warning(each: str, warned: bool) -> None:
    told = table(each).warnings
    assert len(told) == warned
    assert all((warning.rule, warning.route_id) == ("path", "r") for warning in told)


DOCUMENTS = r"RewritePath=/shop(?<rest>/?.*), $\{rest}"


@pytest.mark.parametrize(
    ("path", "filters", "warned"),
    [
        ("/shop/docs/**", [DOCUMENTS], False),
        ("/shop/docs", [DOCUMENTS], False),
        ("/shop/{page}", [DOCUMENTS], False),
        ("/shop/docs/**,/shop/{page}", [DOCUMENTS], False),
        ("/shop/**", [DOCUMENTS], True),
        ("/shop", [DOCUMENTS], True),
        ("/shop/docs/**,/shop", [DOCUMENTS], True),
        ("/shop*/docs", [DOCUMENTS], True),
        ("/**/docs", [DOCUMENTS], True),
        ("/shop/café/**", [DOCUMENTS], True),
        ("/shop/docs/**", [r"RewritePath=/shop/(?<rest>.*), $\{rest}"], True),
        ("/shop/docs/**", ["RewritePath=.*x, y"], True),
        # What comes before has made another path of it.
        ("/shop/docs/**", ["StripPrefix=1", DOCUMENTS], True),
        ("/shop/docs/**", ["AddRequestHeader=X-A, b", DOCUMENTS], False),
    ],
)
def test_a_route_s_own_paths_decide_whether_none_may_be_left(
    path: str, filters: list[str], warned: bool
) -> None:
    assert [warning.rule for warning in table(*filters, path=path).warnings] == ["path"] * warned


def test_a_default_filter_is_warned_of_for_all_routes() -> None:
    route = {"id": "r", "uri": "http://127.0.0.1:9", "predicates": ["Path=/shop/docs/**"]}
    assert [
        each.rule for each in load_json({"default-filters": [DOCUMENTS], "routes": [route]}).warnings
    ] == ["path"]
    after = {"default-filters": ["PrefixPath=/a"], "routes": [{**route, "filters": [DOCUMENTS]}]}
    assert [each.rule for each in load_json(after).warnings] == ["path"]


PIECES = ["", "/", ".", "..", "%", "25", "2f", "%20", ";", "\\\\", "$1", " ", "é"]
TARGETS = ["/x", "/x/", "/x/a", "/x/.a", "/xa.", "/x/%25", "/x/%25a", "/x/%20?q=1&", "/x/%C3%A9"]


def test_no_replacement_makes_an_unsound_request_or_an_error_of_ours() -> None:
    """Whatever is put together: the file is refused, the request is refused, or what goes out has one reading."""
    sound = 0
    for pieces in itertools.product(PIECES, repeat=3):
        replacement = "".join(pieces)
        if not replacement:
            continue
        try:
            routes = table({"name": "RewritePath", "args": {"regexp": "/x(.*)", "replacement": replacement}})
        except RouteFileError:
            continue
        for target in TARGETS:
            facts = facts_of({"target": target})
            try:
                match = routes.resolve(facts)
            except BadRequest:
                continue
            assert match is not None
            path, _, query = match.upstream_target.partition("?")
            assert path.startswith("/")
            assert "//" not in path
            assert match.upstream_target.isascii()
            assert query == facts.target.raw_query
            again = parse_target(innermost(path))
            assert again.path == match.upstream_path
            sound += 1
    assert sound > 1000
