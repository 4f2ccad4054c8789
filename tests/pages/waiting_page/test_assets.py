"""The files of the page: names with hashes, references, and those of the release before."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from gateway.pages.waiting_page import page
from gateway.pages.waiting_page.assets import (
    ICON,
    PATH,
    SCRIPT,
    assets,
    keep_for_next_release,
    load_assets,
)

ROOT = Path(__file__).parents[3]


def test_each_file_has_a_hash_in_its_name_and_is_compressed() -> None:
    found = assets()
    for name in (SCRIPT, ICON):
        hashed = found.names[name]
        assert re.fullmatch(rf"{name.partition('.')[0]}\.[0-9a-f]{{16}}\.\w+", hashed)
        asset = found.by_name[hashed]
        assert not asset.zipped or gzip.decompress(asset.zipped) == asset.body
        assert found.address(name) == f"{PATH}/{hashed}"


def test_the_modules_of_the_client_are_copies_of_it() -> None:
    """A change of the client must reach the page: ``make page-modules``."""
    folder = Path(page.__file__).parent / "assets"
    shared = {each.name for each in (ROOT / "clients/js/src").iterdir()} & {
        each.name for each in folder.iterdir()
    }
    assert shared == {"events.js", "join.js", "tabs.js", "types.js"}
    for name in shared:
        assert (folder / name).read_bytes() == (ROOT / "clients/js/src" / name).read_bytes(), name


def test_a_reference_to_a_file_has_its_hash(tmp_path: Path) -> None:
    (tmp_path / "inner.js").write_text("export const a = 1;\n")
    (tmp_path / "page.js").write_text(
        'import {a} from "./inner.js";\nimport "./inner.js"; import("./inner.js");\n'
    )
    before = load_assets(tmp_path)
    body = before.by_name[before.names["page.js"]].body.decode()
    assert body.count(f'"./{before.names["inner.js"]}"') == 3
    (tmp_path / "inner.js").write_text("export const a = 2;\n")
    after = load_assets(tmp_path)
    assert after.names["page.js"] != before.names["page.js"]


def test_files_of_the_release_before_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "page.js").write_text("2\n")
    (tmp_path / "previous").mkdir()
    (tmp_path / "previous" / "page.0123456789abcdef.js").write_text("1\n")
    found = load_assets(tmp_path)
    assert found.by_name["page.0123456789abcdef.js"].body == b"1\n"
    assert found.by_name[found.names["page.js"]].body == b"2\n"


def test_modules_that_import_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import "./b.js";')
    (tmp_path / "b.js").write_text('import "./a.js";')
    with pytest.raises(ValueError, match=r"a.js → b.js → a.js"):
        load_assets(tmp_path)


def test_a_release_keeps_its_files_for_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "page.js").write_text("1\n")
    (tmp_path / "previous").mkdir()
    (tmp_path / "previous" / "page.0123456789abcdef.js").write_text("0\n")
    before = load_assets(tmp_path).names["page.js"]
    assert keep_for_next_release(tmp_path) == [before]
    (tmp_path / "page.js").write_text("2\n")
    found = load_assets(tmp_path)
    assert set(found.by_name) == {before, found.names["page.js"]}
    assert found.by_name[before].body == b"1\n"
