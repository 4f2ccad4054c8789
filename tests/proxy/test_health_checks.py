"""The end of health checks: none of them outlives it, whatever happens at that moment. The rest is in
``tests/resilience/test_services_health_over_http.py``."""

from __future__ import annotations

import asyncio

import pytest

from gateway.proxy.health_checks import HealthChecks
from gateway.proxy.load_balancer import Instances
from gateway.proxy.upstream import UpstreamBase
from gateway.resilience.services import HealthPolicy, ServicePolicy
from tests.resilience.instances import instance
from tests.support.waiting import eventually

POLICY = {"svc": ServicePolicy(health=HealthPolicy("/health", interval=0.1))}
NAME = UpstreamBase("http", "app.test", 1)


def _checks() -> set[asyncio.Task[None]]:
    return {task for task in asyncio.all_tasks() if task.get_name() == "health checks of svc"}


async def test_addresses_that_are_found_at_the_end_get_no_checks() -> None:
    instances = Instances()
    instances.replace({"svc": [str(NAME)]}, POLICY)
    async with HealthChecks(instances).running():
        instances.set_addresses(NAME, ("127.0.0.1", "127.0.0.2"))
        assert len(_checks()) >= 2
        # Runs while the checks are awaited that are being ended, as a lookup does whose answer comes just then.
        asyncio.get_running_loop().call_soon(instances.set_addresses, NAME, ("127.0.0.3", "127.0.0.4"))
    assert [str(base) for base in instances.known("svc")] == [f"{NAME} (127.0.0.{n})" for n in (3, 4)]
    assert not _checks()


async def test_a_service_whose_instances_hang_holds_up_no_check_of_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.proxy.health_checks._AT_A_TIME", 1)
    policy = ServicePolicy(health=HealthPolicy("/health", interval=0.01, timeout=3600.0))
    async with instance("hang") as one, instance("hang") as two, instance() as good:
        instances, told = Instances(), list[str]()
        instances.replace({"bad": [one.url, two.url], "good": [good.url]}, {"bad": policy, "good": policy})
        async with HealthChecks(instances, lambda service, passed: told.append(service)).running():
            await eventually(lambda: one.checks or two.checks)
            already = len(told)
            await eventually(lambda: len(told) > already + 1)
        assert set(told) == {"good"}
        # The limit holds within a service.
        assert len(one.checks) + len(two.checks) == 1


async def test_checks_that_have_failed_end_with_all_others_and_tell() -> None:
    async with instance() as one, instance() as two:
        instances, told = Instances(), list[str]()
        instances.replace({"svc": [one.url, two.url]}, POLICY)

        def on_check(service: str, passed: bool) -> None:
            told.append(service)
            if len(told) == 1:
                raise RuntimeError("the first one")

        with pytest.raises(RuntimeError, match="the first one"):
            async with HealthChecks(instances, on_check).running():
                await eventually(lambda: len(told) > 2)
        assert not _checks()
