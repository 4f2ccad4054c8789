"""Rooms, users and changes of operators as ``gateway room`` prints them for people."""

from __future__ import annotations

from typing import Any, Final

from gateway.cli.history import history_line
from gateway.cli.texts import escaped, moment

_NAME_WIDTH: Final = 22
_MOMENTS: Final = ("since", "lastSeen", "opensAt", "closesAt")


def for_reading(user: dict[str, Any]) -> dict[str, Any]:
    """What is known of a user, with times as people read them."""
    known = {name: value for name, value in user.items() if value is not None}
    known = with_moments(known)
    known["streams"] = (
        ", ".join(f"{each['instance']} ({each.get('count', 1)})" for each in user["streams"]) or "none"
    )
    known["endings"] = "; ".join(map(history_line, user.get("endings", ()))) or "none"
    return known


def with_moments(content: dict[str, Any]) -> dict[str, Any]:
    """The object with moments as people read them."""
    return content | {name: moment(content[name]) for name in _MOMENTS if name in content}


def change_line(entry: dict[str, Any]) -> str:
    """One change of an operator in one line."""
    parts = [moment(entry["at"]), entry["by"], entry["act"], entry["setting"], entry.get("user")]
    if entry["from"] is not None or entry["to"] is not None:
        parts.append(f"{entry['from'] or '-'} -> {entry['to'] or '-'}")
    if entry["reason"]:
        parts.append(f"({entry['reason']})")
    # A line break in a text would look like another entry.
    return "  ".join(escaped(str(part)).replace("\n", "\\n") for part in parts if part)


def described(room: dict[str, Any]) -> str:
    """One line per member of the object. All values begin in one column, however long the names are."""
    width = max([_NAME_WIDTH, *map(len, room)])
    return "\n".join(
        escaped(f"{name:{width}} {_value(value)}").replace("\n", "\\n") for name, value in room.items()
    )


def _listed(one: Any) -> str:
    """A lane, an instance, or a text."""
    if not isinstance(one, dict):
        return str(one)
    if "share" in one:
        return f"{one.get('name')} {one.get('waiting')} (share {one['share']:g})"
    return f"{one.get('instance')} ({one.get('streams')} streams, version {one.get('version')})"


def _member(one: Any) -> str:
    """A setting with where it comes from, or a text."""
    return f"{one.get('value')} ({one.get('from')})" if isinstance(one, dict) else str(one)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(_listed(each) for each in value) or "none"
    if isinstance(value, dict) and "url" in value:
        return ", ".join(
            [value["url"], *(f"{name} {value[name]}" for name in ("instance", "version") if name in value)]
        )
    if isinstance(value, dict) and "since" not in value:
        return ", ".join(f"{name} {_member(one)}" for name, one in value.items())
    if isinstance(value, dict):
        return (
            f"following an older system since {value.get('since')}, because {value.get('because')} "
            f"(last sign {value.get('lastSign')})"
        )
    return str(value)
