"""Shared by the modules of the command line to declare commands with argparse."""

from __future__ import annotations

import argparse
from typing import Any, Protocol


class Commands(Protocol):
    """The object that ``ArgumentParser.add_subparsers`` returns; its own class has no public name."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """Add a command."""
        ...


def complete_files(argument: argparse.Action, files: object) -> None:
    """Lets shells complete file names for this argument. ``files`` is shtab's value for them; None if no completion
    script is made."""
    if files is not None:
        argument.complete = files  # type: ignore[attr-defined]
