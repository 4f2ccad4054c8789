"""The OpenAPI document of the gateway's own calls, adapted to this gateway's settings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import yaml

from gateway.api.envelope import encode
from gateway.observability.tracing import TRACE_ID
from gateway.pages.swagger_files import Content, content_of

YAML: Final = "application/vnd.oai.openapi"
"""The media type of the document as YAML, the same as springdoc's."""

_METHODS: Final = ("get", "post", "delete")

_MANAGEMENT: Final = ("/actuator", "/metrics")
"""The paths that move to the management port, if there is one."""


class _Plain(yaml.SafeDumper):
    """Writes repeated content out each time, because not every reader of OpenAPI knows anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def kept() -> dict[str, Any]:
    """The document as stored in ``pages/openapi.yaml``, parsed anew, with the header that every answer has."""
    text = files("gateway.pages").joinpath("files", "openapi.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    for each in (*document["components"]["responses"].values(), *_answers(document)):
        each["headers"] = each.get("headers", {}) | {TRACE_ID: {"$ref": "#/components/headers/TraceId"}}
    return document


def _answers(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The answers that calls describe themselves, not by reference."""
    for operation in _operations(document):
        yield from (each for each in operation["responses"].values() if "$ref" not in each)


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document["paths"].values():
        yield from (item[method] for method in _METHODS if method in item)


def document_for(*, actuator: bool, cookie: str | None) -> dict[str, Any]:
    """The document of one gateway. ``actuator``: whether the public port answers ``/actuator`` and ``/metrics``.
    ``cookie``: the name of the cookie that may hold a token, if any."""
    document = kept()
    schemes = document["components"]["securitySchemes"]
    if not actuator:
        paths, tags = document["paths"].items(), document["tags"]
        document["paths"] = {path: item for path, item in paths if not path.startswith(_MANAGEMENT)}
        document["tags"] = [tag for tag in tags if tag["name"] not in ("Actuator", "Rooms")]
        del schemes["management"], schemes["webhook"]
    if cookie:
        schemes["cookie"]["name"] = cookie
        return document
    del schemes["cookie"]
    for operation in _operations(document):
        operation["security"] = [each for each in operation["security"] if "cookie" not in each]
    return document


@lru_cache(maxsize=4)
def written(*, actuator: bool, cookie: str | None) -> tuple[Content, Content]:
    """The document as JSON and as YAML. The first call takes a good part of a second, so don't call it on the event
    loop."""
    document = document_for(actuator=actuator, cookie=cookie)
    text = yaml.dump(document, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)
    return content_of(encode(document), "application/json"), content_of(text.encode(), YAML)
