"""Host patterns: Spring's Ant patterns with the dot between labels (``**.example.org``, ``{sub}.example.org``).

``*`` and ``?`` stay within a label, ``**`` is any number of labels, also none. A port, where the request
names one, is part of the last label.
"""

from __future__ import annotations

import re

from gateway.routing.faults import RuleBroken
from gateway.routing.javaregex import compile_java, quoted
from gateway.routing.matcher import Regex


def fixed_end(pattern: str) -> str:
    """What every host of a pattern ends with, in small letters, with a dot in front where a label begins."""
    end = re.split(r"[*?{}]", f".{pattern}")[-1].lower()
    return end if pattern.isascii() else ""


def fixed_start(pattern: str) -> str:
    """What every host of a pattern begins with, in small letters. A dot before ``**`` may be missing."""
    return re.split(r"[*?{}]", pattern)[0].rstrip(".").lower() if pattern.isascii() else ""


def is_literal(pattern: str) -> bool:
    """Whether a pattern is one host and nothing else."""
    return pattern.isascii() and not re.search(r"[*?{}]", pattern)


def compile_host(pattern: str) -> tuple[Regex, tuple[str, ...]]:
    """Return a regex for the host with a dot before it, and its groups' names; raises RuleBroken (``pattern``)."""
    if re.search(r"[\s,/]", pattern):
        raise RuleBroken("pattern", f"the host pattern {pattern!r} holds a character no host has")
    names: list[str] = []
    labels = re.split(r"\.(?![^{]*\})", pattern)
    out = "".join(
        r"(?:\.[^.]+)*" if label == "**" else r"\." + _label_regex(pattern, label, names) for label in labels
    )
    if len(set(names)) < len(names):
        raise RuleBroken("pattern", f"the host pattern {pattern!r} captures a name twice")
    return compile_java(out, ignore_case=True), tuple(names)


def _label_regex(pattern: str, label: str, names: list[str]) -> str:
    out = ""
    for variable, other in re.findall(r"\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}|(.)", label):
        if other:
            if other in "{}":
                raise RuleBroken(
                    "pattern", f"the host pattern {pattern!r} has a brace without its other half"
                )
            out += {"*": "[^.]*" if len(label) > 1 else "[^.]+", "?": "[^.]"}.get(other) or quoted(other)
            continue
        name, _, constraint = variable.partition(":")
        if not name or (constraint and compile_java(constraint).groups):
            raise RuleBroken(
                "pattern", f"the host pattern {pattern!r} has a variable without a name, or a group"
            )
        names.append(name)
        out += f"({constraint or '[^.]+'})"
    return out
