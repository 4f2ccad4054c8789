"""Reads the gateway's own sections of a route file: services, gates, access, rooms, cors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from gateway.routing.calls import CallPattern, overlap, parse_call
from gateway.routing.cors import CorsRule, hardly_meant, parse_cors
from gateway.routing.gates import DEFAULT_ROOM, Gate, RoomLimits
from gateway.routing.patterns import compile_pattern
from gateway.routing.route import parse_instance
from gateway.routing.spec.document import Fields, Items, Node, Text, filled, plain
from gateway.routing.spec.faults import Faults, RuleBroken, unknown

T = TypeVar("T")

_ROOM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)?")
_SHORTEST: Final = 0.001
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


def texts(node: Node | None, key: str, faults: Faults) -> list[Text]:
    """The texts of a list, or of a single text; anything else is reported."""
    if node is None or (isinstance(node, Text) and node.null):
        return []
    items = node.items if isinstance(node, Items) else (node,)
    found = []
    for item in items:
        try:
            if not isinstance(item, Text):
                raise RuleBroken("shape", f"{key} must be a list of texts")
            found.append(Text(filled(item), item.line))
        except RuleBroken as error:
            faults.broken(item.line, error)
    return found


def fields_of(node: Node | None, key: str, allowed: Iterable[str], faults: Faults) -> dict[str, Node]:
    """The entries of a mapping by lower-case key without hyphens; unknown keys are reported."""
    if node is None or (isinstance(node, Text) and node.null):
        return {}
    if not isinstance(node, Fields):
        faults.add(node.line, "shape", f"{key} must be a mapping")
        return {}
    known = {_plain(name): name for name in allowed}
    found = {}
    for name, value in node.entries.items():
        if _plain(name) not in known:
            line = node.lines.get(name, node.line)
            faults.add(line, "key", unknown(f"key in {key}", name, known.values()))
        found[_plain(name)] = value
    return found


def lines_of(node: Node | None) -> dict[str, int]:
    """The line of each key of a mapping."""
    return {key: node.lines.get(key, node.line) for key in node.entries} if isinstance(node, Fields) else {}


def _plain(key: str) -> str:
    return key.replace("-", "").replace("_", "").lower()


def read_services(node: Node | None, faults: Faults) -> dict[str, tuple[str, ...]]:
    """Static instances by lower-case name; a text may hold several, separated by commas, or none."""
    if not isinstance(node, Fields):
        fields_of(node, "services", (), faults)
        return {}
    services: dict[str, tuple[str, ...]] = {}
    for name, value in node.entries.items():
        urls = []
        for text in texts(value, f"services.{name}", faults):
            for part in filter(None, (part.strip() for part in text.value.split(","))):
                try:
                    urls.append(parse_instance(part))
                except RuleBroken as error:
                    faults.broken(text.line, error)
        services[name.lower()] = tuple(dict.fromkeys(urls))
    return services


def _calls(node: Node | None, key: str, faults: Faults) -> list[tuple[int, CallPattern]]:
    found = []
    for text in texts(node, key, faults):
        try:
            call = parse_call(text.value)
            for warning in call.pattern.warnings:
                faults.warn(text.line, "regex", warning)
            found.append((text.line, call))
        except RuleBroken as error:
            faults.broken(text.line, error)
    return found


def _room(node: Node | None, line: int, faults: Faults) -> str:
    if node is None:
        return DEFAULT_ROOM
    text = node.value if isinstance(node, Text) else ""
    if _ROOM.fullmatch(text) is None:
        faults.add(line, "room", f"{text!r} is no name of a room; letters, digits, - and _, at most 64")
    return text


def read_gates(
    node: Node | None, faults: Faults
) -> tuple[tuple[Gate, ...], dict[CallPattern, int], dict[str, int]]:
    """The gates, the line of each of their calls, and that of each room's first gate. Nothing is gated that the file
    does not name."""
    if node is None:
        return (), {}, {}
    gates: list[Gate] = []
    lines: dict[CallPattern, int] = {}
    rooms: dict[str, int] = {}
    items = node.items if isinstance(node, Items) else ()
    if not isinstance(node, Items) and not (isinstance(node, Text) and node.null):
        faults.add(node.line, "shape", "gates must be a list")
    for item in items:
        fields = fields_of(item, "a gate", ("room", "calls", "renews"), faults)
        room = _room(fields.get("room"), item.line, faults)
        calls = _calls(fields.get("calls"), "calls", faults)
        renews = _calls(fields.get("renews"), "renews", faults)
        if not calls and not renews:
            message = f"the gate of room {room!r} has neither calls nor renews, so it protects nothing: name its calls"
            faults.warn(item.line, "gate-empty", message)
        lines.update({call: line for line, call in (*renews, *calls)})
        rooms.setdefault(room, item.line)
        gates.append(Gate(room, tuple(call for _, call in calls), tuple(call for _, call in renews)))
    return tuple(gates), lines, rooms


def read_access(node: Node | None, faults: Faults) -> tuple[tuple[CallPattern, ...], dict[CallPattern, int]]:
    """The public calls, each with its line. Nothing is public that the file does not name.

    ``defaults: true`` once added the calls of one system; it has no effect now, which is a warning.
    """
    fields = fields_of(node, "access", ("public", "defaults"), faults)
    calls = _calls(fields.get("public"), "public", faults)
    defaults = fields.get("defaults")
    text = defaults.value.lower() if isinstance(defaults, Text) else "true" if defaults is None else ""
    if text not in ("true", "false"):
        faults.add(defaults.line if defaults else 1, "shape", "defaults must be true or false")
    elif defaults is not None and text == "true":
        message = "defaults: true has no effect: no call is open by default; name the open calls under public"
        faults.warn(defaults.line, "access", message)
    return tuple(call for _, call in calls), {call: line for line, call in calls}


def check_overlaps(
    gates: Iterable[Gate],
    gate_lines: dict[CallPattern, int],
    public: Iterable[CallPattern],
    public_lines: dict[CallPattern, int],
    faults: Faults,
) -> None:
    """Report every call that is both gated and public."""
    for gate in gates:
        for gated in gate.calls:
            for opened in public:
                if not overlap(gated, opened):
                    continue
                line = public_lines.get(opened) or gate_lines.get(gated) or 1
                message = f"'{gated}' is gated (room {gate.room}) and '{opened}' is public"
                faults.add(line, "gated-and-public", message)


def read_rooms(node: Node | None, gates: Iterable[Gate], faults: Faults) -> dict[str, RoomLimits]:
    """Limits by room: ``default``, every room a gate names, and those of the file."""
    rooms = {DEFAULT_ROOM: RoomLimits(), **{gate.room: RoomLimits() for gate in gates}}
    if not isinstance(node, Fields):
        fields_of(node, "rooms", (), faults)
        return rooms
    for name, value in node.entries.items():
        line = node.lines.get(name, node.line)
        _room(Text(name, line), line, faults)
        fields = fields_of(value, f"rooms.{name}", ("capacity", "duration"), faults)
        rooms[name] = RoomLimits(
            _number(fields.get("capacity"), "capacity", _capacity, faults),
            _number(fields.get("duration"), "duration", _duration, faults),
        )
    return rooms


def _number(node: Node | None, key: str, parse: Callable[[str], T | None], faults: Faults) -> T | None:
    if node is None:
        return None
    value = parse(node.value) if isinstance(node, Text) else None
    if value is None:
        wanted = "a whole number from 0" if key == "capacity" else "seconds from 0.001, or 90s, 4m, 1h"
        faults.add(node.line, "room", f"{key} must be {wanted}")
    return value


def _capacity(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,9}", text) else None


def _duration(text: str) -> float | None:
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    # Redis counts milliseconds; less than one would become 0 there.
    return seconds if seconds >= _SHORTEST else None


def read_cors(node: Node | None, faults: Faults) -> tuple[dict[str, CorsRule], bool]:
    """Rules by path pattern, and whether they are also for what no route takes. Spring quotes the patterns as
    ``'[/**]'``; without brackets is fine too."""
    fields = fields_of(node, "cors", ("cors-configurations", "add-to-simple-url-handler-mapping"), faults)
    unrouted = fields.get("addtosimpleurlhandlermapping")
    text = unrouted.value.lower() if isinstance(unrouted, Text) else "false" if unrouted is None else ""
    if text not in ("true", "false"):
        line = unrouted.line if unrouted else 1
        faults.add(line, "cors", "add-to-simple-url-handler-mapping must be true or false")
    configurations = fields.get("corsconfigurations")
    rules: dict[str, CorsRule] = {}
    if not isinstance(configurations, Fields):
        fields_of(configurations, "cors-configurations", (), faults)
        return rules, text == "true"
    for key, value in configurations.entries.items():
        line = configurations.lines.get(key, configurations.line)
        try:
            pattern = compile_pattern(key[1:-1] if key.startswith("[") and key.endswith("]") else key)
            for warning in pattern.warnings:
                faults.warn(line, "regex", warning)
            values = plain(value)
            if not isinstance(values, dict):
                raise RuleBroken("cors", f"the CORS configuration of {pattern.source} must be a mapping")
            rule = rules[pattern.source] = parse_cors(values)
            for text in hardly_meant(rule):
                faults.warn(line, "cors", f"{pattern.source}: {text}")
        except RuleBroken as error:
            faults.broken(line, error)
    return rules, text == "true"
