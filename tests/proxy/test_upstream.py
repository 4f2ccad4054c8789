"""Base URLs of instances."""

from __future__ import annotations

import pytest

from gateway.proxy.upstream import UpstreamBase


@pytest.mark.parametrize(
    ("url", "base", "authority"),
    [
        ("http://svc:8101", ("http", "svc", 8101), b"svc:8101"),
        ("http://svc", ("http", "svc", 80), b"svc"),
        ("https://svc/path?q", ("https", "svc", 443), b"svc"),
        ("https://SVC:80", ("https", "svc", 80), b"svc:80"),
        ("http://[::1]:81", ("http", "::1", 81), b"[::1]:81"),
    ],
)
def test_a_base_url_is_read(url: str, base: tuple[str, str, int], authority: bytes) -> None:
    parsed = UpstreamBase.parse(url)
    assert parsed == (*base, "")
    assert parsed.authority == authority
    assert str(parsed) == f"{base[0]}://{authority.decode()}"


@pytest.mark.parametrize(
    "url", ["ftp://x", "svc:80", "http://", "http://u:p@svc", "http://svc:99999", "http://svc:x", "lb://svc"]
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        UpstreamBase.parse(url)
