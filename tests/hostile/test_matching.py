"""No request holds the gateway by what it makes of the regexes of a route file, and none gets round a rule so."""

from __future__ import annotations

import time

import pytest

from tests.hostile.rig import Gateway, Start, emptied, request

ROUTES = r"""
routes:
  - {id: open, uri: "lb://service", predicates: ["Path=/open/**"]}
  - {id: rewritten, uri: "lb://service", predicates: ["Path=/shop/**"],
     filters: ["RewritePath=/shop/(?<cat>.*)/item/(?<id>.*)/view, /$\\{cat}/$\\{id}"]}
  - {id: query, uri: "lb://service", predicates: ["Path=/query", "Query=mail, .+@.+[.].+[.].+x"]}
  - {id: slug, uri: "lb://service", predicates: ["Path=/slug/{slug:.*-.*-.*[.]html}"]}
  - {id: globs, uri: "lb://service", predicates: ["Path=/globs/*a*b*c*d*e*f"]}
  - {id: header, uri: "lb://service", predicates: ["Path=/header", "Header=X-A, (a+)+(b|c)+d"]}
  - {id: cookie, uri: "lb://service", predicates: ["Path=/cookie", "Cookie=a, (?:a|aa)*b"]}
  - {id: host, uri: "lb://service", predicates: ["Path=/host", "Host={a:.*}.{b:.*}.{c:.*}.x"]}
  - {id: behind, uri: "lb://service", predicates: ["Path=/behind/{x:(?:a|aa)*(?=b)bc}"]}
  - {id: again, uri: "lb://service", predicates: ["Path=/again/**"], filters: ["RewritePath=(a|b)*(?<=x)b?$, /y"]}
  - {id: twice, uri: "lb://service", predicates: ["Path=/twice/**"], filters: ["RewritePath=a.*c|a, b"]}
  - {id: many, uri: "lb://service", predicates: ["Path=/many", "Query=a, b"]}
  - {id: gated, uri: "lb://service", predicates: ["Path=/gated/**"]}
  - {id: numbers, uri: "lb://service", predicates: ["Path=/numbers/**"]}
  - {id: public, uri: "lb://service", predicates: ["Path=/public/**"]}
services:
  service: ["%s"]
gates:
  - {room: default, calls: ["POST /gated/{x:(?:a|aa)*(?=b)bc}", "POST /gated/{x:(?:a|aa)*}/y", POST /numbers/7/seats]}
access:
  public: ["/open/**", "GET /shop/**", "GET /public/{x:(?:a|aa)*(?=b)bc}"]
"""

LONG = {
    # As many segments, cookies and parameters as may be.
    "rewriting": ("GET /shop" + "/item/shop" * 249 + "/x", b""),
    "a query": ("GET /query?mail=" + "@." * 3900, b""),
    "a variable": ("GET /slug/" + "-" * 8000, b""),
    "globs": ("GET /globs/" + "abcde" * 1500, b""),
    "a header": ("GET /header", b"X-A: " + b"a" * 7000 + b"\r\n"),
    "a header's list": ("GET /header", b"X-A: " + b"a," * 3500 + b"\r\n"),
    "a cookie": ("GET /cookie", b"Cookie: a=" + b"a" * 7000 + b"\r\n"),
    "cookies": ("GET /cookie", b"Cookie: " + b"a=aaaaaaaaaaa;" * 499 + b"\r\n"),
    "a host": ("GET /host", b""),
    "a look-ahead": ("GET /behind/" + "a" * 7000 + "bbc", b""),
    "a look-behind": ("GET /again/" + "ab" * 3500 + "c", b""),
    "many matches": ("GET /twice/" + "a" * 8000, b""),
    "parameters": ("GET /many?" + "a=aaaaa&" * 999, b""),
    "a gate": ("POST /gated/" + "a" * 7000 + "bbc", b"Content-Length: 0\r\n"),
    "signs before a number": ("POST /numbers/@" + "-" * 7900 + "/seats", b"Content-Length: 0\r\n"),
    "blanks before a number": ("POST /numbers/@" + "-" * 7800 + "%20/seats", b"Content-Length: 0\r\n"),
    "zeros before a number": ("POST /numbers/0x@" + "0_" * 3900 + "/seats", b"Content-Length: 0\r\n"),
    "a public call": ("GET /public/" + "a" * 7000 + "bbc", b""),
}


@pytest.fixture(scope="module")
def patterned(start: Start) -> Gateway:
    return start("c", routes=ROUTES)


@pytest.mark.parametrize("what", LONG)
def test_no_request_holds_the_gateway_by_matching(patterned: Gateway, what: str) -> None:
    gateway = emptied(patterned)
    line, header = LONG[what]
    host = b"Host: " + (b"a." * 120 if what == "a host" else b"h") + b"\r\n"
    taken = []
    for attempt in range(3):
        began = time.monotonic()
        # Each another text where one is remembered.
        another = line.replace("/@", "/" + "-" * attempt).replace("0x@", "0x" + "0" * attempt)
        with gateway.client() as client:
            client.send(request(f"{another} HTTP/1.1", gateway.bearer("stranger"), header, host=host))
            answer = client.answer()
        taken.append(time.monotonic() - began)
        assert answer is not None
        # What was given up is refused; the rest has no route, or its service answers.
        assert answer.status in {200, 400, 404}, answer
        if answer.status == 400:
            assert answer.code == "BAD_REQUEST"
            assert b"takes too long to compare" in answer.body
    # Ten milliseconds, and what a busy machine adds. Without the bound it is 0.7 s to more than a minute.
    assert min(taken) < 0.3, taken


def test_a_gate_that_takes_too_long_to_compare_lets_no_request_pass(patterned: Gateway) -> None:
    gateway = emptied(patterned)
    line, header = LONG["a gate"]
    answer = gateway.ask(line.partition(" ")[2], gateway.bearer("stranger"), header, method="POST")
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")
    assert gateway.behind() == ([], [])


def test_what_takes_too_long_to_be_compared_is_not_open(patterned: Gateway) -> None:
    gateway = emptied(patterned)
    assert gateway.ask("/public/aabc").status == 200
    assert gateway.ask(LONG["a public call"][0].partition(" ")[2]).status == 401
    assert [one.target for one in gateway.behind()[0]] == ["/public/aabc"]


def test_the_log_names_the_regex_once_and_nothing_of_the_request(patterned: Gateway) -> None:
    for _ in range(3):
        patterned.ask(LONG["a look-ahead"][0].partition(" ")[2], patterned.bearer("stranger"))
    log = patterned.log.read_text(encoding="utf-8")
    assert log.count("took too long on 7003 characters") == 1
    assert "a" * 50 not in "".join(line for line in log.splitlines() if "took too long" in line)
