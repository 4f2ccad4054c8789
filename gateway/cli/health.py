"""``gateway health``: is the gateway of this machine ready? For the health checks of containers and supervisors."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import OpenerDirector

from gateway.cli.client import own_opener, own_url, within
from gateway.cli.parsing import Commands
from gateway.cli.texts import escaped
from gateway.errors import SettingsError
from gateway.settings.model import Settings

TIMEOUT_SECONDS = 3.0
_ANSWER_BYTES = 64 * 1024
_SETTINGS = "SERVER_HOST, SERVER_PORT and MANAGEMENT_SERVER_PORT must be those that it was started with"
_FULL = (
    "503 full: the gateway takes no more connections, since MAX_CONNECTIONS is reached, or nearly all file descriptors "
    "are in use (ulimit -n)"
)
_NOT_A_GATEWAY = f"from {{}}, but not a gateway's answer: {_SETTINGS}"


def add_to(commands: Commands) -> None:
    """Add ``health``."""
    health = commands.add_parser(
        "health",
        help="ask a running gateway whether it is ready",
        description="Exit status 0 if the gateway with the same settings on this machine is ready, else 1.",
    )
    health.add_argument(
        "--liveness", action="store_true", help="whether it is alive; it may be stopping then"
    )
    health.set_defaults(run=_run)


def _run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    try:
        settings = Settings.from_env(environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    url = own_url(settings)
    # Nothing secret is sent, and a new certificate may not be in force yet.
    opener = own_opener(settings, verified=False)
    kind = "liveness" if options.liveness else "readiness"
    healthy, said = _ask(f"{url}/actuator/health/{kind}", opener)
    if said == _FULL and options.liveness:
        # The gateway has answered. A restart would only end the requests and streams that it serves.
        healthy = True
    print(said, file=sys.stdout if healthy else sys.stderr)
    return 0 if healthy else 1


def _ask(url: str, opener: OpenerDirector) -> tuple[bool, str]:
    """Whether a healthy gateway answers, and what it answered."""
    try:
        return within(TIMEOUT_SECONDS, lambda: _answer(url, opener))
    except (URLError, OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, TimeoutError):
            return (
                False,
                f"no answer from {url} within {TIMEOUT_SECONDS:g} s: it hangs; look at its log, and restart it",
            )
        text = reason.strerror if isinstance(reason, OSError) and reason.strerror else reason
        return False, f"no answer from {url}: {escaped(str(text))}. Does a gateway run there? {_SETTINGS}"


def _answer(url: str, opener: OpenerDirector) -> tuple[bool, str]:
    """Whether the answer is that of a healthy gateway, and what it says. Raises what urllib raises."""
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS) as response:
            state = _state(response.read(_ANSWER_BYTES))
            return state == "UP", state or f"{response.status} {_NOT_A_GATEWAY.format(url)}"
    except HTTPError as error:
        with error:
            body = error.read(_ANSWER_BYTES)
            if error.code == 503 and not body and error.headers.get("Server") == "gateway":
                return False, _FULL
            state = _state(body)
            return False, f"{error.code} {state or _NOT_A_GATEWAY.format(url)}"


def _state(body: bytes) -> str:
    """The status in a gateway's answer; "" if the answer is not a gateway's."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: JSON that is nested too deeply
        return ""
    return str(answer.get("status", "")) if isinstance(answer, dict) else ""
