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
from urllib.request import OpenerDirector, Request

from gateway.cli.client import OPENER, own_opener, own_url, within
from gateway.cli.draw import add_verify_to
from gateway.cli.history import history_line
from gateway.cli.parsing import Commands, utf8
from gateway.cli.report import as_csv, as_table
from gateway.cli.room_texts import change_line, described, for_reading, with_moments
from gateway.cli.texts import escaped
from gateway.draw.published import MAX_BYTES
from gateway.errors import SettingsError
from gateway.settings.model import Settings
from gateway.settings.types import HTTP_URL

TIMEOUT_SECONDS = 10.0
_ANSWER_BYTES = MAX_BYTES
_WRONG_SETTINGS = 2
_NOT_FOUND = frozenset({"ROOM_NOT_FOUND", "NOT_IN_QUEUE", "NO_DRAW"})
_SET_OPTIONS = (
    ("--duration", "TIME", "length of a session, as 300 (seconds) or 5m"),
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
        "--lineup",
        "HOW",
        "what the gate does with a user without a place: explicit, it refuses the call; implicit, it lines the user up",
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

    remove, front, find, history = _add_users(kinds, common)
    invite = _add_invite(kinds, common)

    audit = kinds.add_parser("audit", parents=[common], help="what operators have changed, the newest first")
    audit.add_argument(
        "--limit", type=int, default=100, metavar="N", help="how many changes (100, at most 1000)"
    )
    audit.set_defaults(run=_run, call=_audit)

    report = _add_report(kinds, common)
    beacon, draw = _add_draw(kinds, common)
    add_verify_to(kinds, files)

    doors, notice = _add_doors(kinds, common), _add_notice(kinds, common)
    acts = (change, pause, resume, remove, front, *doors, notice, invite, beacon)
    for one in acts:
        one.add_argument("--reason", type=utf8, metavar="TEXT", help="why, for the audit")
    for one in (*acts, find, history, audit, report, draw):
        one.add_argument(
            "--room", type=utf8, default="default", metavar="ROOM", help="another room than default"
        )


def _add_set(kinds: Commands, common: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds ``room set``, and returns its parser."""
    change = kinds.add_parser("set", parents=[common], help="change limits, for all instances at once")
    change.add_argument("--capacity", type=int, metavar="N", help="users allowed in at a time")
    for option, kind, explanation in _SET_OPTIONS:
        change.add_argument(option, type=utf8, metavar=kind, help=explanation)
    change.add_argument(
        "--stock",
        type=utf8,
        metavar="N",
        help="how many things are left to sell, until a service or you say otherwise",
    )
    change.add_argument("--lift", action="store_true", help="go back to the limits of the settings")
    change.set_defaults(run=_run, call=_set)
    return change


def _add_users(kinds: Commands, common: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Adds ``room remove``, ``front``, ``find`` and ``history``, and returns their parsers."""
    remove = kinds.add_parser("remove", parents=[common], help="take slot or place away from a user")
    remove.add_argument("user", type=utf8, metavar="USER", help="the user's id, as in the token's sub")
    remove.set_defaults(run=_run, call=_remove)

    find = kinds.add_parser(
        "find", parents=[common], help="where a user stands, without counting as a sighting"
    )
    find.add_argument("user", type=utf8, metavar="USER", help="the user's id, as in the token's sub")
    find.set_defaults(run=_run, call=_find)

    front = kinds.add_parser("front", parents=[common], help="put a user in line in front of all others")
    front.add_argument("user", type=utf8, metavar="USER", help="the user's id, as in the token's sub")
    front.set_defaults(run=_run, call=_front)

    history = kinds.add_parser(
        "history", parents=[common], help="what happened to a user, for example why the place was lost"
    )
    history.add_argument("user", type=utf8, metavar="USER", help="the user's id, as in the token's sub")
    history.set_defaults(run=_run, call=_history)
    return [remove, front, find, history]


def _add_report(kinds: Commands, common: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds ``room report``, and returns its parser."""
    report = kinds.add_parser("report", parents=[common], help="the room's numbers minute by minute")
    report.add_argument("--csv", action="store_true", help="print them as CSV, for a spreadsheet")
    report.add_argument(
        "--minutes", type=int, default=360, metavar="N", help="how many minutes (360, at most 1440)"
    )
    report.set_defaults(run=_run, call=_report)
    return report


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


def _add_notice(kinds: Commands, common: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds ``room notice``, and returns its parser."""
    notice = kinds.add_parser("notice", parents=[common], help="tell all users of the room something")
    what = notice.add_mutually_exclusive_group(required=True)
    what.add_argument("text", type=utf8, nargs="?", metavar="TEXT", help="in at most 500 characters")
    what.add_argument("--clear", action="store_true", help="take it back")
    notice.add_argument(
        "--lang", type=utf8, metavar="LANG", help="only users of this language, as ko, en or zh-Hant"
    )
    notice.set_defaults(run=_run, call=_notice)
    return notice


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
    wanted = {"capacity": options.capacity}
    wanted |= {name: getattr(options, name) for name in (*_RULES, "stock")}
    change = {name: value for name, value in wanted.items() if value is not None}
    if options.lift:
        change["override"] = False
    if not change:
        raise RoomCallFailed(
            "nothing to change: give --capacity, "
            + "".join(f"--{name.replace('_', '-')}, " for name in (*_RULES, "stock"))
            + "or --lift"
        )
    return _change(options, change)


def _change(options: argparse.Namespace, change: dict[str, Any]) -> Call:
    reason = {} if options.reason is None else {"reason": options.reason}
    return "POST", _path(options.room), change | reason


def _act(name: str, options: argparse.Namespace) -> Call:
    return _post(options, name, {"until": options.until})


def _post(options: argparse.Namespace, name: str, given: dict[str, Any]) -> Call:
    order = {key: value for key, value in (given | {"reason": options.reason}).items() if value is not None}
    return "POST", f"{_path(options.room)}/{name}", order


def _notice(options: argparse.Namespace) -> Call:
    given = {"text": options.text, "clear": options.clear or None, "lang": options.lang}
    return _post(options, "notice", given)


def _front(options: argparse.Namespace) -> Call:
    return _post(options, "front", {"user": options.user})


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


def _report(options: argparse.Namespace) -> Call:
    return "GET", f"{_path(options.room)}/report?{urlencode({'minutes': options.minutes})}", None


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
        opener = OPENER if options.url else own_opener(settings, verified=True)
        token = settings.operator_token or settings.management_token
        answer = _ask(opener, url, token, *options.call(options))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return _WRONG_SETTINGS
    except (RoomCallFailed, OSError) as error:
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
    else:
        print(_text(options, data))
    return 0


def _text(options: argparse.Namespace, data: Any) -> str:
    """The data of an answer as people read it."""
    if options.call is _audit:
        return "\n".join(change_line(entry) for entry in data) or "no changes"
    if options.call is _report:
        return as_csv(data) if options.csv else as_table(data)
    if options.call is _history:
        return "\n".join(map(history_line, data)) or "nothing is known of this user"
    if options.call is _invite:
        return escaped(str(data["invite"]))
    if options.call in (_find, _front):
        return described(for_reading(data))
    rooms = data if isinstance(data, list) else [data]
    return "\n\n".join(described(with_moments(one)) for one in rooms)


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


def _ask(
    opener: OpenerDirector,
    url: str,
    token: str | None,
    method: str,
    path: str,
    change: dict[str, Any] | None,
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
        status, answer = within(TIMEOUT_SECONDS, lambda: _answer(opener, request))
    except (URLError, OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, TimeoutError):
            reason = f"not within {TIMEOUT_SECONDS:g} s"
        raise RoomCallFailed(escaped(f"no answer from {url}: {reason}")) from None
    if status is not None:
        raise RoomCallFailed(escaped(_refusal(status, answer, token)))
    return _envelope(answer)


def _is_address(url: str) -> bool:
    try:
        HTTP_URL.parse(url)
    except ValueError:
        return False
    return url.isascii()


def _answer(opener: OpenerDirector, request: Request) -> tuple[int | None, bytes]:
    """The status, None if the call succeeded, and the body. Raises what urllib raises."""
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
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
