"""What a start says of libraries in other versions than allowed."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from gateway import versions
from gateway.versions import Misfit, fits, misfit_of, misfits

ROOT = Path(__file__).parent.parent
COMMANDS = [["serve"], ["check"], ["routes"], ["schema"], ["completion", "bash"], ["demo"]]


def installed(folder: Path, name: str, version: str) -> None:
    """Metadata of a library in a folder, as pip leaves them; Python looks there first."""
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def gateway(*arguments: str, cwd: Path, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "gateway", *arguments],
        cwd=cwd,
        env={
            "PYTHONPATH": str(path),
            "REDIS_URL": "unix:///nobody.sock",
            "SERVER_HOST": "192.0.2.1",
            "GATEWAY_PROFILE": "plain",
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_what_is_installed_here_fits() -> None:
    assert misfits() == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("version", ["3.14.3", "3.15.0", "3.15.0rc1", "4.0.0a1", "2.0"])
def test_another_aiohttp_stops_the_start_in_one_line_before_it_is_imported(
    tmp_path: Path, command: list[str], version: str
) -> None:
    installed(tmp_path, "aiohttp", version)
    (tmp_path / "aiohttp.py").write_text("raise ImportError('it must not be imported')\n")
    done = gateway(*command, cwd=tmp_path, path=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    allowed = re.escape("aiohttp>=3.14.4,<3.15")
    assert re.fullmatch(
        rf"aiohttp {re.escape(version)} is installed, but allowed is {allowed}; "
        rf"to mend it: {re.escape(sys.executable)} -m pip install '{allowed}'",
        line,
    )


@pytest.mark.parametrize("version", ["6.4.0", "7.1.1", "7.2.0", "7.3.0", "8.0.0", "9.0.0"])
def test_another_redis_stops_the_start_and_is_no_fault_of_an_address(tmp_path: Path, version: str) -> None:
    installed(tmp_path, "redis", version)
    done = gateway("serve", cwd=tmp_path, path=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"redis {version} is installed, but allowed is redis[hiredis]>=")
    assert "REDIS_URL" not in line


def test_every_library_that_stops_the_start_is_named(tmp_path: Path) -> None:
    installed(tmp_path, "redis", "6.4.0")
    installed(tmp_path, "aiohttp", "3.13.0")
    done = gateway("serve", cwd=tmp_path, path=tmp_path)
    assert [line.split(" ")[0] for line in done.stderr.splitlines()] == ["aiohttp", "redis"]


def test_another_version_of_a_library_used_from_outside_is_a_warning(tmp_path: Path) -> None:
    installed(tmp_path, "PyYAML", "5.4.1")
    done = gateway("check", str(ROOT / "routes.yaml"), cwd=tmp_path, path=tmp_path)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: PyYAML 5.4.1 is installed, but allowed is PyYAML>=")


@pytest.mark.parametrize("arguments", [["--version"], ["health", "--help"], ["room", "--help"]])
def test_commands_that_need_no_library_work_with_any(tmp_path: Path, arguments: list[str]) -> None:
    installed(tmp_path, "aiohttp", "3.14.3")
    done = gateway(*arguments, cwd=tmp_path, path=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_newer_patches_and_what_distributions_make_of_them_fit(tmp_path: Path) -> None:
    installed(tmp_path, "aiohttp", "3.14.99+debian1")
    done = gateway("check", str(ROOT / "routes.yaml"), cwd=tmp_path, path=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_broken_uninstallation_left_behind_is_no_version(tmp_path: Path) -> None:
    (tmp_path / "redis-8.0.1.dist-info").mkdir()
    done = gateway("serve", cwd=tmp_path, path=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("redis unknown is installed, but allowed is redis[hiredis]>=")


def test_a_tree_that_was_never_installed_is_not_held_to_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "PACKAGE", "no-such-package")
    assert misfits() == []


def test_a_library_that_is_missing_is_named_unless_only_some_systems_have_it() -> None:
    assert misfit_of("no-such-thing[x]<2,>=1") == Misfit(
        "no-such-thing[x]>=1,<2", "no-such-thing", None, fatal=True
    )
    assert "no-such-thing is not installed, but allowed is no-such-thing>=1;" in str(
        misfit_of("no-such-thing>=1")
    )
    assert misfit_of('no-such-thing>=1; sys_platform != "win32"') is None
    assert misfit_of('no-such-thing>=1; extra == "test"') is None


def test_the_libraries_of_an_extra_are_looked_at_where_it_is_needed() -> None:
    for line in (
        'pytest>=9999; extra == "demo"',
        "pytest>=9999; sys_platform == 'linux' and extra == 'demo'",
    ):
        assert misfit_of(line) is None
        assert misfit_of(line, "test") is None
        assert misfit_of(line, "demo") == Misfit(
            "pytest>=9999", "pytest", metadata.version("pytest"), fatal=False
        )
    assert misfit_of('no-such-thing>=1; extra == "demo"', "demo") is None


def test_the_ranges_that_stop_a_start_are_documented() -> None:
    page = (ROOT / "docs" / "reference" / "versions.md").read_text()
    shown = {match[0] for match in re.finditer(r"(?<=\| `)[a-z]+(?:\[\w+\])?[>=][^`]*(?=` \| stops)", page)}
    setup = (ROOT / "setup.cfg").read_text()
    allowed = re.findall(r"^    ((?:aiohttp|redis)(?:\[\w+\])?>.*)$", setup, re.MULTILINE)
    assert sorted(shown) == sorted(allowed)
    assert {re.split(r"[\[>]", one)[0] for one in allowed} == versions.INNER


def test_constraints_have_a_version_that_fits_for_every_requirement() -> None:
    """Otherwise `make constraints` was forgotten."""
    pinned: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            found = re.fullmatch(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)(?: ; .*)?", line)
            assert found, f"names more than a version: {line}"
            pinned[found[1]] = found[2]
    for line in metadata.requires(versions.PACKAGE) or []:
        requirement = Requirement(line)
        version = pinned.get(re.sub(r"[-_.]+", "-", requirement.name).lower(), "none")
        assert version != "none", line
        assert requirement.specifier.contains(version), line


def test_every_requirement_is_understood_as_pip_understands_it() -> None:
    wanted = metadata.requires(versions.PACKAGE)
    assert wanted
    for line in wanted:
        requirement = Requirement(line)
        known = misfit_of(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            assert known is None
        else:
            version = metadata.version(requirement.name)
            assert (known is None) == requirement.specifier.contains(version, prereleases=True), line
    inner = {Requirement(line).name for line in wanted if "extra ==" not in line}
    assert inner >= versions.INNER


VERSIONS = [
    *(
        "0",
        "1",
        "1.0",
        "1.0.1",
        "1.1",
        "1.2rc1",
        "1.2.0b2",
        "1.2",
        "1.2.0",
        "1.2.post1",
        "1.2+local.3",
        "1.2.1",
    ),
    *("1.9", "1.10", "2.0.dev1", "2.0a1", "2.0rc1", "2.0", "2.0.0", "2.0.1", "2.1", "10.0"),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "bounds", [">=1.2", "<2", ">=1.2,<2", ">=1.2,!=1.9,<2.0", "!=1.2.0", ">=1.2.1", "<1.10", ""]
)
def test_bounds_mean_what_they_mean_for_pip(version: str, bounds: str) -> None:
    assert fits(version, [one for one in bounds.split(",") if one]) == SpecifierSet(bounds).contains(
        version, prereleases=True
    )


@pytest.mark.parametrize("version", ["", "unknown", "x1.2"])
def test_a_version_that_is_none_fits_nothing(version: str) -> None:
    assert not fits(version, [">=0"])


@pytest.mark.parametrize("line", ["", "a>=1.2 @ x", "a~=1.2", "a==1.2", "a>=1.2rc1"])
def test_what_setup_cfg_has_never_had_is_not_guessed(line: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        misfit_of(line.replace("a", "pytest", 1))
