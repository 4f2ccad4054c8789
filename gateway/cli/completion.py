"""The scripts of ``gateway completion``, with which a shell completes commands, options and file names."""

from __future__ import annotations

import argparse
from typing import Final, Protocol

SHELLS: Final = ("bash", "zsh", "fish")
HOW: Final = """\
At the start of your shell:
  bash  eval "$(gateway completion bash)"       in ~/.bashrc
  zsh   eval "$(gateway completion zsh)"        in ~/.zshrc, below compinit
  fish  gateway completion fish | source        in ~/.config/fish/config.fish"""


class MakeParser(Protocol):
    """Makes the parser of the command line; ``files`` becomes ``complete`` of each argument that is a file."""

    def __call__(self, *, files: object) -> argparse.ArgumentParser: ...


def script(make_parser: MakeParser, shell: str) -> str:
    """The script for one of ``SHELLS``, made from the parser of the command line."""
    import shtab  # noqa: PLC0415 - a start of the gateway needs none

    return shtab.complete(make_parser(files=shtab.FILE), shell)
