"""``gateway room …``: operators' calls to the management API of a running gateway."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request

from gateway.cli.client import OPENER, own_url, within
from gateway.cli.draw import add_verify_to
from gateway.cli.parsing import Commands
from gateway.errors import SettingsError
from gateway.settings.model import Settings

TIMEOUT_SECONDS = 10.0
_ANSWER_BYTES = 16 * 1024 * 1024
_NAME_WIDTH = 22
_RULES = ("absent", "hold", "max_session", "claim", "rate")


class RoomCallFailed(Exception):
    """The gateway did not carry out the call; the text says why."""


def add_to(commands: Commands, files: object = None) -> None:
    """Add ``room`` and its subcommands. ``files``: see ``complete_files``."""
    room = commands.add_parser(
        "room",
        help="look at the rooms of a running gateway, and change them",
        description="Talks to a running gateway. What changes something needs its MANAGEMENT_TOKEN, which is "
        "taken from the environment.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--url", metavar="URL", help="the gateway (http://127.0.0.1 at its management port)")
    common.add_argument("--json", action="store_true", help="print the answer's data as JSON")
    kinds = room.add_subparsers(title="commands", metavar="COMMAND", required=True)

    show = kinds.add_parser("show", parents=[common], help="how the rooms stand")
    show.add_argument("--room", metavar="ROOM", help="only this one")
    show.set_defaults(run=_run, call=_show)

    change = kinds.add_parser("set", parents=[common], help="change limits, for all instances at once")
    change.add_argument("--capacity", type=int, metavar="N", help="users allowed in at a time")
    change.add_argument("--duration", type=float, metavar="SECONDS", help="length of a session")
    change.add_argument(
        "--absent", metavar="TIME", help="how long a waiting user may be out of sight, as 60s; 0: for ever"
    )
    change.add_argument("--hold", metavar="TIME", help="how long a parked user keeps the ticket, as 30m")
    change.add_argument(
        "--claim", metavar="TIME", help="how soon an admitted user must make a gated call, as 90s; 0: off"
    )
    change.add_argument(
        "--max-session", metavar="TIME", help="how long after admission a session ends, as 30m; 0: never"
    )
    change.add_argument(
        "--rate", metavar="RATE", help="admissions at most, as 5/s, 120/m or 900/h; off: no limit"
    )
    change.add_argument("--lift", action="store_true", help="go back to the limits of the settings")
    change.set_defaults(run=_run, call=_set)

    pause = kinds.add_parser("pause", parents=[common], help="admit nobody until resumed")
    pause.set_defaults(run=_run, call=lambda options: _change(options, {"paused": True}))
    resume = kinds.add_parser("resume", parents=[common], help="admit again")
    resume.set_defaults(run=_run, call=lambda options: _change(options, {"paused": False}))

    remove = kinds.add_parser("remove", parents=[common], help="take slot or place away from a user")
    remove.add_argument("user", metavar="USER", help="the user's id, as in the token's sub")
    remove.set_defaults(run=_run, call=_remove)

    add_verify_to(kinds, files)

    for one in (change, pause, resume, remove):
        one.add_argument("--room", default="default", metavar="ROOM", help="another room than default")


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
            "nothing to change: give --capacity, --duration, --absent, --hold, --max-session, --claim, --rate or --lift"
        )
    return _change(options, change)


def _change(options: argparse.Namespace, change: dict[str, Any]) -> Call:
    return "POST", _path(options.room), change


def _remove(options: argparse.Namespace) -> Call:
    return "DELETE", f"{_path(options.room)}/users?{urlencode({'id': options.user})}", None


def _path(room: str) -> str:
    return f"/actuator/rooms/{quote(room, safe='')}"


def _run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    try:
        settings = Settings.from_env(environ)
        answer = _ask(options.url or own_url(settings), settings.management_token, *options.call(options))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except RoomCallFailed as error:
        print(f"gateway room: {error}", file=sys.stderr)
        return 1
    data = answer.get("data")
    if options.json:
        print(json.dumps(data, ensure_ascii=False, indent=2))
    elif data is None:
        print(answer.get("message", "done"))
    else:
        print("\n\n".join(_described(one) for one in (data if isinstance(data, list) else [data])))
    return 0


def _described(room: dict[str, Any]) -> str:
    """One line per member of the object. All values begin in one column, however long the names are."""
    width = max([_NAME_WIDTH, *map(len, room)])
    return "\n".join(f"{name:{width}} {_value(value)}" for name, value in room.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
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
    if urlsplit(url).scheme not in {"http", "https"}:
        raise RoomCallFailed(f"--url {url}: an http:// or https:// address is needed")
    if method != "GET" and token is None:
        raise RoomCallFailed("set MANAGEMENT_TOKEN to the gateway's own: only then may anything be changed")
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
        raise RoomCallFailed(_refusal(status, answer, token))
    return _envelope(answer)


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
    except ValueError:
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
    lines += [f"  {field.get('field')}={field.get('value')}: {field.get('reason')}" for field in fields]
    if status == 404 and token is not None and error.get("code") not in {"ROOM_NOT_FOUND", "NOT_IN_QUEUE"}:
        lines.append("  (a gateway started without MANAGEMENT_TOKEN refuses every change so)")
    return "\n".join(lines)
