"""The registry: whole listings, deltas, the hash, and who lingers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.discovery.eureka.messages import Listing, parse_listing
from gateway.discovery.eureka.registry import LINGER_SECONDS, InstanceRegistry
from gateway.proxy.upstream import UpstreamBase
from tests.support.eureka import entry, listing


def told(*entries: dict[str, Any], hash_: str | None = None) -> Listing:
    return parse_listing(listing(*entries, hash_=hash_))


def base(id_: str) -> UpstreamBase:
    return UpstreamBase("http", f"{id_}.internal", 8080)


def gone(id_: str) -> dict[str, Any]:
    return entry(id_, actionType="DELETED")


@pytest.fixture
def registry() -> InstanceRegistry:
    """Knows a and b, since the time 0."""
    registry = InstanceRegistry()
    registry.replace(told(entry("a"), entry("b")), 0.0)
    return registry


def orders(registry: InstanceRegistry) -> tuple[UpstreamBase, ...]:
    return registry.services().get("orders", ())


def test_instances_that_are_up_are_found_by_service_in_a_fixed_order(registry: InstanceRegistry) -> None:
    registry.replace(told(entry("b"), entry("c", app="PAY"), entry("a")), 1.0)
    assert dict(registry.services()) == {"orders": (base("a"), base("b")), "pay": (base("c"),)}


@pytest.mark.parametrize("status", ["DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN"])
def test_an_instance_that_is_not_up_gets_no_calls_and_counts_in_the_hash(
    registry: InstanceRegistry, status: str
) -> None:
    assert registry.apply(
        told(entry("a", status=status), hash_="".join(sorted([f"{status}_1_", "UP_1_"]))), 1.0
    )
    assert orders(registry) == (base("b"),)


def test_an_instance_without_a_usable_address_gets_no_calls_and_counts_in_the_hash(
    registry: InstanceRegistry,
) -> None:
    assert registry.apply(told(entry("c", hostName="x y", ipAddr=""), hash_="UP_3_"), 1.0)
    assert orders(registry) == (base("a"), base("b"))


def test_a_delta_adds_and_deletes_and_may_repeat_itself(registry: InstanceRegistry) -> None:
    delta = told(entry("c"), gone("a"), hash_="UP_2_")
    assert registry.apply(delta, 1.0)
    assert registry.apply(delta, 2.0)
    assert orders(registry) == (base("b"), base("c"))


@pytest.mark.parametrize("hash_", ["UP_3_", "DOWN_1_UP_2_", ""])
def test_a_hash_that_differs_says_that_something_was_missed(registry: InstanceRegistry, hash_: str) -> None:
    assert not registry.apply(told(hash_=hash_), 1.0)


def test_an_empty_registry_has_an_empty_hash() -> None:
    assert InstanceRegistry().hash == ""
    assert InstanceRegistry().apply(told(), 0.0)


def test_the_hash_counts_each_status_in_order_of_the_alphabet() -> None:
    registry = InstanceRegistry()
    registry.replace(
        told(entry("a"), entry("b", status="STARTING"), entry("c", status="DOWN"), entry("d")), 0.0
    )
    assert registry.hash == "DOWN_1_STARTING_1_UP_2_"


def test_a_missing_instance_that_did_not_leave_stays_for_a_lease(registry: InstanceRegistry) -> None:
    registry.replace(told(), 10.0)
    assert orders(registry) == (base("a"), base("b"))
    assert registry.hash == ""
    assert registry.apply(told(hash_=""), 10.0 + LINGER_SECONDS - 1)
    assert orders(registry) == (base("a"), base("b"))
    assert registry.apply(told(hash_=""), 10.0 + LINGER_SECONDS)
    assert orders(registry) == ()


def test_a_missing_instance_gets_no_second_lease(registry: InstanceRegistry) -> None:
    registry.replace(told(), 10.0)
    registry.replace(told(), 10.0 + LINGER_SECONDS - 1)
    registry.replace(told(), 10.0 + LINGER_SECONDS)
    assert orders(registry) == ()


def test_a_missing_instance_that_registers_again_is_as_before(registry: InstanceRegistry) -> None:
    registry.replace(told(), 10.0)
    registry.apply(told(entry("a"), hash_="UP_1_"), 20.0)
    registry.apply(told(gone("a"), hash_=""), 30.0)
    assert orders(registry) == (base("b"),)


@pytest.mark.parametrize("heard", [gone("a"), entry("a", status="DOWN")])
def test_a_missing_instance_reported_down_is_gone(registry: InstanceRegistry, heard: dict[str, Any]) -> None:
    registry.replace(told(), 10.0)
    registry.apply(told(heard), 11.0)
    assert orders(registry) == (base("b"),)


def test_a_missing_instance_is_gone_when_another_has_its_address(registry: InstanceRegistry) -> None:
    registry.replace(told(entry("new", app="PAY", hostName="a.internal")), 10.0)
    assert orders(registry) == (base("b"),)
    assert registry.services()["pay"] == (base("a"),)


def test_an_instance_that_was_not_up_gets_no_lease(registry: InstanceRegistry) -> None:
    registry.apply(told(entry("a", status="DOWN")), 1.0)
    registry.replace(told(), 2.0)
    assert orders(registry) == (base("b"),)


def test_an_instance_missing_at_a_server_without_deltas_has_left(registry: InstanceRegistry) -> None:
    registry.replace(told(entry("a")), 1.0, linger=False)
    assert orders(registry) == (base("a"),)


def test_as_long_as_nothing_is_told_the_services_are_the_same_object(registry: InstanceRegistry) -> None:
    before = registry.services()
    assert registry.apply(told(hash_="UP_2_"), 1.0)
    assert registry.services() is before


IDS = st.sampled_from("abcd")
STATUSES = st.sampled_from(["UP", "DOWN", "STARTING"])


@given(st.lists(st.tuples(IDS, STATUSES | st.none(), st.booleans())))
def test_by_deltas_it_becomes_what_the_server_has(steps: list[tuple[str, str | None, bool]]) -> None:
    """``None`` deletes; where the flag is set, a delta comes with all that changed since the start."""
    registry = InstanceRegistry()
    server: dict[str, dict[str, Any]] = {}
    changes: list[dict[str, Any]] = []
    for id_, status, fetched in [*steps, ("a", "UP", True)]:
        if status is not None:
            server[id_] = entry(id_, status=status)
            changes.append(server[id_])
        elif server.pop(id_, None) is not None:
            changes.append(gone(id_))
        if fetched:
            whole = told(*server.values())
            assert registry.apply(parse_listing(listing(*changes, hash_=whole.hash)), 0.0)
            up = sorted(id_ for id_, each in server.items() if each["status"] == "UP")
            assert orders(registry) == tuple(map(base, up))
