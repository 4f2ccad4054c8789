"""Calls of users to one room of the soak's gateways."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import aiohttp

from gateway.demo.rules import Rule
from tests.soak.fleet import HOST, OPERATOR_TOKEN

Say = Callable[[Rule, bool, str], None]
"""Takes each check of an observer: the rule, whether it holds, and what was seen."""


class Caller:
    """One call at a time, to any gateway."""

    def __init__(self, http: aiohttp.ClientSession, token_of: Callable[[str], str], room: str) -> None:
        self._http = http
        self._token_of = token_of
        self._room = room

    async def act(self, act: str) -> int:
        """An operator's act on the room; the status, 0 without an answer."""
        url = f"http://{HOST}:80/actuator/rooms/{self._room}/{act}"
        headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
        try:
            timeout = aiohttp.ClientTimeout(total=5.0)
            async with self._http.post(url, headers=headers, timeout=timeout) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    async def call(self, method: str, what: str, user: str) -> tuple[int, dict[str, Any]]:
        """Status and body; 0 without an answer."""
        url = f"http://{HOST}:80/api/v1/queue/{what}?room={self._room}"
        headers = {"Authorization": f"Bearer {self._token_of(user)}"}
        try:
            timeout = aiohttp.ClientTimeout(total=5.0)
            async with self._http.request(method, url, headers=headers, timeout=timeout) as answer:
                return answer.status, json.loads(await answer.read() or b"{}")
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return 0, {}
