"""``gateway health``: is the gateway of this machine ready? For the health checks of containers and supervisors."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from http.client import HTTPException
from urllib.error import HTTPError, URLError

from gateway.cli_http import OPENER, own_url
from gateway.errors import SettingsError
from gateway.settings import Settings

TIMEOUT_SECONDS = 3.0
_ANSWER_BYTES = 64 * 1024


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
        url = own_url(Settings.from_env(environ))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    kind = "liveness" if options.liveness else "readiness"
    status, said = _ask(f"{url}/actuator/health/{kind}")
    print(said, file=sys.stdout if status == 200 else sys.stderr)
    return 0 if status == 200 else 1


def _ask(url: str) -> tuple[int, str]:
    """The status, 0 if there was none, and what it means."""
    try:
        with OPENER.open(url, timeout=TIMEOUT_SECONDS) as response:
            return response.status, _state(response.read(_ANSWER_BYTES))
    except HTTPError as error:
        with error:
            return error.code, f"{error.code} {_state(error.read(_ANSWER_BYTES))}"
    except (URLError, OSError, HTTPException) as error:
        return 0, f"no answer from {url}: {error.reason if isinstance(error, URLError) else error}"


def _state(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or "status" not in answer:
        return "an answer that is not a gateway's"
    return str(answer["status"])
