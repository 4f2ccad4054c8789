"""Shared by the modules of the command line to declare commands with argparse."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any, Protocol


class Commands(Protocol):
    """The object that ``ArgumentParser.add_subparsers`` returns; its own class has no public name."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """Add a command."""
        ...


class CommandParser(argparse.ArgumentParser):
    """The parser of a command. Its error for an argument that it does not know shows what the command takes; argparse
    would show what the whole program takes."""

    def parse_known_args(
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown


def utf8(text: str) -> str:
    """The type of an argument that is sent to a gateway. Raises ArgumentTypeError for bytes that are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("the value is no text in UTF-8") from None
    return text


def complete_files(argument: argparse.Action, files: object) -> None:
    """Lets shells complete file names for this argument. ``files`` is shtab's value for them; None if no completion
    script is made."""
    if files is not None:
        argument.complete = files  # type: ignore[attr-defined]
