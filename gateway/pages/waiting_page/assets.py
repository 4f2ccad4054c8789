"""The files that the page loads: each has a hash of its content in its name, and is compressed in advance.

The files are in ``assets/``. A module names others by their plain names (``from "./client.js"``); they are served under
names with hashes, and so are the references to them. ``assets/previous/`` has those of the release before, under the
names that they had then: during a rolling upgrade an older instance's page may ask a newer one.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, NamedTuple

PATH: Final = "/api/v1/queue/assets"
SCRIPT: Final = "page.js"
ICON: Final = "icon.svg"

_PREVIOUS: Final = "previous"
_MEDIA_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_REFERENCE: Final = re.compile(rb"""(\bfrom\s*|\bimport\s*\(?\s*)"\./([\w-]+\.js)\"""")
_HASH_LETTERS: Final = 16


class Asset(NamedTuple):
    """A file as it is served. ``zipped`` is empty if gzip does not make it shorter."""

    body: bytes
    zipped: bytes
    media_type: str


class Assets(NamedTuple):
    """All files. ``by_name``: by the name with the hash. ``names``: that name by the plain one."""

    by_name: Mapping[str, Asset]
    names: Mapping[str, str]

    def address(self, name: str) -> str:
        """The address of the file with this plain name."""
        return f"{PATH}/{self.names[name]}"


@lru_cache(maxsize=1)
def assets() -> Assets:
    """The files of this release and of the one before."""
    return load_assets(files("gateway.pages.waiting_page").joinpath("assets"))


def load_assets(folder: Traversable) -> Assets:
    """The files of ``folder``. Raises ValueError for modules that import each other, and KeyError for one that imports
    a file that is not there."""
    sources = {each.name: each.read_bytes() for each in folder.iterdir() if _is_asset(each)}
    names: dict[str, str] = {}
    by_name: dict[str, Asset] = {}
    previous = folder.joinpath(_PREVIOUS)
    if previous.is_dir():
        by_name.update(
            (each.name, _asset(each.name, each.read_bytes()))
            for each in previous.iterdir()
            if _is_asset(each)
        )

    def place(name: str, above: tuple[str, ...]) -> str:
        if name in above:
            raise ValueError(f"{' → '.join((*above, name))}: modules that import each other have no hashes")
        if name not in names:
            body = _REFERENCE.sub(
                lambda found: b'%b"./%b"' % (found[1], place(found[2].decode(), (*above, name)).encode()),
                sources[name],
            )
            stem, _, suffix = name.rpartition(".")
            hashed = f"{stem}.{hashlib.sha256(body).hexdigest()[:_HASH_LETTERS]}.{suffix}"
            names[name], by_name[hashed] = hashed, _asset(name, body)
        return names[name]

    for name in sorted(sources):
        place(name, ())
    return Assets(by_name, names)


def keep_for_next_release(folder: Path) -> list[str]:
    """Puts the files of this release in place of those of the release before, under the names that they have now.
    ``folder`` is ``assets/`` of a checkout. Returns these names. Part of making a release: see CONTRIBUTING.md."""
    now = load_assets(folder)
    kept = {now.names[each.name] for each in folder.iterdir() if _is_asset(each)}
    previous = folder / _PREVIOUS
    previous.mkdir(exist_ok=True)
    for former in previous.iterdir():
        former.unlink()
    for name in kept:
        (previous / name).write_bytes(now.by_name[name].body)
    return sorted(kept)


def _is_asset(file: Traversable) -> bool:
    return file.is_file() and _suffix(file.name) in _MEDIA_TYPES


def _asset(name: str, body: bytes) -> Asset:
    zipped = gzip.compress(body, mtime=0)
    return Asset(body, zipped if len(zipped) < len(body) else b"", _MEDIA_TYPES[_suffix(name)])


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
