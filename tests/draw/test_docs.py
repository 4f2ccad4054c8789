"""docs/reference/draw.md: its test vectors, its program, and a stranger's own program against the gateway's check."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.main import main
from gateway.draw import merkle
from gateway.draw.formulas import commitment_of, entry_of, seed_of
from gateway.draw.merkle import Proof
from gateway.draw.published import proof_object
from gateway.draw.ranking import close, rank
from gateway.draw.slices import run
from tests.draw.rig import operators_file
from tests.support.pages import names, rows, section

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "draw.md").read_text(encoding="utf-8")
VECTORS = section(PAGE, "## Test vectors")
STRANGER = Path(__file__).with_name("stranger.mjs")
SECRET = bytes.fromhex(re.findall(r"with the secret `([0-9a-f]{64})`", VECTORS)[0])
ENTRIES = {
    user: (bytes.fromhex(salt), bytes.fromhex(entry))
    for user, salt, entry in (names(row) for row in rows(VECTORS, 3)[1:])
}
RESULTS = {row[0]: bytes.fromhex(names([row[1]])[0]) for row in rows(VECTORS, 2) if len(row[1]) == 66}
ORDERS = {row[0]: names([row[1]]) for row in rows(VECTORS, 2) if len(row[1]) != 66}
PROOF, FILE = (json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", VECTORS, re.M | re.S))


def test_every_entry_is_the_one_of_the_page() -> None:
    assert len(ENTRIES) == 5
    for user, (salt, entry) in ENTRIES.items():
        assert entry_of("winter-sale", user, salt) == entry


def test_commitment_root_and_seeds_are_those_of_the_page() -> None:
    root = run(close(entry for _, entry in ENTRIES.values())).root
    assert {
        "commitment": commitment_of(SECRET),
        "root": root,
        "seed, with the beacon's value `0f1e2d`": seed_of(SECRET, root, "0f1e2d"),
        "seed, without a beacon": seed_of(SECRET, root),
    } == RESULTS


@pytest.mark.parametrize("case", ["with the beacon's value `0f1e2d`", "without a beacon"])
def test_the_orders_are_those_of_the_page(case: str) -> None:
    users = {entry: user for user, (_, entry) in ENTRIES.items()}
    assert [users[entry] for entry in run(rank(RESULTS[f"seed, {case}"], users))] == ORDERS[case]


def test_the_proof_is_that_of_the_page() -> None:
    entry = ENTRIES["alice"][1]
    closed = run(close(entry for _, entry in ENTRIES.values()))
    assert proof_object(closed.proof(entry)) == PROOF
    path = tuple(bytes.fromhex(one) for one in PROOF["path"])
    assert merkle.proves(Proof(PROOF["index"], PROOF["size"], path), entry, RESULTS["root"])


def test_the_file_is_that_of_the_page() -> None:
    assert operators_file() == FILE


def frauds() -> dict[str, dict[str, Any]]:
    """The file of the page, and files in which one thing was changed."""
    entries = FILE["entries"]
    return {
        "honest": FILE,
        "secret": {**FILE, "secret": "00" * 32},
        "beacon": {**FILE, "beacon": {"name": "x", "value": "0f1e2e"}},
        "no beacon": {**FILE, "beacon": None},
        "order": {**FILE, "entries": [entries[1], entries[0], *entries[2:]]},
        "left out": {**FILE, "entries": entries[1:]},
        "added": {**FILE, "entries": [*entries, "ab" * 32]},
        "root": {**FILE, "root": "00" * 32},
    }


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program of the page."""
    program = tmp_path / "check_draw.py"
    program.write_text(re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)[0])
    return program


def test_the_program_of_the_page_comes_to_the_same_results(program: Path, tmp_path: Path) -> None:
    for name, file in frauds().items():
        path = tmp_path / "draw.json"
        path.write_text(json.dumps(file))
        done = subprocess.run(
            [sys.executable, "-I", str(program), str(path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == main(["room", "verify", str(path)], {}) == (name != "honest"), name
        assert (done.stdout == "the draw holds\n") == (name == "honest"), name


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_a_stranger_with_the_page_alone_comes_to_the_same_results(tmp_path: Path) -> None:
    mixer = random.Random(11)
    large = operators_file(users=[f"user-{mixer.random()}" for _ in range(200)])
    for name, file in {**frauds(), "honest and large": large}.items():
        path = tmp_path / "draw.json"
        path.write_text(json.dumps(file))
        done = subprocess.run(["node", str(STRANGER), str(path)], capture_output=True, text=True, check=False)
        assert done.stderr == ""
        assert done.returncode == main(["room", "verify", str(path)], {}) == ("honest" not in name), name
