"""The files of the operator's desk: one page, and its script, styles and icon under names that change with their
content."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from gateway.pages.swagger_files import Content, content_of

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_ASSETS: Final = ("desk.css", "texts.js", "charts.js", "acts.js", "desk.js", "icon.svg")


class DeskFiles(NamedTuple):
    """The page, and the assets by the names that it uses."""

    page: Content
    assets: dict[str, Content]


@lru_cache(maxsize=1)
def desk_files() -> DeskFiles:
    """All files. A script may import only files before it in the list, since its own name depends on theirs."""
    folder = files("gateway.pages") / "desk"
    named: dict[str, str] = {}
    assets: dict[str, Content] = {}
    for name in _ASSETS:
        body = _with_names(folder.joinpath(name).read_bytes(), named)
        path = PurePosixPath(name)
        unique = f"{path.stem}.{hashlib.sha256(body).hexdigest()[:16]}{path.suffix}"
        named[name] = unique
        assets[unique] = content_of(body, _TYPES[path.suffix])
    page = _with_names(folder.joinpath("desk.html").read_bytes(), named)
    return DeskFiles(content_of(page, "text/html"), assets)


def _with_names(body: bytes, named: dict[str, str]) -> bytes:
    for name, unique in named.items():
        body = body.replace(b"assets/" + name.encode(), b"assets/" + unique.encode())
        body = body.replace(b'"./' + name.encode(), b'"./' + unique.encode())
    return body
