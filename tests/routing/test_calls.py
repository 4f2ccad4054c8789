"""What opens matches narrowly, what protects matches widely."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.calls import overlap, parse_call
from gateway.routing.gates import Gate, GateIndex
from gateway.routing.spec.issues import RuleViolation

OPENS = [
    # pattern, method, path, opened
    ("GET /a", "GET", "/a", True),
    ("GET /a", "HEAD", "/a", True),
    ("HEAD /a", "GET", "/a", False),
    ("GET /a", "POST", "/a", False),
    ("GET /a", "get", "/a", False),
    ("GET /a", "GET", "/a/", False),
    ("GET /a", "GET", "/A", False),
    ("POST /a", "HEAD", "/a", False),
    ("/a", "PURGE", "/a", True),
    ("/a/**", "GET", "/a", True),
    ("GET /{service}/v3/api-docs/**", "GET", "/auth/v3/api-docs/x", True),
    ("GET /{service}/v3/api-docs/**", "GET", "/a/b/v3/api-docs", False),
    ("POST /api/v1/tickets/*/use", "POST", "/api/v1/tickets/1/use", True),
    ("POST /api/v1/tickets/*/use", "POST", "/api/v1/tickets/1/use/", False),
    ("GET /a", "GET", "/a.json", False),
    ("GET /a", "GET", "/a ", False),
    ("GET /a", "GET", "/a\u200b", False),
    ("GET /a/*", "GET", "/a/b.json", True),
    ("GET /a/*", "GET", "/a/two words", True),
    ("GET /a/*", "GET", "/a/caf\u00e9", True),
    ("GET /a/*", "GET", "/a/what?", True),
    # A service that cuts at the question mark would answer another call, which nothing opens.
    ("GET /{service}/docs", "GET", "/admin?x/docs", False),
    ("GET /{service}/docs", "GET", "/admin#x/docs", False),
    ("GET /{service}/docs", "GET", "/admin\uff1fx/docs", False),
    ("GET /**/docs", "GET", "/admin/delete?/docs", False),
    ("GET /*/open", "GET", "/ /open", False),
    ("GET /{id:[^x]+}", "GET", "/\u200by", True),
    # ASP.NET would answer another call, which nothing opens.
    ("GET /{service}/docs", "GET", "/(S(x))/docs", False),
    ("GET /**/docs", "GET", "/(S(x))/docs", True),
    ("GET /{service}/docs", "GET", "/(S(x)) /docs", False),
    ("GET /{service}/docs", "GET", "/(x)/docs", True),
    # The pages of a folder are opened as they are named.
    ("GET /a/*", "GET", "/a/index.html", True),
    ("GET /a/*/*", "GET", "/a/index.php/b", True),
    # What a rule holds itself, it opens.
    ("GET /a/c+d", "GET", "/a/c+d", True),
    ("GET /a;b", "GET", "/a;b", True),
    ("GET /\ufb01le", "GET", "/\ufb01le", True),
    ("GET /\u2764\ufe0f/*", "GET", "/\u2764\ufe0f/x", True),
]

PROTECTS = [
    ("POST /api/v1/x", "POST", "/api/v1/x", True),
    ("POST /api/v1/x", "POST", "/api/v1/x/", True),
    ("POST /api/v1/x", "POST", "/API/v1/X", True),
    ("POST /api/v1/x", "post", "/api/v1/x", True),
    ("POST /api/v1/x", "POST", "/api/v1/x;a=b", True),
    ("POST /api/v1/x", "POST", "/api;v=1/v1/x/", True),
    ("POST /api/v1/x/", "POST", "/api/v1/x", True),
    ("POST /api/v1/x", "GET", "/api/v1/x", False),
    ("POST /api/v1/x", "POST", "/api/v1/x/y", False),
    ("POST /api/v1/x", "POST", "/api/v1/xy", False),
    ("POST /x/**", "POST", "/X/y/Z", True),
    ("POST /x/**", "POST", "/x", True),
    ("GET /x", "HEAD", "/x", True),
    ("HEAD /x", "GET", "/x", True),
    ("/x", "PURGE", "/X/", True),
    ("POST /reservations", "POST", "/reſervations", True),  # long s
    ("POST /kinds", "POST", "/\u212ainds", True),  # the sign for kelvin
    ("POST /kinds", "POST", "/k\u0130nds", True),  # the capital i with a dot
    ("POST /kinds", "POST", "/k\u0130nds.json", True),
    ("POST /k?nds", "POST", "/k\u0130nds", True),
    ("POST /\u0130x", "POST", "/i\u0307x", True),
    ("POST /ıx", "POST", "/ıx", True),
    ("POST /api", "POST", "/ａｐｉ", True),  # fullwidth
    ("POST /{id:[^a-z]+}", "POST", "/ABC", True),
    ("POST /{id:\\d+}/x", "POST", "/12/X", True),
    # A regex counts as *: what a service reads as one of its values, no one can tell.
    ("POST /{id:\\d+}/x", "POST", "/me/x", True),
    ("POST /{id:\\d+}/x", "POST", "/me/y", False),
    ("POST /v{id:\\d+}/x", "POST", "/v0x7/x", True),
    ("POST /v{id:\\d+}/x", "POST", "/w7/x", False),
    ("POST /{a:\\d+}-{b:[a-z]+}.html", "POST", "/x-7.html.gz", True),
    ("POST /{a:\\d+}-{b:[a-z]+}.html", "POST", "/x.html", False),
    ("POST /x", "POST", "/x.json", True),
    ("POST /x", "POST", "/x.json.xml", True),
    ("POST /x", "POST", "/x.", True),
    ("POST /x", "POST", "/x.json/", True),
    ("POST /x", "POST", "/x/.json", True),
    ("POST /x", "POST", "/x/y.json", False),
    ("POST /x", "POST", "/xy.json", False),
    ("POST /x", "POST", "/x-.json", False),
    (f"POST /x/{'0' * 5000}7", "POST", "/x/7", True),
    ("POST /x/y", "POST", "/x.json/y", True),
    ("POST /x.json", "POST", "/x", True),  # the service takes either for the other
    ("POST /x.json", "POST", "/x.xml", True),
    ("POST /x.json/y", "POST", "/x/y", False),
    ("POST /v1.0", "POST", "/v1.1", False),
    ("POST /.well-known", "POST", "/.well-known.json", True),
    ("POST /*.do", "POST", "/x.do.json", True),
    ("POST /*.do", "POST", "/x.json", False),
    ("POST /x/{id}/pay", "POST", "/x/7.json/pay.json", True),
    ("POST /x/{id}/pay", "POST", "/x/ /pay ", True),
    ("POST /x/{id:\\d+}", "POST", "/x/7.json", True),
    ("POST /x/{id:\\d+}", "POST", "/x/7 .json\u200b?y", True),
    ("POST /x/{id:\\d+}", "POST", "/x/me.json", True),
    ("POST /**/x", "POST", "/a?b/c/x .json", True),
    ("POST /x", "POST", "/x ", True),
    ("POST /x", "POST", "/x\u00a0.json", True),
    ("POST /x", "POST", "/ /x\u3000/ ", True),
    ("POST /x", "POST", "/x+", True),
    ("POST /x+y", "POST", "/x+y.json", True),
    ("POST /x", "POST", "/x\u200b", True),
    ("POST /x", "POST", "/x.\ufeffjson", True),
    ("POST /x", "POST", "/x\ufe0f", True),
    ("POST /x", "POST", "/x\U000e0020", True),
    ("POST /x", "POST", "/x\u3164", True),
    ("POST /x", "POST", "/x?y", True),
    ("POST /x", "POST", "/x?/y", True),
    ("POST /x", "POST", "/x#y", True),
    ("POST /x", "POST", "/x;y?z.json", True),
    ("POST /x", "POST", "/x\uff1by", True),  # fullwidth semicolon
    ("POST /x", "POST", "/a?/x", False),
    ("POST /x", "POST", "/x!", False),
    ("POST /caf\u00e9", "POST", "/cafe\u200b\u0301", True),
    # Literals beside a wildcard are compared like those of a whole segment.
    ("POST /stra\u00dfe*/pay", "POST", "/STRASSE-1/pay", True),
    ("POST /stra\u00dfe*/pay", "POST", "/stra\u00dfe-1/pay.json", True),
    ("POST /cafe\u0301*/pay", "POST", "/caf\u00e9-1/pay", True),
    ("POST /x+y-{id}/pay", "POST", "/x+y-1/pay ", True),
    ("POST /x{id}y", "POST", "/xz", False),
    # Python, .NET and others read digits of any script as a number.
    ("POST /x/{id:\\d+}/pay", "POST", "/x/\u0661\u0662/pay", True),
    ("POST /x/{id:[0-9]}/pay", "POST", "/x/\u096d.json/pay", True),
    ("POST /v1", "POST", "/v\u0967", True),
    ("POST /x/{id:\\d+}/pay", "POST", "/x/\u4e00/pay", True),
    ("POST /x/{id:\\d+}/pay", "POST", "/x/1/2/pay", False),
    # A script is run for the paths behind its name too, and may serve all paths of a service.
    ("POST /x.php", "POST", "/x.php/y", True),
    ("POST /x.php", "POST", "/X.PHP./y/z.json", True),
    ("POST /x", "POST", "/x.p\u200bhp/y", True),
    ("POST /x", "POST", "/x.cgi?a/y", True),
    ("POST /x.aspx", "POST", "/x.aspx/Buy", True),
    ("POST /x/{id}", "POST", "/x/buy.php/y", True),
    ("POST /x", "POST", "/index.php/x", True),
    ("POST /x/{id}/pay", "POST", "/x/index.php/7/pay", True),
    ("POST /x", "POST", "/index.php/x/index", True),
    ("POST /x.php", "POST", "/x.phpy/z", False),
    ("POST /x", "POST", "/x.json/y", False),
    # The index of a folder, or the default action of a controller.
    ("POST /x", "POST", "/x/index", True),
    ("POST /x", "POST", "/x/Index/7", True),
    ("POST /x", "POST", "/x/index.php", True),
    ("POST /x", "POST", "/x/default.aspx/y", True),
    ("POST /x", "POST", "/x/ind\u00adex /", True),
    ("POST /x", "POST", "/x/index?y", True),
    ("POST /x", "POST", "/x/indexes", False),
    ("POST /x", "POST", "/x/default", False),
    ("POST /x/index", "POST", "/x", True),
    ("POST /x/Index.html", "POST", "/x/index.php", True),
    ("POST /index", "POST", "/", True),
    ("POST /index", "POST", "/x", False),
    ("POST /index.php/x", "POST", "/x", True),
    ("POST /index.php/x/**", "POST", "/x/y", True),
    ("POST /index.php/**", "POST", "/x", False),
    ("POST /index.php/**", "POST", "/index.php/x", True),
    ("POST /{c}/index", "POST", "/x", False),
    ("POST /{c}/index", "POST", "/x/index/7", False),
    ("POST /**/index", "POST", "/x", False),
    ("POST /a.asmx/pay", "POST", "/b.asmx/pay", False),
    ("POST /pay", "POST", "/b.asmx/pay", False),
    # The data of a page, as JavaScript frameworks name it: SvelteKit, Qwik, Nuxt, React Router, Next.js, Gatsby.
    ("POST /x", "POST", "/x/__data.json", True),
    ("POST /x", "POST", "/X/q-data.json", True),
    ("POST /x/{id}", "POST", "/x/7/q-data.json/", True),
    ("POST /x", "POST", "/x/_payload.json", True),
    ("POST /x", "POST", "/x/_payload.js", True),
    ("POST /x", "POST", "/x.data", True),
    ("POST /x", "POST", "/x/_.data", True),
    ("POST /", "POST", "/_root.data", True),
    ("POST /", "POST", "/q-data.json", True),
    ("POST /x", "POST", "/_next/data/abc-1/x.json", True),
    ("POST /x", "POST", "/shop/_next/data/abc/x.json", False),
    ("POST /shop/x", "POST", "/shop/_next/data/abc/x.json", True),
    ("POST /", "POST", "/_next/data/abc/index.json", True),
    ("POST /x", "POST", "/x.segments/_tree.segment.rsc", True),
    ("POST /x", "POST", "/X.segments/$d$id/__PAGE__.segment.rsc", True),
    ("POST /x/{id}", "POST", "/x/7.segments/_head.segment.rsc/", True),
    ("POST /", "POST", "/index.segments/_index.segment.rsc", True),
    ("POST /x", "POST", "/x.segments/y", False),
    ("POST /x", "POST", "/y/x.segment.rsc", False),
    ("POST /x/{id}", "POST", "/page-data/x/7/page-data.json", True),
    ("POST /", "POST", "/page-data/index/page-data.json", True),
    ("POST /shop/x", "POST", "/shop/page-data/x/page-data.json", True),
    ("POST /x", "POST", "/x\u200b/q-data.json ", True),
    ("POST /x/q-data.json", "POST", "/x/q-data.json", True),
    ("POST /x", "POST", "/x/data.json", False),
    ("POST /x", "POST", "/x/q-data.json/y", False),
    ("POST /x", "POST", "/_next/x.json", False),
    ("POST /x", "POST", "/x/page-data.json", False),
    # ASP.NET takes its sessions out of every path.
    ("POST /x", "POST", "/(S(abc))/x", True),
    ("POST /x", "POST", "/(A(1)S(abc)F(2))/x.json", True),
    ("POST /x/y", "POST", "/x/(s(abc))/y", True),
    ("POST /reserve", "POST", "/re/(S(abc))serve", True),
    ("POST /x", "POST", "/(S(a))/(S(b))/x\u200b", True),
    ("POST /x/*", "POST", "/x/(S(abc))", True),
    ("POST /x", "POST", "/(x)/x", False),
    ("/", "GET", "/", True),
    ("/a;b", "GET", "/a;b", True),
]


SEVEN = [
    # Spring MVC reads each of these as the number 7 (Long, with its usual converters).
    *(
        "07",
        "007",
        "+7",
        "+07",
        "0x7",
        "0X7",
        "0x07",
        "0x 7",
        "#7",
        "#07",
        "\uff037",
        "\u0660\u0667",
        "0\uff17",
    ),
    *("7 ", " 7", "7\u3000", "\u200b07", "0x7.json", "07.", "07;x"),
    # So do Python, JavaScript, PHP, Ruby or Go, or databases.
    *(
        "7.0",
        "7e0",
        "70e-1",
        ".7e1",
        "6.99999999999999999999",
        "0b111",
        "0o7",
        "0_7",
        "0x0_7",
        "0x_7",
        "0o0_7",
        "0b0_111",
        "7" + "_" * 60,
        "7-name",
        "7abc",
        "7,5",
    ),
]
ELSE = ["8", "70", "77", "-7", "-0x7", "0x70", "x7", "08", "seven", "0x", "#", "e7", "9" * 5000]
SAME_UUID = [
    "1-2-3-4-5",  # Java
    "01-02-03-04-05",
    "f00000001-2-3-4-5",  # Java cuts off what is too much
    "{00000001-0002-0003-0004-000000000005}",
    "00000001000200030004000000000005",
    "urn:uuid:00000001-0002-0003-0004-000000000005",
    "{0x1,0x2,0x3,{0x0,0x4,0x0,0x0,0x0,0x0,0x0,0x5}}",  # .NET
    "0000-0001-0002-0003-0004-0000-0000-0005",  # PostgreSQL
    "0_0_0_01-0002-0003-0004-000000000005",  # Python
    "00000001-0002-0003-0004-000000000005.json",
]
UUID = "00000001-0002-0003-0004-000000000005"


@pytest.mark.parametrize("spelt", SEVEN)
@pytest.mark.parametrize(
    "pattern", ["/events/7/seats", "/events/{id:[0-9]+}/seats", "/events/007/**", "/**/7/seats"]
)
def test_a_gate_for_a_number_is_one_for_every_spelling_of_it(pattern: str, spelt: str) -> None:
    assert parse_call(f"POST {pattern}").protects("POST", f"/events/{spelt}/seats")


@pytest.mark.parametrize("spelt", ELSE)
def test_a_gate_for_a_number_is_none_for_other_numbers(spelt: str) -> None:
    assert not parse_call("POST /events/7/seats").protects("POST", f"/events/{spelt}/seats")
    assert parse_call("POST /events/{id:[0-9]+}/seats").protects("POST", f"/events/{spelt}/seats")


@pytest.mark.parametrize(
    "spelt",
    [
        str(2**32 + 7),
        str(2**64 + 7),
        str(3 * 2**64 + 7),
        f"-{2**32 - 7}",
        f"-{2**64 - 7}",
        f"+{2**32 + 7}",
        f"000{2**32 + 7}.json",
        f"{2**32 + 7}-name",
        hex(2**32 + 7),
        f"#{2**64 + 7:x}",
        f"0o{2**64 + 7:o}",
        f"0b{2**64 + 7:b}",
        str(10**100 * 2**64 + 2**64 + 7),
        str(2**2000 + 7),
        f"0x{2**2000 + 7:x}",
    ],
)
def test_a_gate_for_a_number_is_one_for_what_32_or_64_bits_keep_of_another(spelt: str) -> None:
    assert parse_call("POST /events/7/seats").protects("POST", f"/events/{spelt}/seats")
    assert GateIndex([Gate("a", (parse_call("POST /events/7/seats"),))] * 9).find(
        "POST", f"/events/{spelt}/seats", "/"
    )


def test_a_negative_number_is_what_bits_keep_of_a_large_one() -> None:
    for spelt in (2**32 - 7, 2**64 - 7, 2**2000 - 7):
        assert parse_call("POST /events/-7/seats").protects("POST", f"/events/{spelt}/seats")


def test_bits_decide_nothing_where_a_regex_tells_rooms_apart() -> None:
    short, long = "POST /events/{id:[0-9]{1,10}}/seats", "POST /events/{id:[0-9]{11,}}/seats"
    index = GateIndex((Gate("a", (parse_call(short),)), Gate("b", (parse_call(long),))))
    for value, room in ((2**32 + 7, "a"), (2**60 + 7, "b"), (7, "a")):
        path = f"/events/{value}/seats"
        found = index.find("POST", path, path)
        assert found is not None
        assert found[1].room == room


@pytest.mark.parametrize(
    "spelt", [2**32 + 8, 2**64 + 8, 2**31, 2**16 + 7, 10**100 + 8, -(2**32) + 8, 2**2000 + 8]
)
def test_a_gate_for_a_number_is_none_for_other_large_ones(spelt: int) -> None:
    assert not parse_call("POST /events/7/seats").protects("POST", f"/events/{spelt}/seats")


def test_numbers_that_floating_point_can_not_tell_apart_are_one() -> None:
    assert parse_call("POST /9007199254740992").protects("POST", "/9007199254740993")
    assert not parse_call("POST /9007199254740992").protects("POST", "/9007199254740991")


@pytest.mark.parametrize("spelt", SAME_UUID)
@pytest.mark.parametrize("pattern", [UUID, UUID.replace("-", ""), "{id:[0-9a-f-]{36}}"])
def test_a_gate_for_a_uuid_is_one_for_every_spelling_of_it(pattern: str, spelt: str) -> None:
    assert parse_call(f"POST /u/{pattern}/seats").protects("POST", f"/u/{spelt}/seats")


@pytest.mark.parametrize("other", ["1-2-3-4-6", UUID[:-1] + "6", "5", "1", "00000001-0002-0003-0004"])
def test_a_gate_for_a_uuid_is_none_for_others(other: str) -> None:
    assert not parse_call(f"POST /u/{UUID}/seats").protects("POST", f"/u/{other}/seats")


def test_a_uuid_is_no_number_with_a_name_behind_it() -> None:
    assert not parse_call("POST /u/1/seats").protects("POST", f"/u/{UUID}/seats")


def test_no_spelling_of_a_protected_call_is_open() -> None:
    assert overlap(parse_call("POST /x/7"), parse_call("POST /x/007"))
    assert not overlap(parse_call("POST /x/7"), parse_call("POST /x/8"))


@pytest.mark.parametrize(("pattern", "method", "path", "opened"), OPENS)
def test_a_public_call_opens_exactly_what_it_says(pattern: str, method: str, path: str, opened: bool) -> None:
    assert parse_call(pattern).opens(method, path) is opened


@pytest.mark.parametrize(("pattern", "method", "path", "protected"), PROTECTS)
def test_a_gated_call_protects_every_form_of_itself(
    pattern: str, method: str, path: str, protected: bool
) -> None:
    assert parse_call(pattern).protects(method, path) is protected


@given(
    pattern=st.sampled_from(
        ["/a/**", "/a/*", "/{x}/b", "/a?/c", "/A/B", "/{x:[A-Z]+}/b", "/*.js", "/**/b", "/a/"]
    ),
    path=st.lists(st.sampled_from(["a", "A", "ab", "b", "B", "x.js", "É", "ı", "İ", "ß", "1"]), max_size=3),
    slash=st.sampled_from(["", "/"]),
)
def test_whatever_a_pattern_opens_it_would_also_protect(pattern: str, path: list[str], slash: str) -> None:
    call, text = parse_call(pattern), "/" + "/".join(path) + (slash if path else "")
    if call.opens("GET", text):
        for form in (text, text.upper() if text.isascii() else text, text.rstrip("/") or "/"):
            assert call.protects("GET", text), form


@pytest.mark.parametrize("source", ["", "GET", "GET a", "GET /a b", "FETCH /a", "get /a", "POST /a**", "/{a"])
def test_what_is_no_call_is_refused(source: str) -> None:
    with pytest.raises(RuleViolation):
        parse_call(source)


@pytest.mark.parametrize(
    ("gated", "public", "meet"),
    [
        ("POST /a", "POST /a", True),
        ("POST /a", "GET /a", False),
        ("POST /a", "/a", True),
        ("/a", "GET /a", True),
        ("HEAD /a", "GET /a", True),
        ("POST /A", "POST /a", True),
        ("POST /a/**", "POST /a/b/c", True),
        ("POST /a/b", "POST /a/**", True),
        ("POST /a", "POST /a/b", False),
        ("POST /a/**", "POST /**/z", True),
        ("POST /a/{x}/c", "POST /a/b/*", True),
        ("POST /a/*.js", "POST /a/*.css", False),
        ("POST /a/*.js", "POST /a/x*", True),
        ("POST /a/?b", "POST /a/cb", True),
        ("POST /a/?b", "POST /a/ccb", False),
        ("POST /a/{id:\\d+}", "POST /a/me", True),  # a regex counts as *
        ("POST /a/{*rest}", "POST /a", True),
        ("POST /a/b/**", "POST /a/c/**", False),
        ("POST /**/a", "POST /b/**", True),
        ("POST /" + "a*" * 20, "POST /" + "*b" * 20, True),
        ("/" + "a" * 1500 + "*", "GET /" + "a" * 1500 + "?", True),
        ("/" + "a/" * 1000 + "*", "GET /" + "a/" * 1000 + "b", True),
        ("/" + "a/" * 1000 + "**", "GET /" + "a/" * 999 + "b", False),
        ("/" + "*a" * 100, "GET /" + "*b" * 100, False),
        ("GET /sale", "GET /sale.css", True),
        ("GET /sale.html", "GET /sale.css", True),
        ("GET /sale", "GET /*.css", False),  # the gate wins there
        ("GET /sale", "GET /sales.css", False),
    ],
)
def test_a_call_that_is_both_gated_and_public_is_seen(gated: str, public: str, meet: bool) -> None:
    assert overlap(parse_call(gated), parse_call(public)) is meet


@pytest.mark.parametrize(
    "path",
    ["/tags/c#/buy?", "/tags/c#/buy?x", "/tags/c?/buy#x", "/tags/a?b/buy?x", "/tags/c#a/buy#x"],
)
def test_each_end_that_a_service_may_see_in_a_path_counts_for_itself(path: str) -> None:
    """A service that ends the path at ``?`` alone takes ``#`` for a character like any, and the other way round."""
    assert parse_call("POST /tags/*/buy").protects("POST", path)


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("POST /%EC%98%88%EB%A7%A4", "/예매"),
        ("POST /a%20b", "/a b"),
        ("/%61pi/*", "/api/x"),
        ("/{x:a%20b}", "/a%20b"),
    ],
)
def test_a_call_may_be_written_percent_encoded(source: str, path: str) -> None:
    call = parse_call(source)
    assert call.protects("POST", path)
    assert call.opens("POST", path)


@pytest.mark.parametrize("source", ["/a%2fb", "/a%5Cb", "/a%00b", "/%ff", "/a%", "/a%zz", "/%2A", "/%7Bx%7D"])
def test_a_call_whose_encoding_hides_something_is_a_fault(source: str) -> None:
    with pytest.raises(RuleViolation):
        parse_call(source)
