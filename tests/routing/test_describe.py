"""What ``gateway check`` and ``gateway routes`` say."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.routing import describe
from gateway.routing.spec.loader import parse

TEXT = """\
routes:
- {id: docs, uri: 'lb://a', predicates: ['Path=/{name}/docs/**'], filters: [StripPrefix=1]}
- {id: only-post, uri: 'http://h:1', predicates: [Path=/x, Method=POST], order: -1}
- {id: alias, uri: 'lb://r', predicates: [Path=/book], filters: [SetPath=/api/v1/reservations]}
- {id: away, uri: 'no://op', predicates: [Path=/old], filters: ['RedirectTo=301, /new']}
- {id: ops, uri: 'lb://a', predicates: [Path=/ops/**], filters: [StripPrefix=1]}
- {id: broken, uri: 'lb://a', predicates: [Path=/broken/**], filters: ['RewritePath=/broken/x(.*), /$1']}
services: {a: [http://h:1], r: []}
rooms: {vip: {capacity: 3, duration: 90}}
gates: [{calls: [POST /api/v1/reservations], renews: [GET /x/**]}]
access: {public: [GET /ops/*]}
"""
TABLE = parse(TEXT.encode(), "routes.yaml", {})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            "GET /auth/docs/a?x=1",
            ["route     docs (line 2)", "{name} = auth", "lb://a /docs/a?x=1", "[StripPrefix"],
        ),
        (
            "GET /x",
            ["none (404)", "not only-post: Methods: [POST] does not hold", "renews a session", "(GET /x/**)"],
        ),
        ("POST /x", ["route     only-post", "http://h:1 /x", "gate      none", "a token is needed"]),
        ("POST /book", ["route     alias", "/api/v1/reservations", "room default: a place is needed"]),
        ("GET /old", ["answer    301, by a filter"]),
        ("GET /ops/health", ["upstream  lb://a /health", "open without a token (GET /ops/*)"]),
        ("GET /ops/actuator/env", ["counts as none (404): /actuator/env needs metadata allow-actuator"]),
        ("GET /broken/x..", ["refused   400: the path holds a dot segment"]),
        ("GET /a/../b", ["refused   400: the path holds a dot segment"]),
        ("GET /actuator/health", ["the gateway answers its own paths itself"]),
        ("GET /%EC%98%88", ["path      /예", "none (404)", "a token is needed"]),
    ],
)
def test_a_call_is_explained(call: str, said: list[str]) -> None:
    method, _, target = call.partition(" ")
    text = describe.explain(TABLE, method, target)
    assert text.startswith(call)
    for part in said:
        assert part in text


def test_a_malformed_query_is_explained_where_a_rule_needs_it() -> None:
    table = parse(
        b"""\
routes:
  - {id: beta, uri: "http://h:1", predicates: ["Path=/beta/**", "Query=x"]}
  - {id: plain, uri: "http://h:1", predicates: ["Path=/plain", "Method=POST"]}
""",
        "file",
        {},
    )
    text = describe.explain(table, "GET", "/beta/a?x=%zz")
    assert "refused   400: the query holds a malformed percent escape" in text
    text = describe.explain(table, "GET", "/plain?x=%zz")
    assert "none (404)" in text
    assert "not plain: Methods: [POST] does not hold" in text
    assert "http://h:1 /plain?x=%zz" in describe.explain(table, "POST", "/plain?x=%zz")


def test_a_gate_counts_before_a_public_rule() -> None:
    text = """\
routes:
- {id: a, uri: 'lb://a', predicates: [Path=/open], filters: [SetPath=/api/v1/reservations]}
access: {public: [POST /open]}
gates: [{calls: [POST /api/v1/reservations]}]
"""
    explained = describe.explain(parse(text.encode(), "x", {}), "POST", "/open")
    assert "a token is needed: the gate counts, although POST /open is public" in explained


@pytest.mark.parametrize(
    ("call", "access"),
    [
        ("GET /sale", "a visitor's place stands for the token"),
        ("GET /sale.admin", "a token is needed"),
        ("GET /sale.css", "open without a token (GET /sale.css)"),
    ],
)
def test_it_says_where_a_place_stands_for_the_token(call: str, access: str) -> None:
    text = """routes:
- {id: a, uri: 'lb://a', predicates: [Path=/**]}
rooms: {default: {identity: visitor}}
access: {public: [GET /sale.css]}
gates: [{calls: [GET /sale]}]
"""
    explained = describe.explain(parse(text.encode(), "x", {}), *call.split())
    assert "room default: a place is needed" in explained
    assert f"access    {access}\n" in explained + "\n"


def test_the_table_is_shown_in_the_order_in_which_it_is_asked() -> None:
    text = describe.table(TABLE)
    assert text.index("only-post") < text.index("docs")
    for line in (
        "gate default: POST /api/v1/reservations",
        "gate default: GET /x/** (renews only)",
        "public: GET /ops/*",
        "room vip: capacity 3, duration 90 s",
        "room default: capacity the setting's, duration the setting's",
        "service a: http://h:1",
        "service r: no static instance",
    ):
        assert line in text.splitlines()
    assert "match trailing slash" not in text


def test_check_gives_faults_or_a_table(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(TEXT)
    issues, table = describe.check(file, {})
    assert issues == []
    assert table is not None
    file.write_text(TEXT.replace("lb://r", "r"))
    issues, table = describe.check(file, {})
    assert table is None
    assert [str(fault) for fault in issues] == [
        f"{file}:4: route 'alias': 'r': the scheme is missing; write lb:// or http(s):// [uri]"
    ]


def test_headers_of_the_call_count() -> None:
    text = "routes:\n- {id: h, uri: 'lb://a', predicates: [Host=a.test, 'Header=X-A, 1']}\n"
    table = parse(text.encode(), "x", {})
    assert "route     h" in describe.explain(table, "GET", "/", headers=[("Host", "A.test"), ("X-A", "1")])
    assert "none (404)" in describe.explain(table, "GET", "/", headers=[("Host", "a.test")])
