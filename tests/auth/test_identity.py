from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth import identity
from gateway.auth.identity import (
    RawHeader,
    identity_headers,
    is_reserved,
    signature,
    signature_header,
    strip_identity,
)
from gateway.auth.tokens import Principal

SOMEBODY = Principal("user-1", "USER", 0.0)

ORDINARY: list[RawHeader] = [
    (b"Host", b"shop.example"),
    (b"User-Agent", b"Mozilla/5.0"),
    (b"Accept", b"*/*"),
    (b"Accept-Language", b"ko,en"),
    (b"Accept-Encoding", b"gzip"),
    (b"Authorization", b"Bearer abc"),
    (b"Content-Type", b"application/json"),
    (b"Content-Length", b"2"),
    (b"Connection", b"keep-alive"),
    (b"X-Request-Id", b"7"),
]


@pytest.mark.parametrize(
    "name",
    [
        b"X-User-Id",
        b"x-user-id",
        b"X-USER-ID",
        b"x_user_id",
        b"X_User_Id",
        b"X-User_Id",
        b"X.User.Id",
        b"X User Id",
        b"X--User--Id",
        b"-X-User-Id-",
        b"X-User-Id ",
        b" X-User-Id",
        b"X-User-Id\t",
        b"X-User-Id\0",
        b"X\xadUser\xadId",
        b"X~User!Id",
        b"XUserId",
        b"X-User-Type",
        b"x_user_type",
        b"X-Gateway-Signature",
        b"x.gateway.signature",
        b"X-HTTP-Method",
        b"X-HTTP-Method-Override",
        b"x_http_method_override",
        b"X-Method-Override",
        b"X-Original-URL",
        b"X-Original-Url",
        b"X_Rewrite_URL",
        b"X-Rewrite-Url",
        b"X-Script-Name",
        b"x_script_name",
        b"SCRIPT_NAME",
        b"Script-Name",
        b"PATH_INFO",
        b"X-Path-Info",
        b"X-Forwarded-Script-Name",
        b"X-Forwarded-Path",
        b"XForwardedUri",
        b"X-Forwarded-URL",
        b"X-Forwarded-Method",
        b"X-Original-URI",
        b"X-Original-Path",
        b"X-Original-Method",
        b"X-Override-Method",
        b"X-Request-URI",
        b"X-Replaced-Path",
        b"X-Traversal-Path",
        b"x-vhm-root",
        b"daphne-root-path",
        b"X-Envoy-Original-Path",
        b"X-Envoy-Original-Method",
        b"x-matched-path",
        b"x-invoke-path",
        b"x-astro-path",
    ],
)
def test_every_spelling_of_a_reserved_name_is_gone(name: bytes) -> None:
    assert is_reserved(name)
    for _ in range(2):  # the second time from memory
        assert list(strip_identity([*ORDINARY, (name, b"admin"), (name, b"root")])) == ORDINARY


@pytest.mark.parametrize(
    "name",
    [
        b"X-User",
        b"X-User-Ident",
        b"X-User-Id-2",
        b"My-X-User-Id",
        b"User-Id",
        b"X-Original-Host",
        b"X-Forwarded-Prefix",
        b"X-Forwarded-Context",
        b"X-ProxyContextPath",
        b"X-Request-Id",
        b"X-Scheme",
        b"Unencoded-URL",
        b"Path",
        b"X-Http-Method-Overrides",
        b"X-Forwarded-For",
        b"Method",
        b"",
    ],
)
def test_other_names_stay(name: bytes) -> None:
    headers = [*ORDINARY, (name, b"value")]
    assert strip_identity(headers) is headers


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        (b"X-Script-Name", True),
        (b"SCRIPT_NAME", True),
        (b"X-Original-URI", True),
        (b"X-Forwarded-Method", True),
        (b"X-User-Id", False),
        (b"x_user_type", False),
        (b"X-Original-URL", False),
        (b"X-HTTP-Method-Override", False),
    ],
)
def test_a_route_may_name_another_call_and_no_other_caller(name: bytes, stays: bool) -> None:
    headers = [*ORDINARY, (name, b"value")]
    assert list(strip_identity(headers, of_route=True)) == (headers if stays else ORDINARY)
    assert list(strip_identity(headers)) == ORDINARY


def test_order_spelling_and_repetition_of_the_rest_stay() -> None:
    before = [(b"a", b"1"), (b"x-user-id", b"x"), (b"A", b"2"), (b"Cookie", b"\xff"), (b"a", b"1")]
    assert strip_identity(before) == [(b"a", b"1"), (b"A", b"2"), (b"Cookie", b"\xff"), (b"a", b"1")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"keep-alive", b"keep-alive"),
        (b"Upgrade, X-Trace", b"Upgrade, X-Trace"),
        (b"close, X-User-Id", b"close"),
        (b"X-User-Id", None),
        (b"x_user_id,X.User.Type", None),
        (b" X-User-Id , upgrade,X-Gateway-Signature", b"upgrade"),
        (b"X-HTTP-Method-Override, close", b"close"),
    ],
)
@pytest.mark.parametrize("name", [b"Connection", b"connection", b"CONNECTION"])
def test_connection_cannot_name_what_the_gateway_sets(
    name: bytes, value: bytes, expected: bytes | None
) -> None:
    after = strip_identity([(b"Host", b"a"), (name, value)])
    assert list(after) == [(b"Host", b"a")] + ([] if expected is None else [(name, expected)])


@given(st.lists(st.tuples(st.binary(max_size=24), st.binary(max_size=24)), max_size=12))
def test_whatever_comes_in_nothing_reserved_comes_out(headers: list[RawHeader]) -> None:
    after = strip_identity(headers)
    assert not any(is_reserved(name) for name, _ in after)
    assert strip_identity(after) is after


SEPARATORS = "".join(map(chr, range(32, 127)))


@given(
    st.lists(
        st.text("".join(char for char in SEPARATORS if not char.isalnum()), max_size=2),
        min_size=4,
        max_size=4,
    ),
    st.randoms(use_true_random=False),
)
def test_any_separators_and_any_case_are_the_same_name(between: list[str], random: object) -> None:
    words = ["".join(getattr(random, "choice")([c.upper(), c]) for c in word) for word in ("x", "user", "id")]  # noqa: B009
    name = between[0] + words[0] + between[1] + words[1] + between[2] + words[2] + between[3]
    assert strip_identity([(name.encode(), b"admin")]) == []


def test_invented_names_do_not_pile_up() -> None:
    for number in range(5000):
        strip_identity([(b"X-%d" % number, b""), (b"X-" + b"y" * 100 + b"%d" % number, b"")])
    assert len(identity._suspicious_names) <= 1024
    assert all(len(name) <= 64 for name in identity._suspicious_names)
    assert strip_identity([(b"x_user_id", b"admin")]) == []


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        (None, ()),
        (SOMEBODY, ((b"X-User-Id", b"user-1"), (b"X-User-Type", b"USER"))),
        (Principal("u", "", 0.0), ((b"X-User-Id", b"u"), (b"X-User-Type", b""))),
        (
            Principal("김철수", "관리자", 0.0),
            ((b"X-User-Id", "김철수".encode()), (b"X-User-Type", "관리자".encode())),
        ),
        (Principal("a%20b", "", 0.0), ((b"X-User-Id", b"a%20b"), (b"X-User-Type", b""))),
    ],
)
def test_a_principal_becomes_two_headers(
    principal: Principal | None, expected: tuple[RawHeader, ...]
) -> None:
    assert identity_headers(principal) == expected


def test_what_the_gateway_sets_is_what_it_strips() -> None:
    own = [*identity_headers(SOMEBODY), signature_header("s", 1, "GET", "/", SOMEBODY)]
    assert strip_identity(own) == []


@pytest.mark.parametrize(
    ("principal", "user", "user_type"),
    [(SOMEBODY, "user-1", "USER"), (Principal("김", "", 0.0), "김", ""), (None, "", "")],
)
def test_the_signature_is_the_contracts(principal: Principal | None, user: str, user_type: str) -> None:
    text = f"1700000000\nPOST\n/api/x?a=%20b\n{user}\n{user_type}".encode()
    expected = hmac.new(b"secret", text, hashlib.sha256).hexdigest()
    assert signature("secret", 1700000000, "POST", "/api/x?a=%20b", user, user_type) == expected
    header = signature_header("secret", 1700000000, "POST", "/api/x?a=%20b", principal)
    assert header == (b"X-Gateway-Signature", f"t=1700000000,v1={expected}".encode())


def test_the_signature_has_a_known_value() -> None:
    # printf '1700000000\nGET\n/a?b=c\nuser-1\nUSER' | openssl dgst -sha256 -hmac secret
    assert (
        signature("secret", 1700000000, "GET", "/a?b=c", "user-1", "USER")
        == "a13143562bdc04da7969afc8d3444017bf3a6b6a6731f0a28eb51483bfbb6b27"
    )


@pytest.mark.parametrize("position", range(6))
def test_each_part_changes_the_signature(position: int) -> None:
    parts = ["secret", 1, "GET", "/", "u", "t"]
    changed = list(parts)
    changed[position] = 2 if position == 1 else f"{parts[position]}x"
    assert signature(*changed) != signature(*parts)  # type: ignore[arg-type]


def test_bytes_of_a_target_that_are_no_utf8_are_signed_as_they_are() -> None:
    expected = hmac.new(b"s", b"1\nGET\n/\xff\n\n", hashlib.sha256).hexdigest()
    assert signature("s", 1, "GET", "/\udcff", "", "") == expected
