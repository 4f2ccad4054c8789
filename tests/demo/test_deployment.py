"""The gateway's process: its environment, its start and its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.demo.deployment import GatewayFailed, child_environment, start_gateway, wait_until_ready


def test_settings_exported_for_another_gateway_do_not_reach_this_one() -> None:
    around = {"PATH": "/bin", "REDIS_URL": "redis://elsewhere", "SERVER_PORT": "80", "JWT_ISSUER": "x"}
    assert child_environment({"SERVER_PORT": "0"}, around) == {"PATH": "/bin", "SERVER_PORT": "0"}


async def test_a_gateway_that_refuses_to_start_is_told_with_its_reason(tmp_path: Path) -> None:
    async with start_gateway({"SERVER_PORT": "nonsense"}, tmp_path) as gateway:
        with pytest.raises(GatewayFailed, match="SERVER_PORT"):
            await wait_until_ready(gateway, "token")
