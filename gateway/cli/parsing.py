"""What the modules of the command line share to declare their commands with argparse."""

from __future__ import annotations

import argparse
from typing import Any, Protocol


class Commands(Protocol):
    """What ``ArgumentParser.add_subparsers`` returns, whose own class has no public name."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """Add a command."""
        ...


def complete_files(argument: argparse.Action, files: object) -> None:
    """Lets shells complete names of files there. ``files`` is shtab's word for it, None if no shell is to be told."""
    if files is not None:
        argument.complete = files  # type: ignore[attr-defined]
