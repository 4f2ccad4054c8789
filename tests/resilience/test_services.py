"""How instances are chosen by hash, and how long those that fail are left out: decisions, without any connection."""

from __future__ import annotations

from collections import Counter

import pytest

from gateway.resilience.services import EjectPolicy, ServicePolicy, hash_score, slow_shares


def _chosen(key: str, weights: dict[str, int]) -> str:
    return max(weights, key=lambda instance: hash_score(key, instance, weights[instance]))


def test_the_defaults_change_nothing() -> None:
    policy = ServicePolicy()
    assert (policy.balance, policy.eject, policy.max_connections, policy.max_waiting) == (
        "round-robin",
        None,
        0,
        0,
    )


def test_keys_are_spread_by_weight() -> None:
    counts = Counter(_chosen(f"user{number}", {"a": 1, "b": 1, "c": 2}) for number in range(4000))
    assert 800 < counts["a"] < 1200
    assert 800 < counts["b"] < 1200
    assert 1800 < counts["c"] < 2200


def test_when_an_instance_goes_only_its_own_keys_move() -> None:
    three, two = {"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1}
    for number in range(500):
        before = _chosen(f"user{number}", three)
        assert before == "c" or _chosen(f"user{number}", two) == before


def test_ejections_grow_up_to_a_bound() -> None:
    policy = EjectPolicy(seconds=30)
    assert [policy.ejection_seconds(times) for times in (0, 1, 2, 9, 10, 99)] == [30, 60, 90, 300, 300, 300]
    assert EjectPolicy(seconds=600).ejection_seconds(5) == 600


@pytest.mark.parametrize(
    ("share", "instances", "most"),
    [(0.5, 1, 0), (0.5, 2, 1), (0.5, 3, 1), (0.5, 4, 2), (1.0, 3, 3), (0.0, 9, 0), (0.1, 10, 1)],
)
def test_at_most_a_share_of_the_instances_is_left_out(share: float, instances: int, most: int) -> None:
    assert EjectPolicy(share=share).most_ejected(instances) == most


@pytest.mark.parametrize(("connections", "share"), [(1, 1), (3, 1), (4, 1), (8, 2), (200, 50)])
def test_slow_clients_get_a_quarter_of_a_bound(connections: int, share: int) -> None:
    policies = {"a": ServicePolicy(max_connections=connections), "b": ServicePolicy()}
    assert slow_shares(policies) == {"a": share}
