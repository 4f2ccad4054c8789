"""Warnings about what a route file allows but probably does not intend: rules that match no call, misspelled names.

Every warning is passed to ``Issues.warn``. A warning must be right. If it is not known whether a call exists (filters
rewrite paths, discovery makes routes), there is no warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, takewhile
from typing import Final

from gateway.routing.breakers import warn_of_fallbacks, warn_of_ungated_fallbacks
from gateway.routing.calls import METHODS, CallPattern, overlap, parse_call
from gateway.routing.gates import Gate
from gateway.routing.patterns import PathPattern, Segment, compile_pattern
from gateway.routing.predicates import Method, Path, Weight
from gateway.routing.prefix_index import literal_beginning, literal_prefix
from gateway.routing.room_templates import template_of
from gateway.routing.route import Route, Upstream
from gateway.routing.spec.issues import Issue, Issues, RuleViolation
from gateway.routing.spec.room_warnings import warn_of_rooms
from gateway.routing.spec.visitor_warnings import warn_of_visitors
from gateway.routing.table import RouteTable
from gateway.routing.wide_patterns import WidePattern, stripped_pattern
from gateway.settings.spelling import looks_like, nearest

NEEDS_ALL_ROUTES: Final = frozenset(
    {"fallback-without-route", "gate-without-route", "public-without-route", "service-without-route"}
)
"""Rules of warnings that are right only if all routes are known, including those of a Config Server."""

MAX_COMPARISONS: Final = 200_000
"""Limit for the pairs of a route and a call. A file with more is not checked, because loading it must not take
seconds."""

_STRIP = re.compile(r"\[StripPrefix parts = (\d+)\]")
_PREFIX = re.compile(r"\[PrefixPath prefix = '(.*)'\]")
_SET = re.compile(r"\[SetPath template = '(.*)'\]")
_REWRITE = re.compile(r"\[RewritePath \^?(.*) = '(.*)'\]")
_VARIABLE = re.compile(r"\{[^{}*]*\}")
_ANYTHING: Final = "/**"
_OWN: Final = tuple(
    map(parse_call, ("/api/v1/queue/**", "/actuator/**", "/metrics/**", "/swagger-ui/**", "/swagger-ui.html"))
)
"""The calls that the gateway answers itself, before any route."""
_QUEUE: Final = _OWN[0]
_OPERATORS: Final = _OWN[1:3]
_ONCE_GATED: Final = tuple(map(parse_call, ("/api/v1/reservations", "/api/v1/reservation-seats/**")))
"""The calls that earlier versions gated by default."""
_BRACES = re.compile(r"\{(?:[^{}]|\{[^{}]*\})*\}")
_REGEX = re.compile(r"\A\.[*+]\Z|\\[dws]|\[[^]]*-[^]]*\]|\[[^]]+\][*+]|\(.*(?:\.[*+]|[|\\]).*\)|\A\^|\$\Z")
# ``(id)``, ``$id``, ``@id``. OData has calls that begin with a dollar.
_VARIABLE_ELSEWHERE = re.compile(r"\([A-Za-z_]\w*\)|[$@](?!metadata$|batch$|count$|ref$|value$)[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of the gateway's own sections in the file: of each call, each room's first gate, each room's limits and
    each service."""

    calls: Mapping[CallPattern, int]
    gates: Mapping[str, int]
    rooms: Mapping[str, int]
    services: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Reach:
    """The calls that a route takes, according to its predicates on path and method. ``sent`` are their paths at the
    service, if filters rewrite the paths."""

    route: Route
    paths: tuple[CallPattern, ...]
    methods: frozenset[str]
    sent: tuple[CallPattern, ...]

    def takes_path(self, call: CallPattern) -> bool:
        """Whether the route takes a path of the call, in any case, and with or without a slash at its end."""
        known = [path for path in self.sent if path.source != _ANYTHING]
        return any(overlap(each, path) for path in (*self.paths, *known) for each in _with_slash(call))

    @property
    def may_send_anything(self) -> bool:
        return any(path.source == _ANYTHING for path in self.sent)

    def takes_method(self, call: CallPattern) -> bool:
        return call.method is None or bool(self.methods & _methods(call))


def warn_of(table: RouteTable, lines: Lines, issues: Issues, *, gates_named: bool) -> None:
    """Add all warnings about a table and its file. ``gates_named``: the file has a section ``gates``."""
    reaches = [_reach(route) for route in table.routes]
    _warn_of_notations(table, lines, issues)
    _warn_of_shadows(table.routes, issues)
    _warn_of_own_paths(reaches, issues)
    _warn_of_gates(table.gates, lines, issues)
    _warn_of_gate_regexes(table.gates, lines, issues)
    warn_of_rooms(table, lines.gates, lines.rooms, issues)
    warn_of_visitors(table, lines.rooms, issues)
    if not gates_named:
        _warn_of_lost_gates(reaches, issues)
    calls = len(table.public) + sum(len(gate.calls) + len(gate.renews) for gate in table.gates)
    # Routes that discovery makes are not known yet. A table without routes gets them from elsewhere.
    if table.locator is None and reaches and calls * len(reaches) <= MAX_COMPARISONS:
        _warn_of_unmet_gates(table.gates, reaches, lines, issues)
        _warn_of_unmet_rules(table.public, reaches, lines, issues)
        _warn_of_unused_services(table, lines, issues)
        warn_of_fallbacks(table.routes, issues)
        warn_of_ungated_fallbacks(reaches, table.gates, issues)
    else:
        for rule in table.public:
            _is_own(rule, lines, issues)


def _reach(route: Route) -> _Reach:
    paths = [predicate.patterns for predicate in route.predicates if isinstance(predicate, Path)]
    methods = [frozenset(each.methods) for each in route.predicates if isinstance(each, Method)]
    patterns = paths[0] if paths else (compile_pattern(_ANYTHING),)
    sent = {source for pattern in patterns for source in _sent(pattern, route)}
    return _Reach(
        route,
        tuple(map(_call, patterns)),
        frozenset(METHODS).intersection(*methods),
        tuple(_call(compile_pattern(source)) for source in sorted(sent)),
    )


def _sent(pattern: PathPattern, route: Route) -> set[str]:
    """Patterns of the paths that such calls have at the service; ``/**`` if that is not known."""
    source = pattern.source
    for text in map(str, route.filters):
        source = _rewritten(source, text, literal_prefix(pattern))
    if source == pattern.source:
        return set()
    try:
        compile_pattern(source)
    except RuleViolation:
        return {_ANYTHING}
    return {source}


def _rewritten(source: str, text: str, beginning: str) -> str:
    """The pattern ``source`` after a filter, whose Spring text is ``text``. ``beginning`` is that of the route's own
    pattern."""
    if found := _STRIP.fullmatch(text):
        if source.startswith(("/**", "/{*")):
            return _ANYTHING
        kept = source.split("/")[1 + int(found[1]) :]
        return "/" + "/".join(kept) if kept else (_ANYTHING if source.endswith("**") else "/")
    if found := _PREFIX.fullmatch(text):
        return _VARIABLE.sub("*", found[1]).rstrip("/") + source
    if found := _SET.fullmatch(text):
        return _VARIABLE.sub("*", found[1]) if "{*" not in found[1] else _ANYTHING
    if found := _REWRITE.fullmatch(text):
        literal = found[2].partition("$")[0]
        if beginning and found[1].startswith(beginning) and literal.startswith("/"):
            return literal.rpartition("/")[0] + "/**"
        return _ANYTHING
    return source


def _call(pattern: PathPattern) -> CallPattern:
    """A call with any method. Unlike in a section of calls, its path may hold blanks."""
    wide = WidePattern(compile_pattern(pattern.source, ignore_case=True))
    return CallPattern(pattern.source, None, pattern, wide, stripped_pattern(pattern))


@lru_cache(maxsize=4096)
def _with_slash(call: CallPattern) -> tuple[CallPattern, ...]:
    """The call with and without a slash at the end of its path, because protecting patterns ignore that slash."""
    forms = [call]
    if call.pattern.tail is None:
        path = call.pattern.source
        with suppress(RuleViolation):  # the path is "/"
            forms.append(parse_call(path.rstrip("/") if path.endswith("/") else f"{path}/"))
    return tuple(forms)


def _methods(call: CallPattern) -> frozenset[str]:
    if call.method is None:
        return frozenset(METHODS)
    return frozenset({"GET", "HEAD"}) if call.method in ("GET", "HEAD") else frozenset({call.method})


def covers(one: PathPattern, other: PathPattern) -> bool:
    """Whether ``one`` matches every path that ``other`` matches. False if that is not known."""
    return _covers(_parts(one), _parts(other))


def _parts(pattern: PathPattern) -> tuple[Segment | None, ...]:
    """The segments. None stands for any number of them."""
    head, tail = (None,) * (pattern.head is not None), (None,) * (pattern.tail is not None)
    return (*head, *pattern.segments, *tail)


def _covers(one: tuple[Segment | None, ...], other: tuple[Segment | None, ...]) -> bool:
    if not one:
        return not other
    if one[0] is None:
        return _covers(one[1:], other) or (bool(other) and _covers(one, other[1:]))
    if not other or other[0] is None:
        return False
    return _segment_covers(one[0], other[0]) and _covers(one[1:], other[1:])


def _segment_covers(one: Segment, other: Segment) -> bool:
    if one.literal is not None:
        return one.literal == other.literal
    if one.text == other.text:
        return True
    if one.regex is not None:
        return bool(other.literal) and one.regex.fullmatch(other.literal or "") is not None
    return one.may_be_empty or not (other.may_be_empty or other.text == "")


def _warn_of_shadows(routes: Sequence[Route], issues: Issues) -> None:
    """Warn about routes that no request reaches, because an earlier route takes all of their requests."""
    earlier: dict[str, list[Route]] = {}
    lengths: set[int] = set()
    for route in routes:
        patterns = _patterns(route)
        first = literal_prefix(patterns[0])
        text = literal_beginning(patterns[0]).rstrip("*")
        ends = [at for at, character in enumerate(first) if character == "/"]
        # If a pattern covers another one, its beginning is a prefix of the other's beginning.
        before = [first[:end] for end in ends] + [first]
        for prefix in (*before, *(f"{text[:length]}*" for length in lengths if length <= len(text))):
            by = next((each for each in earlier.get(prefix, ()) if _takes_all(each, route, patterns)), None)
            if by is not None:
                where = f" ({issues.where(by.line)})" if by.line else ""
                issues.warn(
                    route.line,
                    "route-shadowed",
                    f"no request reaches it, because route {by.id!r}{where} is asked before it and takes all of its "
                    "calls: put it before that one, or give it a lower order",
                    route.id,
                )
                break
        for prefix in {literal_beginning(pattern) for pattern in patterns}:
            earlier.setdefault(prefix, []).append(route)
            if prefix.endswith("*"):
                lengths.add(len(prefix) - 1)


def _patterns(route: Route) -> tuple[PathPattern, ...]:
    for predicate in route.predicates:
        if isinstance(predicate, Path):
            return predicate.patterns
    return (compile_pattern(_ANYTHING),)


def _takes_all(one: Route, other: Route, patterns: Iterable[PathPattern]) -> bool:
    # Paths last, because they take longest to compare.
    for predicate in sorted(one.predicates, key=lambda each: isinstance(each, Path)):
        if isinstance(predicate, Weight):
            return False
        if isinstance(predicate, Path):
            if not all(any(covers(each, pattern) for each in predicate.patterns) for pattern in patterns):
                return False
        elif isinstance(predicate, Method):
            methods = [set(each.methods) for each in other.predicates if isinstance(each, Method)]
            if not any(each <= set(predicate.methods) for each in methods):
                return False
        elif predicate not in other.predicates:
            return False
    return True


def _warn_of_own_paths(reaches: Iterable[_Reach], issues: Issues) -> None:
    for reach in reaches:
        route = reach.route
        if route.predicates and all(_own(path) for path in reach.paths):
            own = _own(reach.paths[0])
            issues.warn(
                route.line,
                "route-to-own-path",
                f"no request reaches it: the gateway answers {own} itself, before any route",
                route.id,
            )


def _own(call: CallPattern) -> CallPattern | None:
    """The gateway's own calls that include all calls of ``call``; None if there are none."""
    return next((own for own in _OWN if covers(own.wide.of, call.wide.of)), None)


def _warn_of_gates(gates: Sequence[Gate], lines: Lines, issues: Issues) -> None:
    """Warn about calls of a gate for which an earlier gate always wins."""
    before: list[tuple[CallPattern, str]] = []
    for gate in gates:
        for call in gate.calls:
            for other, room in before:
                if room != gate.room and _decides(other, call):
                    message = (
                        f"'{call}' never needs a place in room {gate.room}: '{other}' comes before it and asks for one "
                        f"in room {room}; put the narrower gate first"
                    )
                    issues.warn(lines.calls.get(call, 1), "gate-shadowed", message)
                    break
            before.append((call, gate.room))
    for gate in gates:
        for call in gate.renews:
            for other, room in before:
                if _decides(other, call):
                    message = f"'{call}' under renews has no effect: '{other}' needs a place in room {room}"
                    issues.warn(lines.calls.get(call, 1), "gate-shadowed", message)
                    break


def _names_room(call: CallPattern, room: str) -> bool:
    """Whether a regex of the call says which values name the room."""
    template = template_of(room)
    return template is not None and not template.from_query and call.pattern.constrains(template.variable)


def _warn_of_gate_regexes(gates: Sequence[Gate], lines: Lines, issues: Issues) -> None:
    """Warn about regexes in gates that have no effect. A regex has one only if it decides between gates of two
    rooms, or which values name a room."""
    calls = [(call, gate.room) for gate in gates for call in gate.calls]
    constrained = [
        (call, room) for call, room in calls if call.wide.constrained and not _names_room(call, room)
    ]
    if len(calls) * len(constrained) > MAX_COMPARISONS:
        return
    for call, room in constrained:
        if not any(room != other_room and overlap(call, other) for other, other_room in calls):
            message = (
                f"'{call}' (gate of room {room}) needs a place whatever the variable is, as if it had no regex: a "
                "service may read a number, a date or a name in many spellings; remove the regex"
            )
            issues.warn(lines.calls.get(call, 1), "gate-regex", message)


def _decides(one: CallPattern, other: CallPattern) -> bool:
    return _methods(one) >= _methods(other) and covers(one.wide.of, other.wide.of)


def _warn_of_unmet_gates(
    gates: Iterable[Gate], reaches: Sequence[_Reach], lines: Lines, issues: Issues
) -> None:
    for gate in gates:
        for call in chain(gate.calls, gate.renews):
            line = lines.calls.get(call, 1)
            what = f"'{call}' (gate of room {gate.room})"
            own = _own(call)
            if own is not None:
                message = (
                    f"{what} protects nothing: the gateway answers {own} itself, and no gate is asked there"
                )
                issues.warn(line, "gate-without-route", message)
                continue
            there = [reach for reach in reaches if reach.takes_path(call)]
            if any(reach.takes_method(call) for reach in there):
                continue
            if any(reach.may_send_anything and reach.takes_method(call) for reach in reaches):
                # The path may be that of a call at its service. If it is similar to a route's path, it is a typo.
                near = None if there else _nearest_route(call, reaches, close=True)
                if near is None:
                    continue
            else:
                near = _nearest_route(call, reaches, close=False)
            issues.warn(line, "gate-without-route", f"{what} protects nothing: {_missing(call, there, near)}")


def _warn_of_unmet_rules(
    rules: Iterable[CallPattern], reaches: Sequence[_Reach], lines: Lines, issues: Issues
) -> None:
    for rule in rules:
        if _is_own(rule, lines, issues):
            continue
        there = [
            reach
            for reach in reaches
            if any(overlap(rule, path) and _same_case(rule, path) for path in reach.paths)
        ]
        if any(reach.takes_method(rule) for reach in there):
            continue
        near = _nearest_route(rule, reaches, close=False)
        message = f"'{rule}' (access) opens nothing: {_missing(rule, there, near)}"
        issues.warn(lines.calls.get(rule, 1), "public-without-route", message)


def _is_own(rule: CallPattern, lines: Lines, issues: Issues) -> bool:
    """Whether a public rule is about the gateway's own calls. Warns if it has no effect there."""
    if _decides(_QUEUE, rule):
        message = f"'{rule}' (access) opens nothing: calls below /api/v1/queue always need a token"
        issues.warn(lines.calls.get(rule, 1), "public-own-call", message)
        return True
    if any(_decides(own, rule) for own in _OPERATORS):
        message = (
            f"'{rule}' (access) has no effect: MANAGEMENT_READS and MANAGEMENT_TOKEN say who may call /actuator and "
            "/metrics"
        )
        issues.warn(lines.calls.get(rule, 1), "public-own-call", message)
        return True
    # These calls are open anyway, so a file that opens them is right.
    return _own(rule) is not None or rule.pattern.source.startswith("/v3/api-docs")


def _same_case(rule: CallPattern, path: CallPattern) -> bool:
    """Whether the literal beginnings have the same case, because rules that open calls are case-sensitive."""
    pairs = zip(rule.pattern.first_literals(), path.pattern.first_literals(), strict=False)
    return all(one == other for one, other in pairs)


def _missing(call: CallPattern, there: Sequence[_Reach], near: str | None) -> str:
    if there:
        route = there[0]
        return f"route {route.route.id!r}, which has this path, takes only {', '.join(sorted(route.methods)) or 'none'}"
    return f"no route takes such a call{near or ''}"


def _nearest_route(call: CallPattern, reaches: Iterable[_Reach], *, close: bool) -> str | None:
    """The text ``; the nearest is …`` with a route whose path begins almost like the call's; None if there is none.
    ``close``: singular and plural do not count as similar."""
    mine = _beginning(call.pattern)
    for reach in reaches:
        for path in reach.paths:
            theirs = _beginning(path.pattern)
            count = min(len(mine), len(theirs))
            one, other = mine[:count], theirs[:count]
            differing = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
            if len(differing) == 1 and looks_like(*differing[0]):
                shorter, longer = sorted(differing[0], key=len)
                if not (close and longer == f"{shorter}s"):
                    return f"; the nearest is {path.pattern.source} of route {reach.route.id!r}"
    return None


def _beginning(pattern: PathPattern) -> list[str]:
    literals = (segment.literal for segment in pattern.segments) if pattern.head is None else ()
    return [text for text in takewhile(lambda text: text is not None, literals) if text]


def _warn_of_notations(table: RouteTable, lines: Lines, issues: Issues) -> None:
    """Warn about paths in another notation: with a query, in Express syntax, or as a regex. They are valid patterns,
    but of paths that no client requests."""
    for call, line in lines.calls.items():
        if (slip := _notation(call.pattern)) is not None:
            issues.warn(line, "notation", f"'{call}': {slip}")
    for route in table.routes:
        for pattern in _patterns(route):
            if (slip := _notation(pattern)) is not None:
                issues.warn(route.line, "notation", f"{pattern.source!r}: {slip}", route.id)


def _notation(pattern: PathPattern) -> str | None:
    """Why a pattern is probably written in another notation, and what to write instead; None if it is not."""
    source = _BRACES.sub("x", pattern.source[:2000])
    if "#" in source:
        return "browsers send nothing of what begins with '#'; leave it out"
    if "=" in source.partition("?")[2]:
        return "a query is not compared, and '?' stands for one character of the path; leave out all from the '?' on"
    for segment in pattern.segments:
        # Cut, because these searches take more than linear time. Segments written by hand are shorter.
        plain = _BRACES.sub("x", segment.text[:200])
        if re.match(r":[A-Za-z]", plain):
            return f"'{segment.text}' matches only this text; write {{{segment.text[1:]}}} for any segment"
        if ";" in plain:
            return f"'{segment.text}' matches only an encoded ';'; calls with parameters are refused, so leave them out"
        if re.search("<[^<>]+>", plain) or _VARIABLE_ELSEWHERE.fullmatch(plain):
            return f"'{segment.text}' matches only this text; write {{name}} for any segment"
        if _REGEX.search(plain):
            return (
                f"'{segment.text}' is not read as a regex; write * for any segment, ** at the end for all that "
                "follows, or {name:regex}"
            )
    return None


def _warn_of_lost_gates(reaches: Iterable[_Reach], issues: Issues) -> None:
    """Warn about a file that was written for a version in which these calls were gated by default. A route for all
    paths is no sign of such a file."""
    for reach in reaches:
        known = [path for path in (*reach.paths, *reach.sent) if literal_prefix(path.pattern).strip("/")]
        named = any("reservation" in text for text in (reach.route.upstream.service or "", *map(str, known)))
        if named or any(overlap(call, path) for call in _ONCE_GATED for path in known):
            issues.warn(
                reach.route.line,
                "no-gates",
                "the file has no section gates, so no call needs a place. Earlier versions gated calls of "
                "reservations by themselves: name the calls under gates, or write 'gates: []' if none is meant",
                reach.route.id,
            )
            return


def _warn_of_unused_services(table: RouteTable, lines: Lines, issues: Issues) -> None:
    used = {route.upstream.service for route in table.routes if route.upstream.service}
    for name, line in lines.services.items():
        if name.lower() in used:
            continue
        near = nearest(name.lower(), sorted(used - set(table.services)))
        hint = f"; the nearest name that a route uses is {near!r}" if near else ""
        message = f"no route leads to lb://{name}, so its instances get no call{hint}"
        issues.warn(line, "service-without-route", message)


def without_instances(table: RouteTable) -> tuple[Issue, ...]:
    """Warnings about services of ``lb://`` routes without an instance in the file, each once. For gateways without
    discovery."""
    issues = Issues(table.source)
    seen: set[str] = set()
    for route in table.routes:
        service = route.upstream.service
        if not service or service in seen or table.services.get(service):
            continue
        if any(each.answers for each in route.filters):
            continue
        seen.add(service)
        given = sorted(name for name, urls in table.services.items() if urls)
        near = nearest(service, given)
        hint = f"; the nearest that has is {near!r}" if near else ""
        issues.warn(
            max(route.line, 0),
            "no-instances",
            f"{route.upstream.uri} has no instance: services gives none and discovery is off{hint}. Its calls get "
            "503 NO_INSTANCE; name instances under services, or set EUREKA_CLIENT_SERVICEURL_DEFAULTZONE",
            route.id,
        )
    return issues.warnings()


def to_itself(table: RouteTable, port: int) -> tuple[Issue, ...]:
    """Warnings about routes and instances that lead back to the gateway's own port on this machine."""
    issues = Issues(table.source)
    for route in table.routes:
        addresses = (
            table.services.get(route.upstream.service, ())
            if route.upstream.service
            else _address(route.upstream)
        )
        for address in addresses:
            host, _, number = address.rpartition("://")[2].rpartition(":")
            if number == str(port) and host.strip("[]").lower() in ("localhost", "127.0.0.1", "::1"):
                message = (
                    f"{address} is the gateway's own port, so its calls go round in a circle until they fail"
                )
                issues.warn(max(route.line, 0), "leads-to-itself", message, route.id)
    return issues.warnings()


def _address(upstream: Upstream) -> tuple[str, ...]:
    return (f"{upstream.scheme}://{upstream.host}:{upstream.port}",) if upstream.host else ()
