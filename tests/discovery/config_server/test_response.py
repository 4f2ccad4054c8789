"""What a Config Server answers is read in both of its formats, and within bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from gateway.discovery.config_server.properties import properties_of
from gateway.discovery.config_server.response import (
    MAX_BRACKETS,
    MAX_PROPERTIES,
    MAX_VALUE_LENGTH,
    Value,
    parse_response,
)
from gateway.errors import ConfigUnavailable, ConfigUnusable


def body(source: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"propertySources": [{"name": "a.yml", "source": source}], **more}).encode()


def test_values_come_with_their_lines_or_without() -> None:
    answer = parse_response(
        body({"a": {"value": 5000, "origin": "37:17"}, "b": "x", "c": True, "d": None}, version="f00")
    )
    assert answer.version == "f00"
    assert answer.sources[0].name == "a.yml"
    assert answer.sources[0].properties == {
        "a": Value(5000, 37),
        "b": Value("x", 0),
        "c": Value(True, 0),
        "d": Value("", 0),
    }


def test_an_origin_of_another_form_is_no_line() -> None:
    read = parse_response(body({"a": {"value": 1, "origin": "system property"}, "b": {"value": 1}}))
    assert [value.line for value in read.sources[0].properties.values()] == [0, 0]


def test_a_name_of_a_source_gives_away_no_password_and_stays_on_its_line() -> None:
    source = {"name": "https://user:secret@git.example/repo\n/application.yml", "source": {}}
    name = parse_response(json.dumps({"propertySources": [source]}).encode()).sources[0].name
    assert name == "https://git.example/repo?/application.yml"


@pytest.mark.parametrize(
    "wrong",
    [
        b"<html>",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"propertySources": {}}',
        b'{"propertySources": [1]}',
        b'{"propertySources": [{"name": "a"}]}',
        body(dict.fromkeys(map(str, range(MAX_PROPERTIES + 1)), 1)),
    ],
    ids=lambda wrong: str(wrong[:30]),
)
def test_what_is_no_such_answer_is_refused_whole(wrong: bytes) -> None:
    with pytest.raises(ConfigUnavailable):
        parse_response(wrong)


def test_an_answer_of_lists_without_end_is_refused() -> None:
    def answer(lists: int) -> bytes:
        return b'{"propertySources":[{"name":"a","source":{}}],"x":[' + b"[]," * lists + b"1]}"

    assert parse_response(answer(MAX_BRACKETS - 2)).sources[0].name == "a"
    with pytest.raises(ConfigUnavailable):
        parse_response(answer(MAX_BRACKETS - 1))


def test_a_byte_order_mark_is_no_part_of_the_document_or_of_a_name() -> None:
    plain = body({"a.b": {"value": 1}, "c": 2})
    assert parse_response(b"\xef\xbb\xbf" + plain) == parse_response(plain)
    for mark in ("\ufeff", "\xef\xbb\xbf"):
        assert parse_response(body({f"{mark}a.b": {"value": 1}, "c": 2})) == parse_response(plain)


UNFIT = [
    b'"\\ud83d"',
    b'{"value": "\\ud83d", "origin": "3:1"}',
    "\ud83d".join('""').encode(errors="surrogatepass"),
    b"[1]",
    b'{"value": {"b": 1}}',
    b'"%b"' % (b"x" * (MAX_VALUE_LENGTH + 1)),
]
LONG = b"9" * 5000
ROUTES = {f"spring.cloud.gateway.routes[0].{name}": text for name, text in (("id", "a"), ("uri", "http://a"))}


def with_one_more(
    value: bytes, name: bytes = b"banner.text", more: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    return body({**ROUTES, **more}).replace(b'"source": {', b'"source": {"%b": %b,' % (name, value))


@pytest.mark.parametrize("value", [*UNFIT, LONG, b"1e999", b"NaN"], ids=lambda value: str(value[:20]))
def test_a_property_that_is_not_for_a_gateway_may_be_anything(value: bytes) -> None:
    for encoded in (with_one_more(value), with_one_more(value).decode(errors="surrogatepass")):
        raw = encoded if isinstance(encoded, bytes) else encoded.encode("utf-16", "surrogatepass")
        properties = properties_of(parse_response(raw), {})
        assert properties.values == ROUTES
        assert properties.ignored == ("banner.text",)


@pytest.mark.parametrize("value", UNFIT, ids=lambda value: str(value[:20]))
@pytest.mark.parametrize(
    "name",
    [
        b"spring.cloud.gateway.routes[0].predicates[0]",
        b"spring.cloud.gateway.server.webflux.routes",
        b"spring.security.oauth2.resourceserver.jwt.jwk-set-uri",
    ],
)
def test_a_property_for_a_gateway_is_refused_if_it_can_not_be_used(name: bytes, value: bytes) -> None:
    with pytest.raises(ConfigUnavailable, match="no text, number or truth value, or too long"):
        properties_of(parse_response(with_one_more(value, name)), {})


@pytest.mark.parametrize("value", UNFIT, ids=lambda value: str(value[:20]))
def test_so_is_one_that_a_placeholder_stands_for(value: bytes) -> None:
    raw = with_one_more(
        value, more={"spring.cloud.gateway.routes[0].predicates[0]": "Path=${banner.text:/a}"}
    )
    with pytest.raises(ConfigUnavailable, match=r"the value of 'banner.text'"):
        properties_of(parse_response(raw), {})
    assert "Path=/b" in properties_of(parse_response(raw), {"BANNER_TEXT": "/b"}).values.values()


ISSUER = "spring.security.oauth2.resourceserver.jwt.issuer-uri"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (f"invalid.{ISSUER}", "<n/a>", f"the server could not decrypt '{ISSUER}'"),
        (ISSUER, "{cipher}AQB3", f"the value of '{ISSUER}' is encrypted"),
        ("invalid.shop.issuer", "<n/a>", "the server could not decrypt 'shop.issuer'"),
        ("shop.issuer", "{cipher}AQB3", "the value of 'shop.issuer' is encrypted"),
    ],
)
def test_what_is_not_decrypted_is_not_taken_for_absent(name: str, value: str, told: str) -> None:
    stands_for = {} if ISSUER in name else {ISSUER: "${shop.issuer:}"}
    raw = body(ROUTES | {name: value} | stands_for)
    with pytest.raises(ConfigUnusable, match=told):
        properties_of(parse_response(raw), {})


def test_what_is_not_decrypted_and_is_for_others_is_passed_over() -> None:
    secret = {"invalid.db.password": "<n/a>", "mail.password": "{cipher}AQB3", "invalid.x": "y"}
    properties = properties_of(parse_response(body(ROUTES | secret)), {})
    assert properties.values == ROUTES
    assert properties.ignored == ("db.password", "invalid.x", "mail.password")


def test_half_a_character_in_a_name_is_passed_over_or_refused_likewise() -> None:
    raw = with_one_more(b"1", b"banner.\\ud83d")
    assert properties_of(parse_response(raw), {}).ignored == ("banner.?",)
    with pytest.raises(ConfigUnavailable, match="no text"):
        properties_of(
            parse_response(with_one_more(b"1", b"spring.cloud.gateway.routes[0].metadata.\\ud83d")), {}
        )
    answer = parse_response(body(ROUTES, version="v\ud83d", label="l\ud83d"))
    assert (answer.version, answer.label) == ("v?", "l?")


def test_a_number_that_python_does_not_read_is_a_text() -> None:
    raw = with_one_more(LONG, b"spring.cloud.gateway.routes[0].order")
    assert LONG.decode() in properties_of(parse_response(raw), {}).values.values()
