"""What contributors are told and given: the files that pages name, versions of tools, forms, what public CI runs."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import gateway

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_the_files_that_the_page_names_are_there() -> None:
    named = set(
        re.findall(
            r"`((?:gateway|tests|docs|lua_scripts|deploy|benchmarks|\.ci)/[\w./*-]*)`",
            read("CONTRIBUTING.md"),
        )
    )
    assert len(named) > 30
    own = {
        *("tests/waiting_room/scripts/test_my_thing.py", "lua_scripts/my_thing.lua"),
        # Made after a release.
        "gateway/pages/waiting_page/assets/previous/",
    }
    assert {name for name in named - own if not list(ROOT.glob(name))} == set()


def test_short_names_of_files_are_those_of_the_folder_named_before() -> None:
    folder, short = ROOT, 0
    for name in re.findall(r"`([\w./-]+/|[\w./-]*\w+\.(?:py|md|lua))`", read("CONTRIBUTING.md")):
        path = ROOT / name
        if "/" in name:
            folder = path if name.endswith("/") else path.parent
        elif not path.exists():
            short += 1
            assert list(folder.rglob(name)), f"{name} below {folder}"
    assert short > 5


def test_paths_in_its_commands_are_there() -> None:
    for arguments in re.findall(r'make test ARGS="([^"]*)"', read("CONTRIBUTING.md")):
        for word in arguments.split():
            assert not word.startswith("tests/") or word == "tests/my/test_file.py" or (ROOT / word).exists()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_targets_of_make_that_pages_name_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    named = {
        word
        for words in re.findall(r"^(?:.*`)?make ((?:[a-z-]+ ?)+)", read(page), re.MULTILINE)
        for word in words.split()
    }
    assert named <= targets


def test_hooks_have_the_versions_of_the_constraints() -> None:
    constraints = dict(re.findall(r"^([\w-]+)==(\S+)", read("constraints.txt"), re.MULTILINE))
    hooks = load(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    pins = {pin for hook in hooks for pin in hook.get("additional_dependencies", ())}
    assert {"ruff-check", "ruff-format", "mypy"} < {hook["id"] for hook in hooks}
    assert {pin for pin in pins if pin.startswith("ruff")} == {f"ruff=={constraints['ruff']}"}
    assert all("==" in pin for pin in pins)


def test_public_ci_runs_what_must_hold_and_each_supported_python() -> None:
    jobs = load(GITHUB / "workflows" / "ci.yml")["jobs"]
    assert {"run": "bash .ci/run"} in jobs["all"]["steps"]
    pythons = jobs["python"]["strategy"]["matrix"]["python"]
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    listed = [name.strip() for name in tox["tox"]["envlist"].split(",")]
    assert listed == [*(f"py{version.replace('.', '')}" for version in pythons), "lint", "types"]
    assert setup()["options"]["python_requires"] == f">={pythons[0]}"


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_forms_of_issues_are_of_the_shape_that_github_takes(form: Path) -> None:
    content = load(form)
    assert content.keys() == {"name", "description", "labels", "body"}
    ids = [part["id"] for part in content["body"]]
    assert len(ids) == len(set(ids)) > 0
    for part in content["body"]:
        assert part["type"] in {"textarea", "input"}
        assert part["attributes"]["label"]
    assert any(part.get("validations", {}).get("required") for part in content["body"])


def test_the_changelog_has_a_heading_for_this_version() -> None:
    headings = re.findall(r"^## (.*)$", read("CHANGELOG.md"), re.MULTILINE)
    assert gateway.__version__ in headings[:2]
    assert headings[0] in ("Unreleased", gateway.__version__)


def test_the_package_has_what_it_promises() -> None:
    data = setup()["options.package_data"]["gateway"].split()
    assert {"py.typed", "routes.yaml", "routes.schema.json"} <= set(data)
    for name in ("py.typed", "routes.yaml", "routes.schema.json"):
        assert (ROOT / "gateway" / name).is_file()
