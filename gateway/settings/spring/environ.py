"""The environment as Spring reads it: one text for each property, from variables and ``SPRING_APPLICATION_JSON``."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NoReturn
from uuid import UUID

from gateway.errors import SettingsError
from gateway.settings.placeholders import fill_from, in_environ
from gateway.settings.spring.names import NameMatch, uniform
from gateway.settings.spring.table import DEFAULTS, NAMES

VARIABLES: Final = ("spring.application.json", "SPRING_APPLICATION_JSON")
"""The names under which the JSON may be found; the first that is not empty wins, as in Spring."""
MAX_JSON_LENGTH: Final = 256 * 1024
MAX_PROPERTIES: Final = 2000
"""Properties, at most. A JSON with more of them can't be meant as settings."""
MAX_JSON_DEPTH: Final = 40
MAX_NAME_LENGTH: Final = 200


class BadJson(ValueError):
    """The JSON can't be read. The text says why, without any of its content."""


def variable_of(environ: Mapping[str, str]) -> str | None:
    """The name of the variable that holds the JSON; None if none does."""
    return next((name for name in VARIABLES if environ.get(name, "").strip()), None)


def properties(text: str) -> dict[str, str]:
    """The properties by dotted name: ``{"a": {"b": [1, true]}}`` is ``a.b[0]`` and ``a.b[1]``.

    Null counts as absent, and so does an empty object or list. Raises BadJson.
    """
    if len(text) > MAX_JSON_LENGTH:
        raise BadJson(f"at most {MAX_JSON_LENGTH // 1024} KiB")
    try:
        # Numbers stay as they are written.
        content = json.loads(text, parse_float=str, parse_int=str, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise BadJson(f"valid JSON; line {error.lineno}, column {error.colno} is not: {error.msg}") from None
    except (ValueError, RecursionError):
        raise BadJson("valid JSON") from None
    if not isinstance(content, dict):
        raise BadJson("a JSON object")
    found = dict(islice(_flat("", content, 0), MAX_PROPERTIES + 1))
    if len(found) > MAX_PROPERTIES:
        raise BadJson(f"at most {MAX_PROPERTIES} properties")
    return found


def _refuse(_: str) -> NoReturn:
    raise ValueError("no number of JSON")


def _flat(name: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    if depth > MAX_JSON_DEPTH:
        raise BadJson(f"at most {MAX_JSON_DEPTH} levels deep")
    if isinstance(value, dict):
        for key, below in value.items():
            if not key.isprintable() or len(key) > MAX_NAME_LENGTH:
                raise BadJson(f"printable names of at most {MAX_NAME_LENGTH} characters")
            yield from _flat(f"{name}.{key}" if name else key, below, depth + 1)
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _flat(f"{name}[{index}]", below, depth + 1)
    elif value is not None:
        yield name, str(value).lower() if isinstance(value, bool) else str(value)


HIDDEN: Final = "(hidden)"
OF_INSTANCE: Final = ("spring.cloud.client.hostname", "spring.cloud.client.ip-address")
"""Placeholders that stay unfilled: their values are known only when the gateway registers."""
MAX_VALUE_LENGTH: Final = 64 * 1024
"""Characters that a value may have once its placeholders are filled."""
MAX_PLACEHOLDER_DEPTH: Final = 8
"""Placeholders that may be nested in one another's values, at most."""


@dataclass(frozen=True, slots=True)
class _Form:
    """One form of a property; ``shown`` says where it was found."""

    shown: str
    match: NameMatch
    text: str

    @property
    def order(self) -> tuple[bool, int, bool, int, str]:
        """Sorts forms by precedence, and the items of one list by index."""
        index = self.match.at
        from_json = self.shown.startswith(_JSON)
        return (not from_json, self.match.rank, index is not None, index or 0, self.shown)


_JSON: Final = f"{VARIABLES[1]} ("


class SpringEnviron(Mapping[str, str]):
    """The environment with every property of the table under its canonical name, including the properties of
    ``SPRING_APPLICATION_JSON``. Made once, at the start.

    ``faults``: errors that stop the start. ``conflicts``: pairs of forms with different texts, the one that counts
    first. ``from_json``: the names that stand in the JSON.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.plain: Mapping[str, str] = dict(environ)
        self.faults: list[SettingsError] = []
        self.conflicts: list[tuple[str, str]] = []
        self.from_json = self._json()
        self._by_uniform_name = {uniform(name): text for name, text in self.from_json.items()}
        self._origins: dict[str, str] = {name: f"{_JSON}{name})" for name in self.from_json}
        self._texts: dict[str, str] = {**self.plain, **self.from_json}
        for name, text in self.from_json.items():
            if NAMES.match(name) is None and self.plain.get(name, text).strip() not in ("", text.strip()):
                self.conflicts.append((f"{_JSON}{name})", name))
        self._counting: dict[str, str] = {}
        # Each variable is filled only once, so that values that repeat one another can't multiply the work.
        self._done: dict[str, str] = {}
        secret: set[str] = set()
        for variable, form in self._forms():
            self._counting[variable] = form.text
            self._origins[variable] = form.shown
            if form.match.name.secret:
                secret.add(variable)
        for variable in self._counting:
            self._texts[variable] = self._filled(variable, variable in secret)

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def named(self, error: SettingsError) -> SettingsError:
        """``error`` under the name that the operator has written. Values of placeholders are left out, because they may
        be secret."""
        variable, value = error.variable, error.value
        raw = self._counting.get(variable)
        if raw is not None and raw != self._texts[variable] and value != HIDDEN:
            value = raw.strip()[:200]
        original_name = self._origins.get(variable, variable)
        if (original_name, value) == (variable, error.value):
            return error
        renamed = SettingsError(original_name, value, error.allowed)
        # The original error may show more.
        renamed.__suppress_context__ = True
        return renamed

    def _json(self) -> dict[str, str]:
        variable = variable_of(self.plain)
        if variable is None:
            return {}
        try:
            return properties(self.plain[variable])
        except BadJson as error:
            self.faults.append(SettingsError(variable, HIDDEN, str(error)))
            return {}

    def _forms(self) -> Iterator[tuple[str, _Form]]:
        """For each property the form that counts; the items of a list count as one form together."""
        forms: dict[str, list[_Form]] = {}
        for name, text in self.plain.items():
            if match := NAMES.match(name):
                forms.setdefault(match.variable, []).append(_Form(name, match, text))
                if match.name.family and name != match.variable and name.startswith(match.name.variable):
                    del self._texts[name]  # the key would be there twice
        for name, text in self.from_json.items():
            if match := NAMES.match(name):
                forms.setdefault(match.variable, []).append(_Form(f"{_JSON}{name})", match, text))
        for variable, several in forms.items():
            ordered = _lists_joined(sorted(several, key=lambda form: form.order))
            counting = next((form for form in ordered if form.text.strip()), ordered[0])
            yield variable, counting
            for other in ordered:
                if other.text.strip() not in ("", counting.text.strip()):
                    self.conflicts.append((counting.shown, other.shown))

    def _filled(self, variable: str, secret: bool) -> str:
        """The text of a variable with its placeholders filled."""
        text = self._counting[variable]
        if "${" not in text:
            return text
        try:
            return self._fill(text, (variable,))
        except _Unfilled as error:
            hide = secret or "@" in text  # an address may hold a password
            shown = HIDDEN if hide else text[:200]
            allowed = "a text whose ${…} can be filled" + ("" if hide else f": {error}")
            self.faults.append(self.named(SettingsError(variable, shown, allowed)))
            return ""

    def _fill(self, text: str, within: tuple[str, ...]) -> str:
        room = MAX_VALUE_LENGTH

        def find(name: str) -> str | None:
            nonlocal room
            value = self._value(name, within)
            room -= len(value or "")
            if room < 0:
                raise _Unfilled(f"it has more than {MAX_VALUE_LENGTH} characters")
            return value

        # A placeholder without a value stays unchanged, as in Spring; a setting that can't use it reports that.
        filled, _ = fill_from(text, find)
        return filled

    def _value(self, name: str, within: tuple[str, ...]) -> str | None:
        """The value of a placeholder, with the placeholders in it filled."""
        if name in OF_INSTANCE:
            return f"${{{name}}}"
        found = self._find(name)
        if found is None:
            return _random(name)
        variable, value = found
        if "${" not in value:
            return value
        if variable in within or len(within) > MAX_PLACEHOLDER_DEPTH:
            raise _Unfilled(f"${{{name}}} stands for itself, or too many stand for one another")
        if variable not in self._done:
            self._done[variable] = self._fill(value, (*within, variable))
        return self._done[variable]

    def _find(self, name: str) -> tuple[str, str] | None:
        """The variable that a placeholder names, and its text."""
        if name in self.from_json:
            return name, self.from_json[name]
        match = NAMES.match(name)
        if match and match.variable in self._counting:
            return match.variable, self._counting[match.variable]
        if "." in name and (text := self._by_uniform_name.get(uniform(name))) is not None:
            return name, text
        text = in_environ(name, self.plain)
        if text is None:
            text = DEFAULTS.get(name)
        return None if text is None else (name, text)


class _Unfilled(Exception):
    """A placeholder can't be filled. The text says why, without values."""


def understood(environ: Mapping[str, str]) -> SpringEnviron:
    """``environ`` as Spring would read it; unchanged if it is a ``SpringEnviron`` already."""
    return environ if isinstance(environ, SpringEnviron) else SpringEnviron(environ)


def _lists_joined(forms: list[_Form]) -> list[_Form]:
    """The forms, with the items of a list joined into one form at the place of the first item."""
    joined: list[_Form] = []
    for form in forms:
        last = joined[-1] if joined else None
        same = last and last.match.at is not None and last.order[:3] == form.order[:3]
        if last and same:
            text = ",".join(filter(None, (last.text.strip(), form.text.strip())))
            joined[-1] = _Form(last.shown, last.match, text)
        else:
            joined.append(form)
    return joined


def _random(name: str) -> str | None:
    """Spring's ``${random.…}``, which tells instances apart."""
    match name:
        case "random.uuid":
            return str(UUID(bytes=secrets.token_bytes(16), version=4))
        case "random.value":
            return secrets.token_hex(16)
        case "random.int":
            return str(secrets.randbelow(2**31))
        case "random.long":
            return str(secrets.randbelow(2**63))
        case _:
            return None
