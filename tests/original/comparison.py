"""What differs between two recordings, and which of it is known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tests.original.recording import Record


@dataclass(frozen=True)
class Difference:
    """In one respect of one call: what the original did, and what the gateway did."""

    call: str
    aspect: str
    original: str
    ours: str

    def __str__(self) -> str:
        return f"{self.call}: {self.aspect}: {self.original} → {self.ours}"


@dataclass(frozen=True)
class Known:
    """A difference that is known: in these calls (patterns of ``group/name``), in these respects.

    An aspect maps to a pair of patterns: what the original did, and what the gateway does. ``why`` are the words under
    which docs/reference/migration.md gives the reason.
    """

    why: str
    calls: Sequence[str]
    aspects: Mapping[str, tuple[str, str]]
    sometimes: bool = False
    """Whether a run may be without it."""

    def entries(self) -> Iterator[tuple[str, str]]:
        """Each pair of call and aspect, to be found in use."""
        yield from ((call, aspect) for call in self.calls for aspect in self.aspects)

    def uses(self, one: Difference) -> Iterator[tuple[str, str]]:
        """The entries that this difference is."""
        for call, aspect in self.entries():
            original, ours = self.aspects[aspect]
            if (
                fnmatchcase(one.call, call)
                and fnmatchcase(one.aspect, aspect)
                and fnmatchcase(one.original, original)
                and fnmatchcase(one.ours, ours)
            ):
                yield call, aspect


ABSENT = "-"


def _text(value: Any) -> str:
    return ABSENT if value is None else json.dumps(value, ensure_ascii=False)


def _headers(pairs: Sequence[Sequence[str]], kind: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        at = f"{kind} {name}"
        found[at] = f"{found[at]} | {value}" if at in found else value
    return found


def _members(value: Any, at: str) -> dict[str, str]:
    """A body's members, each by its path."""
    if not isinstance(value, dict):
        return {at: _text(value)}
    found: dict[str, str] = {}
    for key, one in value.items():
        found |= _members(one, f"{at}.{key}")
    return found


def aspects(record: Record) -> dict[str, str]:
    """A call's record, respect by respect."""
    received = record["service"]
    found = {"status": str(record["status"]), **_members(record["body"], "body")}
    found |= _headers(record["headers"], "header")
    found["reached"] = " + ".join(f"{one['service']} {one['method']} {one['target']}" for one in received)
    for one in received:
        found |= _headers(one["headers"], "sent")
        found["sent body"] = one["body"] or ABSENT
    return {key: value or ABSENT for key, value in found.items()}


def of_calls(original: Sequence[Record], ours: Sequence[Record], group: str) -> Iterator[Difference]:
    """Call by call. Headers that a call sent to a service are compared where it reached one on both sides."""
    answers = {one["name"]: one for one in ours}
    assert [one["name"] for one in original] == [*answers], f"{group}: the recording is of other calls"
    for record in original:
        name = record["name"]
        for key in ("method", "path", "token", "body"):
            assert record["sent"][key] == answers[name]["sent"][key], (
                f"{group}/{name}: another call was recorded"
            )
        here, there = aspects(answers[name]), aspects(record)
        for aspect in sorted(here.keys() | there.keys()):
            pair = there.get(aspect, ABSENT), here.get(aspect, ABSENT)
            both = bool(record["service"]) and bool(answers[name]["service"])
            if pair[0] != pair[1] and (both or not aspect.startswith("sent ")):
                yield Difference(f"{group}/{name}", aspect, *pair)


def of_tables(original: Sequence[Record], ours: Sequence[Record]) -> Iterator[Difference]:
    """Route by route."""
    there, here = ({one["id"]: one for one in records} for records in (original, ours))
    for name in sorted(there.keys() | here.keys()):
        if name not in there or name not in here:
            sides = [_text(side[name]["paths"]) if name in side else ABSENT for side in (there, here)]
            yield Difference(f"table/{name}", "route", *sides)
            continue
        for key in ("uri", "order", "paths", "filters"):
            pair = _text(there[name][key]), _text(here[name][key])
            if pair[0] != pair[1]:
                yield Difference(f"table/{name}", key, *pair)


def compared(
    original: Mapping[str, Sequence[Record]], ours: Mapping[str, Sequence[Record]]
) -> list[Difference]:
    """All that differs."""
    assert original.keys() == ours.keys()
    found: list[Difference] = []
    for group in original:
        pair = original[group], ours[group]
        found.extend(of_tables(*pair) if group == "table" else of_calls(*pair, group))
    return found


@dataclass
class Verdict:
    """Differences that no table names, and entries of tables that nothing is a case of any more."""

    unknown: list[Difference]
    stale: list[str]


def judged(found: Sequence[Difference], tables: Sequence[Known]) -> Verdict:
    """Holds what differs against the tables."""
    unused = {(known.why, *entry) for known in tables if not known.sometimes for entry in known.entries()}
    unknown = []
    for one in found:
        uses = {(known.why, *entry) for known in tables for entry in known.uses(one)}
        unused -= uses
        if not uses:
            unknown.append(one)
    return Verdict(unknown, sorted(f"{why}: {call}: {aspect}" for why, call, aspect in unused))
