"""``gateway completion``: what the shells themselves complete with the printed scripts."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli.completion import SHELLS
from gateway.cli.main import main, make_parser

Complete = Callable[[str], list[str]]

_TIMEOUT = 30
_READY = "ready-for-keys>"

# The candidates are taken from the function that the script registers.
_BASH = """
source "$1"
[[ $(complete -p gateway) =~ -F\\ ([^ ]+) ]] || exit 3
COMP_WORDS=($2) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
[[ $2 == *' ' ]] && COMP_WORDS+=('') COMP_CWORD=$((COMP_CWORD + 1))
COMP_LINE=$2 COMP_POINT=${#COMP_LINE}
"${BASH_REMATCH[1]}" gateway
printf '%s\\n' "${COMPREPLY[@]}"
"""
_FISH = "source $argv[1]; complete -C $argv[2]"
# zsh completes only at a terminal. What would be shown there goes to a file, and the shell ends.
_ZSHRC = """
autoload -Uz compinit
compinit -u -D
eval "$(gateway-completion)" || exit 3
compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return; fi
    local -a found
    builtin compadd -A found "$@"
    print -rl -- $found >>$FOUND
    builtin compadd "$@"
}
bindkey '^I' complete-word
comppostfuncs=(exit)
"""


@pytest.fixture(params=SHELLS)
def complete(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Complete:
    """What a shell offers for a line, in a folder with a file ``routes-of-spring.yaml``."""
    shell: str = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert main(["completion", shell], {}) == 0
    script = tmp_path / f"gateway.{shell}"
    script.write_text(capsys.readouterr().out)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "routes-of-spring.yaml").touch()
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "dumb", "LC_ALL": "C.UTF-8"}

    def run(*command: str) -> list[str]:
        done = subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def of_bash(line: str) -> list[str]:
        return run("bash", "--norc", "--noprofile", "-c", _BASH, "bash", str(script), line)

    def of_fish(line: str) -> list[str]:
        return [
            each.partition("\t")[0] for each in run("fish", "--no-config", "-c", _FISH, str(script), line)
        ]

    def of_zsh(line: str) -> list[str]:
        return _typed_into_zsh(line, script, folder, environ)

    return {"bash": of_bash, "fish": of_fish, "zsh": of_zsh}[shell]


def _typed_into_zsh(line: str, script: Path, folder: Path, environ: dict[str, str]) -> list[str]:
    found = script.with_name("found")
    found.write_text("")
    script.with_name(".zshrc").write_text(f"gateway-completion() {{ cat {script} }}\n{_ZSHRC}")
    terminal, end = pty.openpty()
    with (
        os.fdopen(terminal, "rb+", buffering=0) as keys,
        subprocess.Popen(
            ["zsh", "-d", "-i"],
            cwd=folder,
            env={**environ, "ZDOTDIR": str(script.parent), "FOUND": str(found), "PS1": _READY},
            stdin=end,
            stdout=end,
            stderr=end,
            start_new_session=True,
        ) as shell,
    ):
        os.close(end)
        try:
            shown = b""
            while not shown.endswith(_READY.encode()):
                shown += keys.read(1)
            keys.write(f"{line}\t".encode())
            # The terminal's end is an error to who reads it.
            with contextlib.suppress(OSError):
                while keys.read(1024):
                    pass
            shell.wait(_TIMEOUT)
        finally:
            shell.kill()
    return found.read_text().splitlines()


def test_commands_are_completed(complete: Complete) -> None:
    names = re.findall(r"^    (\w+)(?: |$)", make_parser().format_help(), re.MULTILINE)
    assert {"serve", "check", "schema", "completion"} <= set(names)
    offered = complete("gateway ")
    assert set(names) <= set(offered)
    assert "routes-of-spring.yaml" not in offered
    assert sorted(complete("gateway ro")) == ["room", "routes"]


def test_commands_of_commands_are_completed(complete: Complete) -> None:
    assert sorted(complete("gateway room re")) == ["remove", "reopen", "report", "resume"]
    assert set(complete("gateway completion ")) == set(SHELLS)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("gateway check --st", ["--strict"]),
        ("gateway demo --se", ["--seconds", "--seed"]),
        ("gateway room set --cap", ["--capacity"]),
    ],
)
def test_options_of_each_command_are_completed(complete: Complete, line: str, offered: list[str]) -> None:
    assert sorted(complete(line)) == offered


@pytest.mark.parametrize("command", ["check", "check --strict", "routes"])
def test_names_of_files_are_completed_where_a_file_is_taken(complete: Complete, command: str) -> None:
    assert complete(f"gateway {command} routes-") == ["routes-of-spring.yaml"]


def test_an_unknown_shell_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["completion", "cmd"], {})
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err
