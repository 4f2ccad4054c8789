"""The OpenAPI document of the gateway's own calls, as it holds for one gateway."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import yaml

from gateway.web.envelope import encode
from gateway.web.swagger_files import Content, content_of

YAML: Final = "application/vnd.oai.openapi"
"""The media type of the document as YAML, as springdoc has it."""

_METHODS: Final = ("get", "post", "delete")


class _Plain(yaml.SafeDumper):
    """Writes what is used twice twice: not every reader of OpenAPI knows anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def kept() -> dict[str, Any]:
    """The document as it is kept in ``pages/openapi.yaml``, made anew."""
    text = files("gateway.web").joinpath("pages", "openapi.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return document


def document_for(*, actuator: bool, cookie: str | None) -> dict[str, Any]:
    """The document of a gateway that answers ``/actuator`` on the public port, or does not, and that takes a token
    from the cookie of that name, if there is one."""
    document = kept()
    schemes = document["components"]["securitySchemes"]
    if not actuator:
        paths, tags = document["paths"].items(), document["tags"]
        document["paths"] = {path: item for path, item in paths if not path.startswith("/actuator")}
        document["tags"] = [tag for tag in tags if tag["name"] not in ("Actuator", "Rooms")]
        del schemes["management"]
    if cookie:
        schemes["cookie"]["name"] = cookie
        return document
    del schemes["cookie"]
    for item in document["paths"].values():
        for operation in (item[method] for method in _METHODS if method in item):
            operation["security"] = [each for each in operation["security"] if "cookie" not in each]
    return document


@lru_cache(maxsize=4)
def written(*, actuator: bool, cookie: str | None) -> tuple[Content, Content]:
    """The document as JSON and as YAML. Takes a good part of a second the first time: not on the loop."""
    document = document_for(actuator=actuator, cookie=cookie)
    text = yaml.dump(document, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)
    return content_of(encode(document), "application/json"), content_of(text.encode(), YAML)
