"""``gateway room …``: operators' calls to the management API of a running gateway."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from functools import partial
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request

from gateway.cli.client import OPENER, own_url, within
from gateway.cli.draw import add_verify_to
from gateway.cli.history import history_line
from gateway.cli.parsing import Commands, utf8
from gateway.cli.texts import escaped, moment
from gateway.draw.published import MAX_BYTES
from gateway.errors import SettingsError
from gateway.settings.model import Settings
from gateway.settings.types import HTTP_URL

TIMEOUT_SECONDS = 10.0
_ANSWER_BYTES = MAX_BYTES
_NAME_WIDTH = 22
_WRONG_SETTINGS = 2
_NOT_FOUND = frozenset({"ROOM_NOT_FOUND", "NOT_IN_QUEUE", "NO_DRAW"})
_MOMENTS = ("since", "lastSeen", "opensAt", "closesAt")
_SET_OPTIONS = (
    ("--absent", "TIME", "how long a waiting user may be out of sight, as 60s; 0: for ever"),
    ("--hold", "TIME", "how long a parked user keeps the ticket, as 30m"),
    ("--claim", "TIME", "how soon an admitted user must make a gated call, as 90s; 0: off"),
    ("--max-session", "TIME", "how long after admission a session ends, as 30m; 0: never"),
    ("--rate", "RATE", "admissions at most, as 5/s, 120/m or 900/h; off: no limit"),
    (
        "--history",
        "TIME",
        "how long the room remembers what happened to a user after the end, as 1h; 0: not at all",
    ),
    (
        "--relineup",
        "HOW",
        "what lining up again does to a waiting user: back, to the end of the line; keep, the place stays",
    ),
    (
        "--max-waiting",
        "N",
        "with so many users in line, parked and registered no other user joins the line; 0: no bound",
    ),
    ("--lineups-per-minute", "N", "how often a user may line up in any 60 s; 0: no bound"),
    ("--mode", "MODE", "on; off: everyone is allowed in; observe: gates let everyone pass, and count"),
    (
        "--opens-at",
        "MOMENT",
        "before it the room takes no lineups, as 2026-12-01T20:00:00+09:00; off: no such moment",
    ),
    ("--closes-at", "MOMENT", "from it on the room takes no lineups; off: never"),
)
"""The settings that ``room set`` passes on as texts: option, kind of value, help."""
_RULES = tuple(option[2:].replace("-", "_") for option, _, _ in _SET_OPTIONS)


class RoomCallFailed(Exception):
    """The gateway did not carry out the call; the text says why."""


def add_to(commands: Commands, files: object = None) -> None:
    """Add ``room`` and its subcommands. ``files``: see ``complete_files``."""
    room = commands.add_parser(
        "room",
        help="look at the rooms of a running gateway, and change them",
        description="Talks to a running gateway. What changes something needs an operator's token, which is taken from "
        "OPERATOR_TOKEN or else from MANAGEMENT_TOKEN in the environment.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--url", metavar="URL", help="the gateway (http://127.0.0.1 at its management port)")
    common.add_argument("--json", action="store_true", help="print the answer's data as JSON")
    kinds = room.add_subparsers(title="commands", metavar="COMMAND", required=True)

    show = kinds.add_parser("show", parents=[common], help="how the rooms stand")
    show.add_argument("--room", type=utf8, metavar="ROOM", help="only this one")
    show.add_argument(
        "--watch",
        type=_interval,
        nargs="?",
        const=1.0,
        metavar="SECONDS",
        help="show them again and again, every second or as given, until Ctrl-C; with --json a line each time",
    )
    show.set_defaults(run=_run_show, call=_show)

    change = _add_set(kinds, common)
    pause = kinds.add_parser("pause", parents=[common], help="admit nobody until resumed")
    pause.set_defaults(run=_run, call=lambda options: _change(options, {"paused": True}))
    resume = kinds.add_parser("resume", parents=[common], help="admit again")
    resume.set_defaults(run=_run, call=lambda options: _change(options, {"paused": False}))

    remove, find, history = _add_users(kinds, common)
    invite = _add_invite(kinds, common)

    audit = kinds.add_parser("audit", parents=[common], help="what operators have changed, the newest first")
    audit.add_argument(
        "--limit", type=int, default=100, metavar="N", help="how many changes (100, at most 1000)"
    )
    audit.set_defaults(run=_run, call=_audit)

    beacon, draw = _add_draw(kinds, common)
    add_verify_to(kinds, files)

    doors = _add_doors(kinds, common)
    for one in (change, pause, resume, remove, *doors, invite, beacon):
        one.add_argument("--reason", type=utf8, metavar="TEXT", help="why, for the audit")

    for one in (change, pause, resume, remove, *doors, find, history, invite, audit, beacon, draw):
        one.add_argument(
            "--room", type=utf8, default="default", metavar="ROOM", help="another room than default"
        )


def _add_set(kinds: Commands, common: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds ``room set``, and returns its parser."""
    change = kinds.add_parser("set", parents=[common], help="change limits, for all instances at once")
    change.add_argument("--capacity", type=int, metavar="N", help="users allowed in at a time")
    change.add_argument("--duration", type=float, metavar="SECONDS", help="length of a session")
    for option, kind, explanation in _SET_OPTIONS:
        change.add_argument(option, type=utf8, metavar=kind, help=explanation)
    change.add_argument("--lift", action="store_true", help="go back to the limits of the settings")
    change.set_defaults(run=_run, call=_set)
    return change


def _add_users(kinds: Commands, common: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Adds ``room remove``, ``find`` and ``history``, and returns their parsers."""
    remove = kinds.add_parser("remove", parents=[common], help="take slot or place away from a user")
    remove.add_argument("user", type=utf8, metavar="USER", help="the user's id, as in the token's sub")
    remove.set_defaults(run=_run, call=_remove)

    find = kinds.add_parser(
        "find", parents=[common], help="where a user stands, without counting as a sighting"
    )
    find.add_argument("user", type=utf8, metavar="USER", help="the user's id, as in the token's sub")
    find.set_defaults(run=_run, call=_find)

    history = kinds.add_parser(
        "history", parents=[common], help="what happened to a user, for example why the place was lost"
    )
    history.add_argument("user", type=utf8, metavar="USER", help="the user's id, as in the token's sub")
    history.set_defaults(run=_run, call=_history)
    return [remove, find, history]


def _add_draw(kinds: Commands, common: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Adds ``room beacon`` and ``room draw``, and returns their parsers."""
    beacon = kinds.add_parser(
        "beacon",
        parents=[common],
        help="enter the public random value that a draw waits for, after the close",
    )
    beacon.add_argument("value", type=utf8, metavar="VALUE", help="exactly as it was published")
    beacon.set_defaults(run=_run, call=_beacon)

    draw = kinds.add_parser(
        "draw",
        parents=[common],
        help="print what is published of a draw, as JSON; after the opening the file that verify reads",
    )
    draw.set_defaults(run=_run, call=_draw)
    return [beacon, draw]


def _add_doors(kinds: Commands, common: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Adds the acts on a room's doors, and returns their parsers."""
    close = kinds.add_parser(
        "close", parents=[common], help="take no more users into the line; those in it are still admitted"
    )
    close.add_argument(
        "--until",
        type=utf8,
        metavar="TIME",
        help="reopen by itself then: a moment with a time zone, as 2026-12-01T20:00:00+09:00",
    )
    reopen = kinds.add_parser("reopen", parents=[common], help="undo close and sold-out; lifts no pause")
    sold_out = kinds.add_parser(
        "sold-out", parents=[common], help="end the line for good: all users in it lose their places"
    )
    empty = kinds.add_parser("empty", parents=[common], help="remove all users from the line")
    acts = {"close": close, "reopen": reopen, "sold-out": sold_out, "empty": empty}
    for name, parser in acts.items():
        parser.set_defaults(run=_run, call=partial(_act, name), until=None)
    for name in ("sold-out", "empty"):
        acts[name].add_argument("--yes", action="store_true", help="do not ask whether it is meant")
        acts[name].set_defaults(run=partial(_run_confirmed, name))
    return list(acts.values())


def _add_invite(kinds: Commands, common: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds ``room invite``, and returns its parser."""
    invite = kinds.add_parser(
        "invite", parents=[common], help="make an invitation for users who are not eligible"
    )
    whom = invite.add_mutually_exclusive_group(required=True)
    whom.add_argument(
        "--user", type=utf8, metavar="USER", help="for this user alone, by the id in the token's sub"
    )
    whom.add_argument("--uses", type=int, metavar="N", help="for any N users")
    invite.add_argument("--expires", type=utf8, metavar="TIME", help="how long it is good, as 1h (24h)")
    invite.set_defaults(run=_run, call=_invite)
    return invite


# Method, path and, for some calls, the JSON body.
Call = tuple[str, str, dict[str, Any] | None]


def _show(options: argparse.Namespace) -> Call:
    return "GET", _path(options.room) if options.room else "/actuator/rooms", None


def _set(options: argparse.Namespace) -> Call:
    wanted = {"capacity": options.capacity, "durationSeconds": options.duration}
    wanted |= {name: getattr(options, name) for name in _RULES}
    change = {name: value for name, value in wanted.items() if value is not None}
    if options.lift:
        change["override"] = False
    if not change:
        raise RoomCallFailed(
            "nothing to change: give --capacity, --duration, "
            + "".join(f"--{name.replace('_', '-')}, " for name in _RULES)
            + "or --lift"
        )
    return _change(options, change)


def _change(options: argparse.Namespace, change: dict[str, Any]) -> Call:
    reason = {} if options.reason is None else {"reason": options.reason}
    return "POST", _path(options.room), change | reason


def _act(name: str, options: argparse.Namespace) -> Call:
    given = {"until": options.until, "reason": options.reason}
    order = {key: value for key, value in given.items() if value is not None}
    return "POST", f"{_path(options.room)}/{name}", order


def _run_confirmed(name: str, options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Makes the call if the operator confirms it, by an option or at the terminal."""
    if options.yes or (sys.stdin.isatty() and _confirmed(name, options.room)):
        return _run(options, environ)
    print(
        f"gateway room: nothing was sent; {name} needs --yes, or a terminal that confirms it", file=sys.stderr
    )
    return 1


def _confirmed(name: str, room: str) -> bool:
    print(
        f"{name}: every user in the line of room {escaped(room)} loses the place. Type yes: ",
        end="",
        file=sys.stderr,
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() == "yes"


def _remove(options: argparse.Namespace) -> Call:
    query = {"id": options.user} | ({} if options.reason is None else {"reason": options.reason})
    return "DELETE", f"{_path(options.room)}/users?{urlencode(query)}", None


def _invite(options: argparse.Namespace) -> Call:
    wanted = {
        "user": options.user,
        "uses": options.uses,
        "expires": options.expires,
        "reason": options.reason,
    }
    asked = {name: value for name, value in wanted.items() if value is not None}
    return "POST", f"{_path(options.room)}/invite", asked


def _find(options: argparse.Namespace) -> Call:
    return "GET", f"{_path(options.room)}/users?{urlencode({'id': options.user})}", None


def _history(options: argparse.Namespace) -> Call:
    return "GET", f"{_path(options.room)}/history?{urlencode({'id': options.user})}", None


def _audit(options: argparse.Namespace) -> Call:
    return "GET", f"{_path(options.room)}/audit?{urlencode({'limit': options.limit})}", None


def _beacon(options: argparse.Namespace) -> Call:
    reason = {} if options.reason is None else {"reason": options.reason}
    return "POST", f"{_path(options.room)}/beacon", {"value": options.value} | reason


def _draw(options: argparse.Namespace) -> Call:
    return "GET", f"{_path(options.room)}/draw", None


def _path(room: str) -> str:
    return f"/actuator/rooms/{quote(room, safe='')}"


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.1 to 3600")
    return seconds


def _run_show(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    if options.watch is None:
        return _run(options, environ)
    while True:
        status = _run(options, environ, again=True)
        # A gateway that does not answer now may do so the next time.
        if status == _WRONG_SETTINGS:
            return status
        sys.stdout.flush()
        time.sleep(options.watch)


def _run(options: argparse.Namespace, environ: Mapping[str, str], *, again: bool = False) -> int:
    """Makes the call and prints the answer. ``again``: it is one of many."""
    try:
        settings = Settings.from_env(environ)
        url = options.url or own_url(settings)
        answer = _ask(url, settings.operator_token or settings.management_token, *options.call(options))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return _WRONG_SETTINGS
    except RoomCallFailed as error:
        print(f"gateway room: {error}", file=sys.stderr)
        return 1
    data = answer.get("data")
    if options.call is _show:
        data = _with_url(data, url)
    if again and not options.json:
        # On a terminal in place of the last answer, else below it.
        print("\x1b[H\x1b[2J" if sys.stdout.isatty() else "", end="" if sys.stdout.isatty() else "\n")
    if again and options.json:
        print(escaped(json.dumps(data, ensure_ascii=False)))
    elif options.json or options.call is _draw:
        print(escaped(json.dumps(data, ensure_ascii=False, indent=2)))
    elif data is None:
        print(escaped(answer.get("message", "done")))
    elif options.call is _audit:
        print("\n".join(_change_line(entry) for entry in data) or "no changes")
    elif options.call is _history:
        print("\n".join(map(history_line, data)) or "nothing is known of this user")
    elif options.call is _invite:
        print(escaped(data["invite"]))
    elif options.call is _find:
        print(_described(_for_reading(data)))
    else:
        print(
            "\n\n".join(
                _described(_with_moments(one)) for one in (data if isinstance(data, list) else [data])
            )
        )
    return 0


def _with_url(rooms: Any, url: str) -> Any:
    """The rooms with the address that was asked, without a password."""
    if isinstance(rooms, list):
        return [_with_url(room, url) for room in rooms]
    if not isinstance(rooms, dict):
        return rooms
    parts = urlsplit(url)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    known = rooms.get("gateway")
    return rooms | {"gateway": {"url": plain} | (known if isinstance(known, dict) else {})}


def _for_reading(user: dict[str, Any]) -> dict[str, Any]:
    """What is known of a user, with times as people read them."""
    known = {name: value for name, value in user.items() if value is not None}
    known = _with_moments(known)
    known["streams"] = ", ".join(each["instance"] for each in user["streams"]) or "none"
    known["endings"] = "; ".join(map(history_line, user.get("endings", ()))) or "none"
    return known


def _with_moments(content: dict[str, Any]) -> dict[str, Any]:
    """The object with moments as people read them."""
    return content | {name: moment(content[name]) for name in _MOMENTS if name in content}


def _change_line(entry: dict[str, Any]) -> str:
    """One change of an operator in one line."""
    parts = [moment(entry["at"]), entry["by"], entry["act"], entry["setting"], entry.get("user")]
    if entry["from"] is not None or entry["to"] is not None:
        parts.append(f"{entry['from'] or '-'} -> {entry['to'] or '-'}")
    if entry["reason"]:
        parts.append(f"({entry['reason']})")
    # A line break in a text would look like another entry.
    return "  ".join(escaped(str(part)).replace("\n", "\\n") for part in parts if part)


def _described(room: dict[str, Any]) -> str:
    """One line per member of the object. All values begin in one column, however long the names are."""
    width = max([_NAME_WIDTH, *map(len, room)])
    return "\n".join(
        escaped(f"{name:{width}} {_value(value)}").replace("\n", "\\n") for name, value in room.items()
    )


def _instance(one: Any) -> str:
    if not isinstance(one, dict):
        return str(one)
    return f"{one.get('instance')} ({one.get('streams')} streams, version {one.get('version')})"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(_instance(each) for each in value) or "none"
    if isinstance(value, dict) and "url" in value:
        return ", ".join(
            [value["url"], *(f"{name} {value[name]}" for name in ("instance", "version") if name in value)]
        )
    if isinstance(value, dict) and "since" not in value:
        return ", ".join(f"{name} {one.get('value')} ({one.get('from')})" for name, one in value.items())
    if isinstance(value, dict):
        return (
            f"following an older system since {value.get('since')}, because {value.get('because')} "
            f"(last sign {value.get('lastSign')})"
        )
    return str(value)


def _ask(
    url: str, token: str | None, method: str, path: str, change: dict[str, Any] | None
) -> dict[str, Any]:
    """The envelope of the answer. Raises ``RoomCallFailed`` unless the call succeeds."""
    if "@" in url:
        raise RoomCallFailed(
            "--url: an address without a user is needed; the token is taken from OPERATOR_TOKEN"
        )
    if not _is_address(url):
        raise RoomCallFailed(f"--url {escaped(url)}: an http:// or https:// address is needed")
    if method != "GET" and token is None:
        raise RoomCallFailed(
            "set OPERATOR_TOKEN to your own token, or MANAGEMENT_TOKEN to the gateway's: only then may anything be "
            "changed"
        )
    headers = {"Accept": "application/json", "Accept-Language": "en"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    body = None
    if change is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(change).encode()
    request = Request(url.rstrip("/") + path, body, headers, method=method)  # noqa: S310 - checked above
    try:
        status, answer = within(TIMEOUT_SECONDS, lambda: _answer(request))
    except (URLError, OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, TimeoutError):
            reason = f"not within {TIMEOUT_SECONDS:g} s"
        raise RoomCallFailed(f"no answer from {url}: {reason}") from None
    if status is not None:
        raise RoomCallFailed(escaped(_refusal(status, answer, token)))
    return _envelope(answer)


def _is_address(url: str) -> bool:
    try:
        HTTP_URL.parse(url)
    except ValueError:
        return False
    return url.isascii()


def _answer(request: Request) -> tuple[int | None, bytes]:
    """The status, None if the call succeeded, and the body. Raises what urllib raises."""
    try:
        with OPENER.open(request, timeout=TIMEOUT_SECONDS) as response:
            return None, response.read(_ANSWER_BYTES)
    except HTTPError as error:
        with error:
            return error.code, error.read(_ANSWER_BYTES)


def _envelope(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: JSON that is nested too deeply
        answer = None
    if not isinstance(answer, dict):
        raise RoomCallFailed("the answer is not a gateway's")
    return answer


def _refusal(status: int, body: bytes, token: str | None) -> str:
    """A refusal as a text for the operator."""
    try:
        error = _envelope(body).get("error")
    except RoomCallFailed:
        error = None
    if not isinstance(error, dict):
        return f"refused with status {status}; is this the management address of a gateway?"
    lines = [f"refused with {status} {error.get('code')}: {error.get('message')}"]
    fields = error.get("fields") or ()
    for field in fields:
        value = f"={field['value']}" if "value" in field else ""
        lines.append(f"  {field.get('field')}{value}: {field.get('reason')}")
    if status == 404 and token is not None and error.get("code") not in _NOT_FOUND:
        lines.append(
            "  (a gateway started without MANAGEMENT_TOKEN and OPERATORS_FILE refuses every change so)"
        )
    return "\n".join(lines)
