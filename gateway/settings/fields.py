"""One row of the table of settings: where its text comes from, how it is parsed and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field
from keyword import iskeyword
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from gateway.errors import SettingsError
from gateway.settings import types as kinds
from gateway.settings.spring.table import CONVERSIONS, other_names
from gateway.settings.types import ValueType

T = TypeVar("T")
Compose = Callable[[Mapping[str, str]], str | None]
CrossCheck = Callable[[Mapping[str, str], Any, str | None], Any]

HIDDEN: Final = "(hidden)"
_UNSET: Final = object()


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    ``older``: variables that count if ``name`` is unset; the first one that is set wins, Spring's before others.

    ``compose``: makes the text of several older variables if none of ``older`` is set either. Raises ``SettingsError``
    for a wrong one.

    ``cross_check``: gets the environment, the value and the name of the variable that it comes from (None: none).
    Returns the value to use, or raises ``SettingsError`` for a contradiction.

    ``off``: the value of an empty variable; without it an empty variable counts as unset.

    ``secret``: the value is never shown. Of an address, user and password are never shown.

    ``spring``: the default in a Spring environment, if it is another one.
    """

    name: str
    kind: ValueType[Any]
    default: Any
    doc: str
    group: str
    older: tuple[str, ...]
    compose: Compose | None
    cross_check: CrossCheck | None
    off: Any
    secret: bool
    default_words: str | None
    spring: Any = _UNSET

    @property
    def attribute(self) -> str:
        """The field of ``Settings``: the name in lower case, with an underscore behind a word of Python's own."""
        name = self.name.lower()
        return f"{name}_" if iskeyword(name) else name

    def default_in(self, spring_environment: bool) -> Any:
        """The default, in a Spring environment or outside of one."""
        return self.spring if spring_environment and self.spring is not _UNSET else self.default

    @property
    def may_be_off(self) -> bool:
        """Whether an empty variable has a meaning of its own."""
        return self.off is not _UNSET

    @property
    def default_text(self) -> str:
        """The default as an operator would write it into the environment, or in words if it is not a fixed value."""
        return _text(self.default) if self.default_words is None else self.default_words

    @property
    def allowed(self) -> str:
        """What is allowed, in words that complete "allowed is …"."""
        return self.kind.allowed + ("" if self.off is _UNSET else ", or empty for off")

    def read(self, environ: Mapping[str, str], *, spring: bool = False) -> Any:
        """The value that ``environ`` gives. ``spring``: it is a Spring environment. Raises ``SettingsError``, naming
        the very variable that is wrong."""
        for name in (self.name, *self.older):
            text = environ.get(name)
            if text is None:
                continue
            text = text if self.secret else text.strip()
            if text:
                return self._cross_checked(environ, self._parse(name, text), name)
            if self.off is not _UNSET:
                return self.off
        composed = self.compose(environ) if self.compose else None
        value = self.default_in(spring) if composed is None else self._parse(self.name, composed)
        return self._cross_checked(environ, value, None)

    def _cross_checked(self, environ: Mapping[str, str], value: Any, name: str | None) -> Any:
        return self.cross_check(environ, value, name) if self.cross_check else value

    def _parse(self, name: str, text: str) -> Any:
        reading = CONVERSIONS.get(name)
        if reading is None:
            return parsed(self.kind, name, text, allowed=self.allowed, secret=self.secret)
        # A wrong value is shown as it was written, not as Spring reads it.
        allowed = self.allowed if name == self.name else reading.allowed
        as_spring_reads = ValueType(lambda written: self.kind.parse(reading.convert(written)), allowed)
        return parsed(as_spring_reads, name, text, secret=self.secret)

    def redacted(self, value: Any) -> str:
        """``value`` as it may appear in a log: no secrets, and no users or passwords of addresses."""
        if value is None:
            return "None"
        if self.secret:
            return HIDDEN
        if self.kind is kinds.HTTP_URLS:
            return repr(tuple(_without_password(url) for url in value))
        if self.kind is kinds.HTTP_URL or self.kind is kinds.REDIS_URL:
            return repr(_without_password(value))
        return repr(value)


def parsed(
    kind: ValueType[T], name: str, text: str, *, allowed: str | None = None, secret: bool = False
) -> T:
    """The value of ``text``, the text of the variable ``name``. Raises ``SettingsError``, which shows no secret."""
    try:
        return kind.parse(text)
    except kinds.NotAllowed as error:
        raise SettingsError(name, HIDDEN, error.allowed) from None
    except ValueError:
        # An address may contain a password, and a malformed one may contain it anywhere.
        hide = secret or kind is kinds.REDIS_URL or "@" in text
        raise SettingsError(name, HIDDEN if hide else _shortened(text), allowed or kind.allowed) from None


def setting(
    kind: ValueType[T],
    default: Any,
    doc: str,
    *,
    group: str | None = None,
    older: tuple[str, ...] = (),
    compose: Compose | None = None,
    cross_check: CrossCheck | None = None,
    off: Any = _UNSET,
    secret: bool = False,
    default_words: str | None = None,
    spring: Any = _UNSET,
) -> Any:
    """Declares a setting as a dataclass field.

    ``group`` opens a new group of settings; those declared after it belong to it too. Spring's names are declared in
    the table of ``gateway.spring``, not here.
    """
    metadata = {
        "kind": kind,
        "default": default,
        "doc": doc,
        "group": group,
        "older": older,
        "compose": compose,
        "cross_check": cross_check,
        "off": off,
        "secret": secret,
        "default_words": default_words,
        "spring": spring,
    }
    return field(default=default, metadata=metadata)


def rows(declared: tuple[Field[Any], ...]) -> tuple[Setting, ...]:
    """The rows of the dataclass fields that ``setting`` declared, in their order; other fields have no row."""
    table: list[Setting] = []
    for one in declared:
        if not one.metadata:
            continue
        metadata = dict(one.metadata)
        metadata["group"] = metadata["group"] or table[-1].group
        name = one.name.rstrip("_").upper()
        metadata["older"] = tuple(dict.fromkeys((*other_names(name), *metadata["older"])))
        table.append(Setting(name=name, **metadata))
    return tuple(table)


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case tuple():
            return ",".join("=".join(item) if isinstance(item, tuple) else item for item in value)
        case _:
            return str(value)


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"


def _without_password(url: str) -> str:
    """``url`` without user, password and query (Redis clients accept a password there too)."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    userinfo, at, place = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{'***' if userinfo else ''}{at}{place}{parts.path}"
