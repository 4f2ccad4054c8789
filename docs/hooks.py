"""The site has no files from outside of docs/: links to them become their names."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, normpath
from typing import Any

ROOT = Path(__file__).parents[1]
_CODE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[((?:`[^`\n]*`|[^\]`\n])+)\]\(([^)\s#]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """A link to a file of the repository becomes its text, and its path where the text is another one."""
    folder = dirname(f"docs/{page.file.src_uri}")
    pieces, end = [], 0
    for code in _CODE.finditer(markdown):
        pieces += [_without_files(markdown[end : code.start()], folder), code[0]]
        end = code.end()
    return "".join([*pieces, _without_files(markdown[end:], folder)])


def _without_files(text: str, folder: str) -> str:
    def replaced(link: re.Match[str]) -> str:
        if re.match(r"[a-z]+:", link[2]):
            return link[0]
        path = normpath(f"{folder}/{link[2]}")
        if path.startswith("docs/") or not (ROOT / path).exists():
            return link[0]
        name = link[1].strip("`")
        return f"`{path}`" if path.endswith(name.rstrip("/")) else f"{link[1]} (`{path}`)"

    return _LINK.sub(replaced, text)
