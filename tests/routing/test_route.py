"""Where routes lead."""

from __future__ import annotations

import pytest

from gateway.routing.route import NOWHERE, parse_instance, parse_uri
from gateway.routing.spec.issues import RuleViolation


@pytest.mark.parametrize(
    ("uri", "scheme", "service", "host", "port"),
    [
        ("lb://auth-service", "http", "auth-service", "", 0),
        ("LB://AUTH_service", "http", "auth_service", "", 0),
        ("lb:https://auth", "https", "auth", "", 0),
        ("lb:ws://auth", "http", "auth", "", 0),
        ("lb://auth/path", "http", "auth", "", 0),
        ("http://u.test", "http", None, "u.test", 80),
        ("https://u.test", "https", None, "u.test", 443),
        ("HTTP://U.test:8080/base?q", "http", None, "u.test", 8080),
        ("ws://u.test:81", "http", None, "u.test", 81),
        ("wss://u.test", "https", None, "u.test", 443),
        ("http://[::1]:8080", "http", None, "::1", 8080),
        ("http://127.0.0.1:9", "http", None, "127.0.0.1", 9),
        ("no://op", NOWHERE, None, "", 0),
    ],
)
def test_a_uri_is_a_service_or_an_address(
    uri: str, scheme: str, service: str | None, host: str, port: int
) -> None:
    upstream = parse_uri(uri)
    assert (upstream.scheme, upstream.service, upstream.host, upstream.port) == (scheme, service, host, port)
    assert upstream.uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/x",
        "localhost:8080",
        "u.test",
        "lb://",
        "lb:auth",
        "lb:ftp://auth",
        "lb://a b",
        "http://",
        "http:/a",
        "http://bad host/",
        "http://u:p@h/",
        "http://h:99999",
        "http://h:x",
        "http://[::1",
        "http://a..b",
        "http://" + "x" * 64,
        "https://www." + "x" * 64 + ".example",
        "ftp://h",
        "forward:/x",
        "htp://h",
    ],
)
def test_what_is_neither_is_refused(uri: str) -> None:
    with pytest.raises(RuleViolation) as refusal:
        parse_uri(uri)
    assert refusal.value.rule == "uri"


@pytest.mark.parametrize(
    ("url", "instance"),
    [
        ("http://127.0.0.1:8101", "http://127.0.0.1:8101"),
        ("HTTP://Host/", "http://host:80"),
        ("https://h", "https://h:443"),
        ("http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_an_instance_is_a_base_address(url: str, instance: str) -> None:
    assert parse_instance(url) == instance


@pytest.mark.parametrize(
    "url",
    ["h:80", "lb://x", "http://h/path", "http://h?q", "http://h#f", "ws://h", "http://h:0x", "http://a..b"],
)
def test_an_instance_is_nothing_more(url: str) -> None:
    with pytest.raises(RuleViolation) as refusal:
        parse_instance(url)
    assert refusal.value.rule == "service"


@pytest.mark.parametrize(
    "uri", ["http://me:hunter2@h/", "ftp://me:hunter2@h", "lb://me:hunter2@h", "http://hunter2@@h"]
)
def test_a_fault_shows_no_password(uri: str) -> None:
    for parse in (parse_uri, parse_instance):
        with pytest.raises(RuleViolation) as refusal:
            parse(uri)
        assert "hunter2" not in refusal.value.message
