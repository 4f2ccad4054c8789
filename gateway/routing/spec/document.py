"""Reads YAML safely and within limits into a tree whose nodes know their lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from gateway.routing.spec.issues import RuleViolation
from gateway.settings.placeholders import fill

MAX_BYTES: Final = 2 * 1024 * 1024
MAX_NODES: Final = 100_000
"""The most nodes a file may have after its aliases are expanded. This limit stops alias bombs."""
MAX_DEPTH: Final = 40
_TOO_DEEP: Final = "maximum nesting depth"

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KEY_PARTS = re.compile(r"[^.\[\]]+|\[\d+\]")
# Not isdigit(), which holds for a superscript too, and not more digits than int() reads.
_LIST_POSITION = re.compile(r"[0-9]{1,9}")
_TAG: Final = "tag:yaml.org,2002:"


class BadDocument(Exception):
    """The text is no usable YAML. ``line`` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        self.message = message
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar with its placeholders filled. ``kind`` is its YAML type: ``str``, ``int``, ``bool``, ``null``, …

    ``unset`` names the placeholders that could not be filled.
    """

    value: str
    line: int
    kind: str = "str"
    unset: tuple[str, ...] = ()

    @property
    def null(self) -> bool:
        return self.kind == "null"


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping. ``lines`` are the lines of its keys."""

    entries: Mapping[str, Node]
    line: int
    lines: Mapping[str, int] = field(default_factory=dict)

    def expanded(self) -> Fields:
        """The same mapping with dotted and indexed keys (``a.b``, ``routes[0]``) expanded by one level.

        Keys in brackets (``[/**]``) and keys that are paths are not expanded.
        """
        tree: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for key, value in self.entries.items():
            line = self.lines.get(key, self.line)
            parts = [key] if key[:1] in "[/" else _KEY_PARTS.findall(key) or [key]
            node = value
            for part in reversed(parts[1:]):
                node = Fields({part: node}, line, {part: line})
            lines.setdefault(parts[0], line)
            tree[parts[0]] = merged(tree[parts[0]], node) if parts[0] in tree else node
        return Fields(tree, self.line, lines)


Node = Text | Items | Fields


def plain_name(key: str) -> str:
    """A key in lower case without hyphens and underscores. Keys with the same plain name are the same key."""
    return key.replace("-", "").replace("_", "").lower()


def merged(one: Node, other: Node) -> Node:
    """``one`` with ``other`` laid over it: mappings are merged, everything else is replaced."""
    if not isinstance(one, Fields) or not isinstance(other, Fields):
        return other
    entries = dict(one.entries)
    for key, value in other.entries.items():
        entries[key] = merged(entries[key], value) if key in entries else value
    return Fields(entries, one.line, {**one.lines, **other.lines})


def as_items(node: Node) -> Items | None:
    """The node as a list, also if it is written as a mapping with numbers as keys (``'0': …``); None if it is none."""
    if isinstance(node, Items):
        return node
    if isinstance(node, Fields) and node.entries:
        positions = {key.strip("[]"): value for key, value in node.entries.items()}
        if all(map(_LIST_POSITION.fullmatch, positions)):
            return Items(tuple(positions[key] for key in sorted(positions, key=int)), node.line)
    return None


def plain(node: Node) -> object:
    """The node as plain Python values. Numbers and truth values are read as in YAML."""
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    if isinstance(node, Fields):
        return {key: plain(value) for key, value in node.expanded().entries.items()}
    if node.null:
        return None
    try:
        if node.kind == "int":
            return int(node.value)
        if node.kind == "float":
            return float(node.value)
    except ValueError:
        return node.value
    if node.kind == "bool":
        return node.value.lower() in ("true", "yes", "on")
    return node.value


def read_document(data: bytes, environ: Mapping[str, str], *, section: str = "routes") -> Fields | None:
    """Parse a file. Several documents are merged, later ones over earlier ones. Returns None if the file is empty.

    ``section``: a key that such a file usually has. Raises BadDocument if it is no YAML, too large, or not a mapping.
    """
    if len(data) > MAX_BYTES:
        raise BadDocument(1, f"the file is larger than {MAX_BYTES // 1024} KiB")
    result: Node | None = None
    for node in _compose(data):
        tree = _Reader(environ).read(node)
        if isinstance(tree, Text) and tree.null:
            continue
        if not isinstance(tree, Fields):
            raise BadDocument(tree.line, f"the file must be a mapping with the key {section!r}")
        tree = tree.expanded()
        result = tree if result is None else merged(result, tree)
    return result if isinstance(result, Fields) else None


def _compose(data: bytes) -> Iterator[yaml.Node]:
    try:
        text = data.decode("utf-8-sig")
        _check_depth(text)
        yield from yaml.compose_all(text, Loader=_LOADER)
    except UnicodeDecodeError as error:
        raise BadDocument(data[: error.start].count(b"\n") + 1, "the file is not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        if _TOO_DEEP in what:  # libyaml has a limit of its own since 0.2.6, which may apply before ours
            what = "nested too deeply"
        raise BadDocument(mark.line + 1 if mark else 1, what) from None
    except yaml.YAMLError as error:
        raise BadDocument(1, str(error).partition("\n")[0]) from None


def _check_depth(text: str) -> None:
    """Refuse deep nesting before recursive code reads the text, because libyaml's composer overflows the C stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                mark = event.start_mark
                raise BadDocument(mark.line + 1 if mark else 1, "nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Reader:
    """Converts YAML's nodes into this module's nodes, with aliases and merge keys expanded."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.count = 0

    def read(self, node: yaml.Node, depth: int = 0) -> Node:
        line = _line(node)
        self.count += 1
        if self.count > MAX_NODES:
            raise BadDocument(line, f"the file has more than {MAX_NODES} values, aliases written out")
        if depth > MAX_DEPTH:
            raise BadDocument(line, "nested too deeply, or within itself")
        if isinstance(node, yaml.ScalarNode):
            value, unset = fill(node.value, self.environ)
            return Text(value, line, node.tag.removeprefix(_TAG), unset)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, line, depth)
        return Items(tuple(self.read(item, depth + 1) for item in node.value), line)

    def _mapping(self, node: yaml.MappingNode, line: int, depth: int) -> Fields:
        entries: dict[str, Node] = {}
        lines: dict[str, int] = {}
        inherited: dict[str, Node] = {}
        for key, value in node.value:
            key_line = _line(key)
            if not isinstance(key, yaml.ScalarNode):
                raise BadDocument(key_line, "a key must be a text")
            if key.tag == _TAG + "merge":
                bases = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for base in bases:
                    read = self.read(base, depth + 1)
                    if isinstance(read, Fields):
                        inherited = {**read.entries, **inherited}
                continue
            if key.value in entries:
                raise BadDocument(key_line, f"the key {key.value!r} is there twice")
            entries[key.value] = self.read(value, depth + 1)
            lines[key.value] = key_line
        return Fields({**inherited, **entries}, line, lines)


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1 if node.start_mark else 1


def filled(text: Text) -> str:
    """The text's value. Raises RuleViolation (rule ``placeholder``) if one of its placeholders has no value."""
    if text.unset:
        name = text.unset[0]
        raise RuleViolation("placeholder", f"${{{name}}} is not set and has no default (${{{name}:default}})")
    return text.value
