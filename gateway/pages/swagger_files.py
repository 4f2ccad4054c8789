"""The files of Swagger UI: a fixed list, read once and kept in memory.

They come from the package ``flask-swagger-ui``: Swagger UI's distribution and a few lines for Flask. The Flask code is
never imported; the gateway only looks up the package's folder.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

_PACKAGE: Final = "flask_swagger_ui"

_HTML, _CSS, _SCRIPT, _PNG = "text/html", "text/css", "text/javascript", "image/png"

OWN: Final = {
    "index.html": ("swagger-ui.html", _HTML),
    "swagger-initializer.js": ("swagger-initializer.js", _SCRIPT),
}
"""Our own pages: the name they are served under, the file's name and its media type."""

DISTRIBUTION: Final = {
    "index.css": _CSS,
    "swagger-ui.css": _CSS,
    "swagger-ui-bundle.js": _SCRIPT,
    "swagger-ui-standalone-preset.js": _SCRIPT,
    "favicon-16x16.png": _PNG,
    "favicon-32x32.png": _PNG,
    "oauth2-redirect.html": _HTML,
    "oauth2-redirect.js": _SCRIPT,
}
"""The files of Swagger UI that are served, each with its media type."""


class Content(NamedTuple):
    """A file that is served unchanged. ``zipped`` is the same in gzip, empty if gzip does not make it smaller."""

    body: bytes
    zipped: bytes
    media_type: str
    tag: str
    """The value for the ETag. It is the same for both forms, so the ETag is a weak one."""


def content_of(body: bytes, media_type: str) -> Content:
    """Prepares ``body`` to be served."""
    zipped = b"" if media_type == _PNG else gzip.compress(body, mtime=0)
    return Content(body, zipped, media_type, hashlib.sha256(body).hexdigest()[:32])


@lru_cache(maxsize=1)
def swagger_files() -> dict[str, Content]:
    """All files by name. The first call reads and compresses 2 MB and takes 0.1 s, so don't call it on the event
    loop."""
    pages = files("gateway.pages") / "files"
    found = {
        name: content_of(pages.joinpath(file).read_bytes(), media_type)
        for name, (file, media_type) in OWN.items()
    }
    folder = _distribution()
    found.update(
        (name, content_of((folder / name).read_bytes(), kind)) for name, kind in DISTRIBUTION.items()
    )
    return found


def _distribution() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the files of Swagger UI are missing: install flask-swagger-ui")
    return Path(spec.submodule_search_locations[0]) / "dist"
