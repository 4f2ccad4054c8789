"""Reads the gateway's own sections of a route file: gates, access, rooms, cors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from gateway.routing.callers import MAX_LANES, WHOLE_SHARE, Bypass, ClaimRule, Lane, Network, parse_network
from gateway.routing.calls import CallPattern, overlap, parse_call
from gateway.routing.cors import CorsRule, doubtful_values, parse_cors
from gateway.routing.gates import DEFAULT_ROOM, Challenge, Gate, Prequeue, RoomLimits
from gateway.routing.patterns import compile_pattern
from gateway.routing.room_templates import RoomTemplate, entry_of, regex_of, template_of
from gateway.routing.spec.document import Fields, Items, Node, Text, filled, plain, plain_name
from gateway.routing.spec.issues import Issues, RuleViolation, unknown
from gateway.routing.spec.model import (
    ACCESS,
    BYPASS,
    CHALLENGE,
    CORS,
    ELIGIBLE,
    GATE,
    LANE,
    PREQUEUE,
    ROOM,
)
from gateway.routing.spec.shapes import Keys
from gateway.routing.spec.value_types import (
    BEACON,
    CAPACITY,
    CHALLENGE_TIMEOUT,
    COUNT,
    DURATION,
    FAIL,
    FLAG,
    GATE_ROOM,
    HTTP_ADDRESS,
    IDENTITY,
    LANE_NAME,
    LINEUP,
    LINEUPS,
    MODE,
    MOMENT,
    OPENING_ORDER,
    PLACES,
    RATE,
    RELINEUP,
    ROOM_ENTRY,
    ROOM_NAME,
    SHARE,
    TEXT,
    TIME,
    WEBSOCKET,
    ValueType,
)

T = TypeVar("T")


def texts(node: Node | None, key: str, issues: Issues) -> list[Text]:
    """The texts of a list, or a single text. Anything else is reported."""
    if node is None or (isinstance(node, Text) and node.null):
        return []
    items = node.items if isinstance(node, Items) else (node,)
    found = []
    for item in items:
        try:
            if not isinstance(item, Text):
                raise RuleViolation("shape", f"{key} must be a list of texts")
            found.append(Text(filled(item), item.line))
        except RuleViolation as error:
            issues.add_violation(item.line, error)
    return found


def fields_of(node: Node | None, allowed: Keys, issues: Issues, title: str = "") -> dict[str, Node]:
    """The entries of a mapping by plain name. Unknown keys are reported. ``title`` replaces the title of ``allowed`` in
    faults."""
    title = title or allowed.title
    if not isinstance(node, Fields):
        expect_mapping(node, title, issues)
        return {}
    found = {}
    for name, value in node.entries.items():
        if plain_name(name) not in allowed.by_plain_name:
            line = node.lines.get(name, node.line)
            issues.add(line, "key", unknown(f"key in {title}", name, allowed.names))
        found[plain_name(name)] = value
    return found


def expect_mapping(node: Node | None, title: str, issues: Issues) -> None:
    """Report ``node``, which is not a mapping, unless it is absent or null."""
    if node is not None and not (isinstance(node, Text) and node.null):
        issues.add(node.line, "shape", f"{title} must be a mapping")


def lines_of(node: Node | None) -> dict[str, int]:
    """The line of each key of a mapping."""
    return {key: node.lines.get(key, node.line) for key in node.entries} if isinstance(node, Fields) else {}


def _calls(node: Node | None, key: str, issues: Issues) -> list[tuple[int, CallPattern]]:
    found = []
    for text in texts(node, key, issues):
        try:
            call = parse_call(text.value)
            for warning in call.pattern.warnings:
                issues.warn(text.line, "regex", warning)
            found.append((text.line, call))
        except RuleViolation as error:
            issues.add_violation(text.line, error)
    return found


def _room(node: Node | None, line: int, of: ValueType[str], issues: Issues) -> str:
    """The name of a room; ``default`` if there is none, or one that is not allowed, which is reported."""
    if node is None:
        return DEFAULT_ROOM
    text = node.value if isinstance(node, Text) and not node.null else ""
    if of.read(text) is None:
        issues.add(line, "room", f"{text!r} is no name of a room; {of.wanted}")
        return DEFAULT_ROOM
    return text


def _check_variable(
    room: str, of_gate: int, calls: Iterable[tuple[int, CallPattern]], issues: Issues
) -> None:
    """Report every call that can't say which room of a template is meant, and warn of values with several spellings.
    ``of_gate``: the gate's line."""
    template = template_of(room)
    if template is None:
        return
    if template.from_query:
        _check_parameter(template, of_gate, issues)
        return
    several: list[tuple[int, CallPattern]] = []
    for line, call in calls:
        if not any(template.variable in segment.names for segment in call.pattern.segments):
            message = (
                f"the gate's room {room!r} is named by {{{template.variable}}}, which '{call}' does not capture in one "
                "segment of its path"
            )
            issues.add(line, "room", message)
        elif not call.pattern.constrains(template.variable):
            several.append((line, call))
    if several:
        line, call = several[0]
        _warn_of_spellings(line, room, f"'{call}' lets {{{template.variable}}} be anything", issues)


def _check_parameter(template: RoomTemplate, line: int, issues: Issues) -> None:
    """Report a regex that can't be used, and warn of a parameter that may be anything."""
    if not template.regex:
        what = f"the parameter {template.variable} may be anything"
        _warn_of_spellings(line, template.source, what, issues)
        return
    try:
        warning = regex_of(template.regex).warning
    except RuleViolation as error:
        issues.add_violation(line, error)
        return
    if warning:
        issues.warn(line, "regex", warning)


def _warn_of_spellings(line: int, room: str, what: str, issues: Issues) -> None:
    message = (
        f"the gate's room {room!r}: {what}. What a service takes for the same thing, as 17abc or 0x11 for 17, or ABC "
        "for abc, has a room of its own, with free slots. Add a regex that admits one spelling of each value, such as "
        "[1-9][0-9]*"
    )
    issues.warn(line, "room-spelling", message)


def read_gates(
    node: Node | None, issues: Issues
) -> tuple[tuple[Gate, ...], dict[CallPattern, int], dict[str, int]]:
    """The gates, the line of each of their calls, and the line of the first gate of each entry under ``rooms:``. Only
    calls that the file names are gated."""
    if node is None:
        return (), {}, {}
    gates: list[Gate] = []
    lines: dict[CallPattern, int] = {}
    rooms: dict[str, int] = {}
    items = node.items if isinstance(node, Items) else ()
    if not isinstance(node, Items) and not (isinstance(node, Text) and node.null):
        issues.add(node.line, "shape", "gates must be a list")
    for item in items:
        fields = fields_of(item, GATE, issues)
        room = _room(fields.get("room"), item.line, GATE_ROOM, issues)
        calls = _calls(fields.get("calls"), "calls", issues)
        renews = _calls(fields.get("renews"), "renews", issues)
        if not calls and not renews:
            message = f"the gate of room {room!r} has neither calls nor renews, so it protects nothing: name its calls"
            issues.warn(item.line, "gate-empty", message)
        _check_variable(room, item.line, (*calls, *renews), issues)
        lines.update({call: line for line, call in (*renews, *calls)})
        rooms.setdefault(entry_of(room), item.line)
        outlives = value_of(fields.get("websocket"), "websocket", WEBSOCKET, "gate", issues) == "outlive"
        gates.append(
            Gate(room, tuple(call for _, call in calls), tuple(call for _, call in renews), outlives)
        )
    return tuple(gates), lines, rooms


def read_access(node: Node | None, issues: Issues) -> tuple[tuple[CallPattern, ...], dict[CallPattern, int]]:
    """The public calls, and the line of each. Only calls that the file names are public.

    ``defaults: true`` once added the calls of one system. It has no effect any more and causes a warning.
    """
    fields = fields_of(node, ACCESS, issues)
    calls = _calls(fields.get("public"), "public", issues)
    defaults = fields.get("defaults")
    if defaults is not None and value_of(defaults, "defaults", FLAG, "shape", issues):
        message = "defaults: true has no effect: no call is open by default; name the open calls under public"
        issues.warn(defaults.line, "access", message)
    return tuple(call for _, call in calls), {call: line for line, call in calls}


def check_overlaps(
    gates: Iterable[Gate],
    gate_lines: dict[CallPattern, int],
    public: Iterable[CallPattern],
    public_lines: dict[CallPattern, int],
    rooms: Mapping[str, RoomLimits],
    issues: Issues,
) -> None:
    """Report every call that is both public and behind a gate that asks for a token."""
    for gate in gates:
        if rooms[entry_of(gate.room)].identity in ("visitor", "either"):
            continue
        for gated in gate.calls:
            for opened in public:
                if not overlap(gated, opened):
                    continue
                line = public_lines.get(opened) or gate_lines.get(gated) or 1
                message = f"'{gated}' is gated (room {gate.room}) and '{opened}' is public"
                issues.add(line, "gated-and-public", message)


def read_rooms(node: Node | None, gates: Iterable[Gate], issues: Issues) -> dict[str, RoomLimits]:
    """Limits by room, for ``default``, every room that a gate names, and the rooms in the file. An entry with a star is
    for all rooms of a template."""
    rooms = {DEFAULT_ROOM: RoomLimits(), **{entry_of(gate.room): RoomLimits() for gate in gates}}
    if not isinstance(node, Fields):
        expect_mapping(node, "rooms", issues)
        return rooms
    for name, value in node.entries.items():
        line = node.lines.get(name, node.line)
        if ROOM_ENTRY.read(name) is None:
            issues.add(line, "room", f"{name!r} is no name of a room; {ROOM_ENTRY.wanted}")
            continue
        fields = fields_of(value, ROOM, issues, f"rooms.{name}")
        rooms[name] = RoomLimits(
            value_of(fields.get("capacity"), "capacity", CAPACITY, "room", issues),
            value_of(fields.get("duration"), "duration", DURATION, "room", issues),
            value_of(fields.get("absent"), "absent", TIME, "room", issues),
            value_of(fields.get("hold"), "hold", TIME, "room", issues),
            value_of(fields.get(plain_name("max_session")), "max_session", TIME, "room", issues),
            value_of(fields.get("claim"), "claim", TIME, "room", issues),
            value_of(fields.get("rate"), "rate", RATE, "room", issues),
            value_of(fields.get("history"), "history", TIME, "room", issues),
            value_of(fields.get("relineup"), "relineup", RELINEUP, "room", issues),
            value_of(fields.get("lineup"), "lineup", LINEUP, "room", issues),
            value_of(fields.get(plain_name("max_waiting")), "max_waiting", COUNT, "room", issues),
            value_of(
                fields.get(plain_name("lineups_per_minute")), "lineups_per_minute", LINEUPS, "room", issues
            ),
            value_of(fields.get("mode"), "mode", MODE, "room", issues),
            opens_at=value_of(fields.get(plain_name("opens_at")), "opens_at", MOMENT, "room", issues),
            closes_at=value_of(fields.get(plain_name("closes_at")), "closes_at", MOMENT, "room", issues),
            prequeue=_prequeue(fields.get("prequeue"), f"rooms.{name}.prequeue", issues),
            identity=value_of(fields.get("identity"), "identity", IDENTITY, "room", issues),
            bypass=_bypasses(fields.get("bypass"), f"rooms.{name}.bypass", issues),
            lanes=_lanes(fields.get("lanes"), f"rooms.{name}.lanes", issues),
            eligible=_eligible(given(fields, "eligible"), f"rooms.{name}.eligible", issues),
            places_per_address=value_of(
                fields.get(plain_name("places_per_address")), "places_per_address", PLACES, "room", issues
            ),
            challenge=_challenge(given(fields, "challenge"), f"rooms.{name}.challenge", issues),
        )
        opens_at, closes_at = rooms[name].opens_at, rooms[name].closes_at
        if opens_at and closes_at and closes_at <= opens_at:
            issues.add(
                line, "room", f"room {name!r} closes before it opens: closes_at must be after opens_at"
            )
    return rooms


def _prequeue(node: Node | None, title: str, issues: Issues) -> Prequeue | None:
    """The pre-queue of a room; None if there is none. Faults are reported."""
    if node is None:
        return None
    fields = fields_of(node, PREQUEUE, issues, title)
    seconds = value_of(fields.get("from"), "from", DURATION, "room", issues)
    order = value_of(fields.get("order"), "order", OPENING_ORDER, "room", issues)
    beacon = value_of(fields.get("beacon"), "beacon", BEACON, "room", issues)
    if "from" not in fields:
        issues.add(
            node.line, "room", f"{title} needs from: how long before opens_at users may register, as 30m"
        )
    if beacon is not None and order != "draw":
        issues.add(node.line, "room", f"{title}: a beacon needs order: draw")
    return Prequeue(seconds or 0.0, order or "arrival", beacon or "")


def _bypasses(node: Node | None, title: str, issues: Issues) -> tuple[Bypass, ...]:
    if node is None or (isinstance(node, Text) and node.null):
        return ()
    if not isinstance(node, Items):
        issues.add(node.line, "shape", f"{title} must be a list")
        return ()
    found: dict[str, Bypass] = {}
    for item in node.items:
        fields = fields_of(item, BYPASS, issues, f"an item of {title}")
        name = value_of(given(fields, "name"), "name", ROOM_NAME, "bypass", issues)
        if given(fields, "name") is None:
            issues.add(item.line, "bypass", f"an item of {title} has no name")
        if name is None:
            continue
        if name in found:
            issues.add(item.line, "bypass", f"{title} has two rules {name!r}: give each a name of its own")
        if ("networks" in fields) == bool({"claim", "values"} & fields.keys()):
            issues.add(item.line, "bypass", f"{title}: {name} must have either claim and values, or networks")
        elif "networks" in fields:
            found[name] = Bypass(name, networks=_networks(fields["networks"], title, issues))
        else:
            found[name] = Bypass(name, by_claim=_claim_rule(fields, item.line, title, issues))
    return tuple(found.values())


def _lanes(node: Node | None, title: str, issues: Issues) -> tuple[Lane, ...]:
    if node is None or (isinstance(node, Text) and node.null):
        return ()
    if not isinstance(node, Items):
        issues.add(node.line, "shape", f"{title} must be a list")
        return ()
    found: dict[str, Lane] = {}
    for item in node.items:
        fields = fields_of(item, LANE, issues, f"an item of {title}")
        name = value_of(given(fields, "name"), "name", LANE_NAME, "lane", issues)
        share = value_of(given(fields, "share"), "share", SHARE, "lane", issues)
        for key in ("name", "share"):
            if given(fields, key) is None:
                issues.add(item.line, "lane", f"an item of {title} has no {key}")
        rule = _claim_rule(fields, item.line, title, issues)
        if name in found:
            issues.add(item.line, "lane", f"{title} has two lanes {name!r}: give each a name of its own")
        if name is not None and share is not None and rule is not None:
            found[name] = Lane(name, share, rule)
    if len(node.items) > MAX_LANES:
        issues.add(node.line, "lane", f"{title} has {len(node.items)} lanes; at most {MAX_LANES} are allowed")
    total = sum(lane.share for lane in found.values())
    if total > WHOLE_SHARE:
        message = f"the shares of {title} add up to {total / WHOLE_SHARE:g}; they may add up to 1 at most"
        issues.add(node.line, "lane", message)
    elif total == WHOLE_SHARE:
        message = (
            f"the shares of {title} add up to 1, so lane default gives users only while no other lane has any"
        )
        issues.warn(node.line, "lane", message)
    return tuple(found.values())


def _eligible(node: Node | None, title: str, issues: Issues) -> ClaimRule | None:
    if node is None:
        return None
    fields = fields_of(node, ELIGIBLE, issues, title)
    return _claim_rule(fields, node.line, title, issues)


def _challenge(node: Node | None, title: str, issues: Issues) -> Challenge | None:
    if node is None:
        return None
    fields = fields_of(node, CHALLENGE, issues, title)
    given = fields.get("url")
    url = value_of(given, "url", HTTP_ADDRESS, "room", issues)
    if given is None:
        issues.add(node.line, "room", f"{title} needs a url: the address of the service that is asked")
    timeout = value_of(fields.get("timeout"), "timeout", CHALLENGE_TIMEOUT, "room", issues)
    fail_open = value_of(fields.get("fail"), "fail", FAIL, "room", issues)
    if url is None:
        return None
    return Challenge(url, 2.0 if timeout is None else timeout, True if fail_open is None else fail_open)


def _claim_rule(fields: dict[str, Node], line: int, title: str, issues: Issues) -> ClaimRule | None:
    """The rule of the keys ``claim`` and ``values``. Both must be there."""
    claim = value_of(given(fields, "claim"), "claim", TEXT, "shape", issues)
    values = tuple(text.value for text in texts(fields.get("values"), "values", issues))
    if not claim or not values:
        issues.add(
            line, "claim", f"{title} needs both claim and values: the name of a claim, and what it may be"
        )
        return None
    return ClaimRule(claim, values)


def given(fields: dict[str, Node], key: str) -> Node | None:
    """The value of a key; None also if it is null."""
    node = fields.get(key)
    return None if isinstance(node, Text) and node.null else node


def _networks(node: Node, title: str, issues: Issues) -> tuple[Network, ...]:
    found = []
    given = texts(node, "networks", issues)
    if not given:
        issues.add(node.line, "network", f"{title}: networks is empty, so no caller passes by it")
    for text in given:
        network = parse_network(text.value)
        if network is None:
            message = f"{title}: {text.value!r} is no address or network such as 10.9.0.0/16"
            issues.add(text.line, "network", message)
        else:
            found.append(network)
    return tuple(found)


def value_of(node: Node | None, key: str, of: ValueType[T], rule: str, issues: Issues) -> T | None:
    """A single value; None if there is none. A value that is not allowed is reported, and None is returned."""
    if node is None:
        return None
    value = of.read(node.value) if isinstance(node, Text) else None
    if value is None:
        issues.add(node.line, rule, f"{key} must be {of.wanted}")
    return value


def read_cors(node: Node | None, issues: Issues) -> tuple[dict[str, CorsRule], bool]:
    """CORS rules by path pattern, and whether they also apply to requests that no route takes. Spring writes the
    patterns as ``'[/**]'``; the brackets may be left out."""
    fields = fields_of(node, CORS, issues)
    key = "add-to-simple-url-handler-mapping"
    unrouted = bool(value_of(fields.get(plain_name(key)), key, FLAG, "cors", issues))
    configurations = fields.get("corsconfigurations")
    rules: dict[str, CorsRule] = {}
    if not isinstance(configurations, Fields):
        expect_mapping(configurations, "cors-configurations", issues)
        return rules, unrouted
    for key, value in configurations.entries.items():
        line = configurations.lines.get(key, configurations.line)
        try:
            pattern = compile_pattern(key[1:-1] if key.startswith("[") and key.endswith("]") else key)
            for warning in pattern.warnings:
                issues.warn(line, "regex", warning)
            values = plain(value)
            if not isinstance(values, dict):
                raise RuleViolation("cors", f"the CORS configuration of {pattern.source} must be a mapping")
            rule = rules[pattern.source] = parse_cors(values)
            for text in doubtful_values(rule):
                issues.warn(line, "cors", f"{pattern.source}: {text}")
        except RuleViolation as error:
            issues.add_violation(line, error)
    return rules, unrouted
