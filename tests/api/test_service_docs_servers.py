"""Servers in services' OpenAPI documents."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from gateway.api import service_docs
from gateway.api.service_docs import rewritten_document

AT = "/v3/api-docs"
INTERNAL = [{"url": "http://10.1.2.3:8080", "description": "10.1.2.3"}]
HERE = [{"url": "/"}]


def led_here(body: bytes, path: str) -> bytes:
    """All steps of ``rewritten_document``, and its result."""
    steps = rewritten_document(body, path)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return bytes(done.value)


def led(document: Any) -> Any:
    return json.loads(led_here(json.dumps(document).encode(), AT))


@pytest.mark.parametrize(
    ("servers", "urls"),
    [
        (None, ["/"]),
        ([], ["/"]),
        ("http://10.1.2.3", ["/"]),
        ([7, {"url": 7}], ["/v3/7"]),
        ([{}], ["/"]),
        ([{"url": "http://10.1.2.3:8080"}], ["/"]),
        ([{"url": "http://internal/api/v1"}], ["/api/v1"]),
        ([{"url": "//internal/api"}], ["/api"]),
        ([{"url": "/api"}], ["/api"]),
        ([{"url": "."}], ["/v3/"]),
        ([{"url": "http://user:pw@internal/api?key=1#x"}], ["/api"]),
        ([{"url": "http://internal//evil.example/x"}], ["/evil.example/x"]),
        ([{"url": "http://internal/\\evil.example"}], ["/evil.example"]),
        ([{"url": "http://[internal"}], ["/"]),
        ([{"url": "{at}/v1", "variables": {"at": {"default": "http://internal:80/base"}}}], ["/base/v1"]),
        ([{"url": "https://{host}/v1", "variables": {"host": "internal"}}], ["/v1"]),
        ([{"url": "http://a/v1"}, {"url": "http://b/v1"}, {"url": "http://c/v2"}], ["/v1", "/v2"]),
    ],
)
def test_a_server_is_reduced_to_its_path(servers: object, urls: list[str]) -> None:
    document = {"openapi": "3.1.0", "servers": servers, "paths": {}}
    assert led(document)["servers"] == [{"url": url} for url in urls]


@pytest.mark.parametrize(
    ("url", "default"),
    [("{a}" * 100_000, "x" * 1000), ("{a}" * 600, "x" * 1_000_000), ("/" + "x" * 100_000, "")],
)
def test_no_server_becomes_longer_than_an_address_may_be(url: str, default: str) -> None:
    servers = [{"url": url, "variables": {"a": {"default": default}}}]
    body = json.dumps({"openapi": "3.1.0", "servers": servers}).encode()
    tracemalloc.start()
    try:
        document = led_here(body, AT)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert json.loads(document)["servers"] == HERE
    assert most < 8 * 1024 * 1024


def test_servers_are_found_wherever_they_may_stand() -> None:
    link = {"operationId": "x", "server": INTERNAL[0]}
    response = {"description": "", "links": {"next": link}}
    inner: dict[str, Any] = {"post": {"servers": INTERNAL, "responses": {"200": response}}}
    callbacks = {"done": {"{$request.body#/url}": inner}}
    item = {
        "servers": INTERNAL,
        "get": {"servers": INTERNAL, "callbacks": callbacks},
        "additionalOperations": {"COPY": {"servers": INTERNAL}},
    }
    document = {
        "openapi": "3.1.0",
        "servers": INTERNAL,
        "paths": {"/a": item},
        "webhooks": {"w": item},
        "components": {
            "pathItems": {"p": item},
            "callbacks": callbacks,
            "links": {"l": link},
            "responses": {"r": response},
        },
    }
    assert "10.1.2.3" not in json.dumps(led(document))
    assert led(document)["paths"]["/a"]["get"]["servers"] == HERE


def test_what_is_only_called_so_is_left_alone() -> None:
    schema = {"properties": {"servers": {"type": "array"}}, "example": {"servers": INTERNAL}}
    document = {"openapi": "3.1.0", "servers": HERE, "paths": {}, "components": {"schemas": {"S": schema}}}
    assert led(document) == document


def test_version_2_keeps_its_base_path_alone() -> None:
    document = {"swagger": "2.0", "host": "10.1.2.3", "schemes": ["http"], "basePath": "/api", "paths": {}}
    assert led(document) == {"swagger": "2.0", "basePath": "/api", "paths": {}}


@pytest.mark.parametrize("body", [b"[]", b'{"urls": ["http://10.1.2.3"]}', b"7", b'"x"'])
def test_other_json_is_returned_byte_for_byte(body: bytes) -> None:
    assert led_here(body, AT) == body


@pytest.mark.parametrize(
    "wrong", [7, "x", [7], {"a": 7}, {"get": 7}, {"get": {"responses": 7, "callbacks": [7]}}]
)
def test_a_document_of_any_shape_is_survived(wrong: object) -> None:
    for place in ("paths", "webhooks", "components"):
        assert led({"openapi": "3.1.0", place: {"/a": wrong}})["servers"] == HERE
        assert led({"openapi": "3.1.0", place: wrong})["servers"] == HERE


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"openapi: 3.1.0"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"Expecting|decode"):
        led_here(body, AT)


@pytest.mark.parametrize("piece", ["[", '{"get":{"callbacks":{"a":{"b":'])
def test_what_is_nested_without_end_is_refused(piece: str) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        led_here(b'{"openapi":"3.1.0","paths":{"/":' + piece.encode() * 100_000, AT)


def test_what_is_nested_deeply_is_done_or_refused() -> None:
    document: dict[str, Any] = {"servers": INTERNAL}
    for _ in range(60):
        document = {"get": {"servers": INTERNAL, "callbacks": {"a": {"b": document}}}}
    text = json.dumps(led({"openapi": "3.1.0", "paths": {"/": document}}))
    assert "10.1.2.3" not in text
    assert text.count("servers") == 62


def work_of_steps(monkeypatch: pytest.MonkeyPatch, body: bytes) -> list[int]:
    """How many servers each step read."""
    counts = [0]
    path_of = service_docs._path_of

    def counted(server: dict[str, Any], path: str) -> str:
        counts[-1] += 1
        return path_of(server, path)

    monkeypatch.setattr(service_docs, "_path_of", counted)
    steps = rewritten_document(body, AT)
    while next(steps, steps) is not steps:
        counts.append(0)
    return counts


def test_long_lists_of_servers_are_read_in_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for many, length in ((30, 3000), (300, 300), (3000, 30), (30_000, 1)):
        paths = {f"/{number}": {"servers": [{"url": "http://a/"}] * length} for number in range(many)}
        body = json.dumps({"openapi": "3.1.0", "paths": paths}).encode()
        assert max(work_of_steps(monkeypatch, body)) <= 1000


@pytest.mark.parametrize("version", ["openapi", "swagger"])
def test_many_members_of_the_root_are_written_in_many_steps(version: str) -> None:
    document = {version: "3.1.0"} | {f"k{number}": 1 for number in range(100_000)} | {"host": "x"}
    body = json.dumps(document).encode()
    scanned = 200_000 // service_docs.TOKENS_PER_STEP // 2
    assert sum(1 for _ in rewritten_document(body, AT)) >= scanned + 400
    expected = document | ({"servers": HERE} if version == "openapi" else {})
    if version == "swagger":
        del expected["host"]
    assert json.loads(led_here(body, AT)) == expected
