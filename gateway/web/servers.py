"""Services' OpenAPI documents, led to the gateway: wherever ``servers`` stand in one, they name no machine any more.

Pure functions over JSON values. What a document calls ``servers`` in a schema or an example is its own business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from gateway.web.envelope import encode

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_LONGEST_URL: Final = 2000
_VARIABLE: Final = re.compile(r"\{([^{}]*)\}")


class NotJson(ValueError):
    """A body that is no JSON, or nested so deeply that nobody can tell."""


def led_here(body: bytes, path: str) -> bytes:
    """The document with every server replaced by its path alone, which is then a path of whoever serves the document.

    ``path`` is where the service itself has it. What is JSON but no OpenAPI document is returned as it is. Raises
    NotJson.
    """
    try:
        document = json.loads(body)
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except ValueError as error:
        raise NotJson(str(error)) from error
    try:
        if not isinstance(document, dict) or not document.keys() & {"openapi", "swagger"}:
            return body
        if "swagger" in document:
            # Version 2 has no servers; paths begin at basePath, and where is what is left out: here.
            document.pop("host", None)
            document.pop("schemes", None)
        else:
            _lead_document(document, path)
        return encode(document)
    except RecursionError:
        raise NotJson("nested too deeply") from None


def paths_of(servers: Any, path: str) -> list[dict[str, str]]:
    """``servers`` as paths, each once; the gateway's own root if there are none."""
    listed = servers if isinstance(servers, list) else []
    found = [_path_of(server, path) for server in listed if isinstance(server, dict)]
    return [{"url": url} for url in dict.fromkeys(found)] or [{"url": "/"}]


def _path_of(server: dict[str, Any], path: str) -> str:
    variables = server.get("variables")
    given = variables if isinstance(variables, dict) else {}

    def default(match: re.Match[str]) -> str:
        variable = given.get(match[1])
        return str(variable.get("default", ""))[:_LONGEST_URL] if isinstance(variable, dict) else ""

    url = str(server.get("url", "/"))
    # Before and after: a short one with long variables can become thousands of times as long.
    if len(url) > _LONGEST_URL or len(url := _VARIABLE.sub(default, url)) > _LONGEST_URL:
        return "/"
    try:
        found = urlsplit(urljoin(path, url)).path
    except ValueError:
        found = "/"
    # A browser takes // and /\ for the beginning of a host.
    return "/" + found.lstrip("/\\")


def _lead_document(document: dict[str, Any], path: str) -> None:
    document["servers"] = paths_of(document.get("servers"), path)
    _each(document.get("paths"), _lead_item, path)
    _each(document.get("webhooks"), _lead_item, path)
    components = _map(document.get("components"))
    _each(components.get("pathItems"), _lead_item, path)
    _each(components.get("callbacks"), _lead_callback, path)
    _each(components.get("responses"), _lead_response, path)
    _each(components.get("links"), _lead_link, path)


def _lead_item(item: dict[str, Any], path: str) -> None:
    _lead(item, path)
    for method in _METHODS:
        _lead_operation(_map(item.get(method)), path)
    _each(item.get("additionalOperations"), _lead_operation, path)


def _lead_operation(operation: dict[str, Any], path: str) -> None:
    _lead(operation, path)
    _each(operation.get("callbacks"), _lead_callback, path)
    _each(operation.get("responses"), _lead_response, path)


def _lead_callback(callback: dict[str, Any], path: str) -> None:
    _each(callback, _lead_item, path)


def _lead_response(response: dict[str, Any], path: str) -> None:
    _each(response.get("links"), _lead_link, path)


def _lead_link(link: dict[str, Any], path: str) -> None:
    if "server" in link:
        link["server"] = paths_of([link["server"]], path)[0]


def _lead(place: dict[str, Any], path: str) -> None:
    if "servers" in place:
        place["servers"] = paths_of(place["servers"], path)


def _each(values: Any, lead: Callable[[dict[str, Any], str], None], path: str) -> None:
    for value in _map(values).values():
        lead(_map(value), path)


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
