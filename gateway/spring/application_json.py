"""``SPRING_APPLICATION_JSON``: settings in one variable, as Spring flattens them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, NoReturn

VARIABLES: Final = ("spring.application.json", "SPRING_APPLICATION_JSON")
"""Where it may be, the first that is not empty winning, as in Spring."""
LONGEST: Final = 256 * 1024
MOST: Final = 2000
"""Properties; more are no settings."""
DEEPEST: Final = 40
LONGEST_NAME: Final = 200


class BadJson(ValueError):
    """It can't be read. The text says why, and holds nothing of its content."""


def variable_of(environ: Mapping[str, str]) -> str | None:
    """The name of the variable that holds it, if one does."""
    return next((name for name in VARIABLES if environ.get(name, "").strip()), None)


def properties(text: str) -> dict[str, str]:
    """The properties by dotted name: ``{"a": {"b": [1, true]}}`` is ``a.b[0]`` and ``a.b[1]``.

    Null counts as absent, and so does an empty object or list. Raises BadJson.
    """
    if len(text) > LONGEST:
        raise BadJson(f"at most {LONGEST // 1024} KiB")
    try:
        # Numbers stay as they are written.
        content = json.loads(text, parse_float=str, parse_int=str, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise BadJson(f"valid JSON; line {error.lineno}, column {error.colno} is not: {error.msg}") from None
    except (ValueError, RecursionError):
        raise BadJson("valid JSON") from None
    if not isinstance(content, dict):
        raise BadJson("a JSON object")
    found = dict(islice(_flat("", content, 0), MOST + 1))
    if len(found) > MOST:
        raise BadJson(f"at most {MOST} properties")
    return found


def _refuse(_: str) -> NoReturn:
    raise ValueError("no number of JSON")


def _flat(name: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    if depth > DEEPEST:
        raise BadJson(f"at most {DEEPEST} levels deep")
    if isinstance(value, dict):
        for key, below in value.items():
            if not key.isprintable() or len(key) > LONGEST_NAME:
                raise BadJson(f"printable names of at most {LONGEST_NAME} characters")
            yield from _flat(f"{name}.{key}" if name else key, below, depth + 1)
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _flat(f"{name}[{index}]", below, depth + 1)
    elif value is not None:
        yield name, str(value).lower() if isinstance(value, bool) else str(value)
