"""Edits of a message's headers. They are chosen when a route matches and applied when the message is forwarded."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from multidict import CIMultiDict

from gateway.routing import matcher
from gateway.routing.java_regex import Replacement
from gateway.routing.matcher import MatchingTimeout, Regex, RegexMatch

_SEPARATOR = re.compile(r"[^a-z0-9]")
_log = logging.getLogger(__name__)


class HeaderEdit(Protocol):
    """One edit. ``apply`` changes the headers in place."""

    def apply(self, headers: CIMultiDict[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class AddHeader:
    """Add a value to the existing ones. Without ``beside``, add it only if there is none."""

    name: str
    value: str
    beside: bool = True

    def apply(self, headers: CIMultiDict[str]) -> None:
        if self.beside or self.name not in headers:
            headers.add(self.name, self.value)


@dataclass(frozen=True, slots=True)
class AddIfBlank:
    """Add values if the header is missing or all its values are empty."""

    name: str
    values: tuple[str, ...]

    def apply(self, headers: CIMultiDict[str]) -> None:
        if not any(headers.getall(self.name, [])):
            headers.extend((self.name, value) for value in self.values)


@dataclass(frozen=True, slots=True)
class SetHeader:
    """Make this the only value."""

    name: str
    value: str

    def apply(self, headers: CIMultiDict[str]) -> None:
        headers[self.name] = self.value


@dataclass(frozen=True, slots=True)
class RemoveHeader:
    """Remove the header with all its values."""

    name: str

    def apply(self, headers: CIMultiDict[str]) -> None:
        headers.popall(self.name, None)


@dataclass(frozen=True, slots=True)
class SetForService(SetHeader):
    """Make this the only value of a request's header. Replaces all spellings that the client has sent."""

    def apply(self, headers: CIMultiDict[str]) -> None:
        _drop_spellings(headers, self.name)
        SetHeader.apply(self, headers)


@dataclass(frozen=True, slots=True)
class RemoveForService(RemoveHeader):
    """Remove a request's header in all its spellings."""

    def apply(self, headers: CIMultiDict[str]) -> None:
        _drop_spellings(headers, self.name)
        RemoveHeader.apply(self, headers)


@dataclass(frozen=True, slots=True)
class CopyHeader:
    """Add the values of one header to another."""

    source: str
    target: str

    def apply(self, headers: CIMultiDict[str]) -> None:
        headers.extend((self.target, value) for value in headers.getall(self.source, []))


@dataclass(frozen=True, slots=True)
class DedupeHeader:
    """Keep the first value, the last one, or each distinct one (``RETAIN_FIRST``, ``_LAST``, ``_UNIQUE``)."""

    name: str
    strategy: str

    def apply(self, headers: CIMultiDict[str]) -> None:
        values = headers.getall(self.name, [])
        if len(values) < 2:
            return
        if self.strategy == "RETAIN_FIRST":
            kept = values[:1]
        elif self.strategy == "RETAIN_LAST":
            kept = values[-1:]
        else:
            kept = list(dict.fromkeys(values))
        headers.popall(self.name)
        headers.extend((self.name, value) for value in kept)


@dataclass(frozen=True, slots=True)
class RewriteHeader:
    """Replace every match of a regex in every value."""

    name: str
    regexp: Regex
    replacement: Replacement

    def apply(self, headers: CIMultiDict[str]) -> None:
        _replace(headers, self.name, lambda value: self.regexp.replace(value, self.replacement.expand))


@dataclass(frozen=True, slots=True)
class RewriteLocation:
    """Replace an absolute location's authority by ``host``. Remove a version (``/v1``) if ``regexp`` matches it.

    Group 1 of ``regexp`` is the part before the authority, which stays.
    """

    name: str
    host: str
    regexp: Regex

    def apply(self, headers: CIMultiDict[str]) -> None:
        def moved(match: RegexMatch) -> str:
            return match.group(1) + self.host

        _replace(headers, self.name, lambda value: self.regexp.replace(value, moved, limit=1))


def _drop_spellings(headers: CIMultiDict[str], name: str) -> None:
    """Remove headers with another name that services may take for this one: many read ``X_Tenant`` and ``X-Tenant`` as
    the same variable."""
    alike = [other for other in headers if len(other) == len(name)]
    if alike:
        lowered = name.lower()
        folded = _SEPARATOR.sub("-", lowered)
        for other in {other.lower() for other in alike} - {lowered}:
            if _SEPARATOR.sub("-", other) == folded:
                headers.popall(other)


def _replace(headers: CIMultiDict[str], name: str, rewritten: Callable[[str], str]) -> None:
    """Replace each value by the rewritten one. A value on which the regex takes too long is removed, because it may
    hold what the filter is meant to hide."""
    values = headers.popall(name, ())
    if not values:
        return
    matcher.start_meter(matcher.ANSWER_MICROSECONDS)
    try:
        headers.extend([(name, rewritten(value)) for value in values])
    except MatchingTimeout:
        _log.warning("the header %s is left out of an answer: rewriting it takes too long", name)
    finally:
        matcher.stop_meter()
